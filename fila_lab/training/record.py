"""What a cell's training leaves behind: its learning curve, and where its time went."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

Progress = Callable[[str, int, int], None]


class Recorder(Callback):
    """The learning curve (mean loss of the last `every` steps, learning rate, validation) and the seconds spent in steps.

    `seconds` has train_steps (forward, backward, optimiser), validation_steps and evaluate_steps (generation): the work itself. What a cell
    takes beyond these is start, data, logging and saving.
    """

    def __init__(self, every: int, progress: Progress | None, total: int) -> None:
        self.every, self.progress, self.total = every, progress, total
        self.curve: list[dict[str, float | int | None]] = []
        self.seconds = {"train_steps": 0.0, "validation_steps": 0.0, "evaluate_steps": 0.0}
        self.images = 0
        self._losses: list[torch.Tensor] = []
        self._clock = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"curve": self.curve}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.curve = state["curve"]

    def on_train_batch_start(self, *_: Any) -> None:
        self._clock = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._stop("train_steps")
        self.images += len(batch.rows)
        self._losses.append(outputs["loss"].detach())
        step = trainer.global_step
        if step % self.every == 0 or step == self.total:
            loss = float(torch.stack(self._losses).mean())
            self.curve.append(
                {"step": step, "loss": loss, "learning_rate": trainer.optimizers[0].param_groups[0]["lr"], "validation": None}
            )
            self._losses.clear()
            if self.progress:
                self.progress("train", step, self.total)

    def on_validation_batch_start(self, *_: Any) -> None:
        self._clock = time.perf_counter()

    def on_validation_batch_end(self, *_: Any) -> None:
        self._stop("validation_steps")

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.curve and "validation" in trainer.callback_metrics:
            self.curve[-1]["validation"] = float(trainer.callback_metrics["validation"])

    def on_predict_batch_start(self, *_: Any) -> None:
        self._clock = time.perf_counter()

    def on_predict_batch_end(self, *_: Any) -> None:
        self._stop("evaluate_steps")

    def _stop(self, part: str) -> None:
        self.seconds[part] += time.perf_counter() - self._clock

    def images_per_second(self) -> float:
        """Training images per second in steps, optimiser included; of this process where there are several."""
        return self.images / self.seconds["train_steps"] if self.seconds["train_steps"] else 0.0
