"""What makes Lightning's Trainer for a cell: device, precision, strategy, checkpoints."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.environments import ClusterEnvironment, LightningEnvironment, TorchElasticEnvironment

from fila_lab.config import MachineError, RunConfig
from fila_lab.training.checkpoints import WholeFiles, keep_checkpoints


def set_up_device(config: RunConfig) -> None:
    """Threads, and a clear refusal of a device that is not there.

    Raises:
        MachineError: the device is absent; it says nothing of the cell.
    """
    runtime = config.runtime
    torch.set_num_threads(runtime.threads)
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


def make_trainer(config: RunConfig, workdir: Path, *callbacks: Callback) -> L.Trainer:
    """Lightning's Trainer for a cell: a checkpoint every five minutes, no logger (the study mirrors results itself)."""
    train, runtime = config.train, config.runtime
    return L.Trainer(
        accelerator=runtime.accelerator,
        devices=runtime.devices,
        strategy="ddp" if runtime.devices > 1 else "auto",
        precision="bf16-mixed" if runtime.precision == "bf16" else "32-true",
        max_steps=train.steps,
        val_check_interval=validation_interval(config),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        gradient_clip_val=train.gradient_clip,
        log_every_n_steps=train.log_every,
        logger=False,
        callbacks=[*callbacks, keep_checkpoints(workdir)],
        plugins=[WholeFiles(), *started_by()],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=workdir,
    )
