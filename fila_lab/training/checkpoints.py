"""A cell's checkpoints: written whole or not at all, checked before they are trusted, set aside when they cannot be read.

A checkpoint is a zip archive, as torch writes it, whose entries carry checksums. torch does not look at them; this does.
"""

from __future__ import annotations

import io
import logging
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import TorchCheckpointIO

from fila_lab.config import RunConfig, RuntimeConfig
from fila_lab.config.files import write_atomically
from fila_lab.config.run import NO_MATTER

log = logging.getLogger("fila_lab")

FOLDER = "checkpoints"
STEP = "step-"
"""What stands before the step in a checkpoint's name, where several are kept."""
STAGE = "training_stage"
"""Under which a checkpoint says of which training stage it is."""
NEEDED = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "global_step", "hyper_parameters", STAGE)
"""What a checkpoint must hold for training to go on from it."""


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place, syncs and renames it. Lightning's own goes by way of TMPDIR, and where that is another file
    system the last part of the way is a copy, which a kill tears.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """See `CheckpointIO.save_checkpoint`; OSError where the disk is full."""
        if storage_options is not None:
            raise TypeError("storage_options are not used here")
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(path), content.getvalue())


class BetweenSteps(ModelCheckpoint):
    """Lightning's callback, where a step takes several forward passes after the last of them only: a checkpoint holds no gradients."""

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


def keep_checkpoints(workdir: Path, runtime: RuntimeConfig) -> ModelCheckpoint:
    """Wherever the folder came from: one file, `last.ckpt`, replaced every `checkpoint_minutes` of training; or the newest
    `checkpoints_kept`, each named by its step. DeepSpeed writes folders, which a kill can tear: of them two stay at least."""
    every = timedelta(minutes=runtime.checkpoint_minutes)
    common: dict[str, Any] = {"dirpath": workdir / FOLDER, "train_time_interval": every, "enable_version_counter": False}
    kept = max(runtime.checkpoints_kept, 2 if runtime.shares == "deepspeed" else 1)
    if kept == 1:
        return BetweenSteps(save_last=True, save_top_k=0, **common)
    newest: dict[str, Any] = {"monitor": "step", "mode": "max", "filename": f"{STEP}{{step}}", "auto_insert_metric_name": False}
    return BetweenSteps(save_top_k=kept, **newest, **common)


def hyper_parameters(config: RunConfig) -> dict[str, Any]:
    """What a checkpoint says of the cell it belongs to; the data stand in the cell's own folder."""
    return config.model_dump(mode="json", exclude={**NO_MATTER, "data": True})


def resumable(workdir: Path, config: RunConfig, stage: str = "") -> str | None:
    """The checkpoint with the most steps that can be trusted; the others that cannot be read are renamed, each with one warning.

    stage: the mark of the training stage whose checkpoints lie there, where the run has several (`config.stage_runs.stage_mark`).

    Raises:
        OSError: the folder cannot be read or written.
    """
    folder = workdir / FOLDER
    if folder.exists() and not folder.is_dir():
        _set_aside(folder, "it is not a folder")
    for left in folder.glob(".*.tmp"):  # of a process that was killed while it wrote
        left.unlink(missing_ok=True)
    steps: dict[Path, tuple[int, float]] = {}
    for path in sorted(folder.glob("*.ckpt")):
        try:
            steps[path] = (_steps(path, config, stage), path.stat().st_mtime)
        except Exception as error:  # whatever torch or zipfile make of a file that is no checkpoint
            _set_aside(path, " ".join(str(error).split())[:200] or type(error).__name__)
    return str(max(steps, key=lambda path: steps[path])) if steps else None


def _steps(path: Path, config: RunConfig, stage: str) -> int:
    """How many steps a checkpoint has behind it. Raises whatever shows that it cannot be trusted."""
    if config.runtime.shares == "deepspeed":
        if not (path / "latest").is_file():  # DeepSpeed writes it last
            raise ValueError("DeepSpeed has not finished it")
        return int(path.stem.removeprefix(STEP))
    with zipfile.ZipFile(path) as archive:
        if (bad := archive.testzip()) is not None:
            raise ValueError(f"the checksum of {bad} does not fit")
    content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    if missing := [key for key in NEEDED if key not in content]:
        raise ValueError(f"it lacks {', '.join(missing)}")
    if content[STAGE] != stage or (not stage and content["hyper_parameters"] != hyper_parameters(config)):
        raise ValueError("it is of another configuration")
    return int(content["global_step"])


def _set_aside(path: Path, reason: str) -> None:
    number = 1
    while (aside := path.with_name(f"{path.name}.unreadable-{number}")).exists():
        number += 1
    try:
        path.rename(aside)
    except FileNotFoundError:  # another rank of this cell was first
        return
    log.warning("%s cannot be resumed from (%s): moved to %s, the cell begins anew", path, reason, aside.name)
