"""What makes Lightning's Trainer for a cell: device, precision, strategy, checkpoints."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.environments import ClusterEnvironment, LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DeepSpeedStrategy, Strategy

from fila_lab.config import ConfigError, MachineError, RunConfig
from fila_lab.config.runtime_checks import check_installed
from fila_lab.modeling.seeds import component_seed
from fila_lab.training.checkpoints import WholeFiles, keep_checkpoints
from fila_lab.training.sharded import ShardedStrategy, WholeForAnswers

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
"""`runtime.precision` -> Lightning's word for it."""


def set_up_device(config: RunConfig) -> None:
    """Threads, and a clear refusal of a device, or of a strategy's library, that is not there.

    Raises:
        MachineError: device or library are absent; it says nothing of the cell.
    """
    runtime = config.runtime
    torch.set_num_threads(runtime.threads)
    try:
        check_installed(runtime)
    except ConfigError as error:
        raise MachineError(str(error), "library absent") from error
    if runtime.accelerator == "gpu" and not torch.cuda.is_available():
        raise MachineError("runtime.accelerator='gpu': no CUDA device here; use --set runtime.accelerator=cpu", "device absent")
    if runtime.accelerator == "gpu" and runtime.devices > torch.cuda.device_count():
        raise MachineError(f"runtime.devices={runtime.devices}: {torch.cuda.device_count()} are here; lower it", "device absent")


def validation_interval(config: RunConfig) -> int:
    """Steps from one validation to the next."""
    return min(config.train.validate_every, config.train.steps)


def started_by() -> list[ClusterEnvironment]:
    """Who starts a cell's ranks, as Lightning wants to know it: this package, unless torchrun has. Within a job of Slurm, Lightning would
    take the job's tasks for them, and refuse a cell whose devices are not as many."""
    return [] if TorchElasticEnvironment.detect() else [LightningEnvironment()]


def strategy_of(config: RunConfig) -> str | Strategy:
    """Lightning's strategy for what the run's devices share."""
    shares = config.runtime.shares
    if shares == "fsdp":
        return ShardedStrategy(config.runtime.world)
    if shares == "deepspeed":
        return DeepSpeedStrategy(stage=2, exclude_frozen_parameters=True)
    return "auto" if shares == "nothing" else shares


class Dropout(Callback):
    """What dropout leaves out in a step follows from seed, rank and the batch's number alone: a cell that was cut off goes on as if not."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: object, batch_idx: int) -> None:
        torch.manual_seed(component_seed(self.seed, f"dropout/{trainer.global_rank}/{trainer.global_step}/{batch_idx}"))


def make_trainer(config: RunConfig, workdir: Path, *callbacks: Callback) -> L.Trainer:
    """Lightning's Trainer for a cell: checkpoints as the run wants them, no logger (the study mirrors results itself)."""
    train, runtime, lora = config.train, config.runtime, config.language.lora
    own: list[Callback] = [keep_checkpoints(workdir, runtime)]
    if runtime.shares == "fsdp":
        own.append(WholeForAnswers())
    if lora is not None and lora.dropout:
        own.append(Dropout(config.seed))
    return L.Trainer(
        accelerator=runtime.accelerator,
        devices=runtime.devices,
        num_nodes=runtime.nodes,
        strategy=strategy_of(config),
        precision=PRECISIONS[runtime.precision],  # type: ignore[arg-type]
        max_steps=train.steps,
        accumulate_grad_batches=train.accumulate,
        val_check_interval=validation_interval(config) * train.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        gradient_clip_val=train.gradient_clip,
        log_every_n_steps=train.log_every,
        logger=False,
        callbacks=[*callbacks, *own],
        plugins=[WholeFiles(), *started_by()],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=workdir,
    )
