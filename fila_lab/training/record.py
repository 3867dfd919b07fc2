"""What a cell's training leaves behind: its learning curve, and where its time went."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from fila_lab.config import FilaError
from fila_lab.config.cell_checks import VALIDATION_LOSS
from fila_lab.config.journal import Journal
from fila_lab.data.suite import SetAside
from fila_lab.training.data import TRAIN, VAL
from fila_lab.training.shares import averaged

Progress = Callable[[str, int, int], None]
Stop = Callable[[int, float], bool]
"""Asked after each validation, in their order, with (step, validation): whether training ends there."""


def check_bad_rows(aside: Mapping[str, SetAside], pool: str, rows: int, most: float) -> None:
    """FilaError where more than a share `most` of the rows of a pool, of which `rows` are in use, or all of them, cannot be used.

    aside: of all pools, by `<pool>/<id>`.
    """
    own = [row for name, row in aside.items() if name.startswith(f"{pool}/")]
    if len(own) > most * rows or (own and len(own) >= rows):
        raise FilaError(
            f"{len(own)} of {rows} rows of {pool} cannot be used, more than data.bad_rows={most:g} allows; the first: {own[0].message}; "
            "mend the files (fila-lab data check lists them), or raise data.bad_rows"
        )


class Recorder(Callback):
    """The learning curve (every `every` steps and where there is a validation: mean loss since the entry before, of whole batches where
    ranks share them, learning rate (of the first group of parameters), validation) and the seconds spent in steps.

    `seconds` has train_steps (forward, backward, optimiser), validation_steps and evaluate_steps (generation): the work itself. What a cell
    takes beyond these is start, data, logging and saving.

    Training stages are recorded one after another (`enter`): their steps count on, and entries name theirs, with the loss of validation
    beside its score.

    Training ends early where `stop` says so. A checkpoint may lie beyond that step (of a run that had another rule, or none): the curve is
    then cut there, so that it is the same however the cell came to it.
    """

    def __init__(
        self,
        every: int,
        progress: Progress | None,
        total: int,
        validate_every: int,
        stop: Stop | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.every, self.progress, self.total, self.validate_every = every, progress, total, validate_every
        self.stop, self.journal = stop, journal
        self.stage, self.first, self.last = "", 0, total
        """Name of the training stage, steps of the stages before it, and the step at which it ends."""
        self.stopped: dict[str, Any] | None = None
        """Step and value of the validation after which training was ended early."""
        self.curve: list[dict[str, Any]] = []
        self.times: dict[str, list[float | None]] = {"loss": [], "validation": []}
        """When the curve's entries were made, in seconds since 1970: of the loss and of the validation, if there was one."""
        self.seconds = {"train_steps": 0.0, "validation_steps": 0.0, "evaluate_steps": 0.0}
        self.images = 0
        self.earlier = 0.0
        """Seconds of training that lie behind the checkpoint this one went on from."""
        self._losses: list[torch.Tensor] = []
        self._passes: list[torch.Tensor] = []
        """Parts of the loss of the step under way, one a forward pass."""
        self._clock = self._began = 0.0
        self._stepped = False
        self.due = False
        """Whether the validation of the last step is still to come."""
        self.begun: dict[str, Any] | None = None
        """Of a cell that began with what stages shared with others had come to: the id of that, and the stages' names."""
        self.waited = 0.0
        """Seconds between training steps, in which batches were waited for."""
        self.aside: dict[str, SetAside] = {}
        """Rows that could not be read or asked, by pool and id: `train/17`."""
        self.trained_on = TRAIN
        """The pool that is trained on."""
        self.rows: dict[str, int] = {}
        """The rows in use of each pool: training's, validation's, those of each test."""
        self.bad_rows = math.inf
        """The share of a pool's rows of which more stop the cell."""

    def enter(self, name: str, first: int, last: int, validate_every: int, rows: Mapping[str, int], trained_on: str = TRAIN) -> None:
        """A training stage begins, after `first` steps, and ends with step `last`. rows: in use of each pool; trained_on: one of them."""
        self.stage, self.first, self.last, self.validate_every = name, first, last, validate_every
        self.rows, self.trained_on, self._stepped = dict(rows), trained_on, False

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the curve and the times depend on: entries, losses of the open window, whether a validation is due."""
        spent = self.earlier + time.perf_counter() - self._began
        losses = [loss.cpu() for loss in self._losses]
        copied = [dict(point) for point in self.curve]
        aside = {row: [told.reason, told.message] for row, told in self.aside.items()}
        times = {name: list(made) for name, made in self.times.items()}
        state = {
            "curve": copied,
            "times": times,
            "losses": losses,
            "due": self.due,
            "seconds": dict(self.seconds),
            "images": self.images,
            "spent": spent,
        }
        return state | {"aside": aside, "begun": self.begun}

    @property
    def provenance(self) -> dict[str, Any]:
        """What the manifest of a cell says of its training."""
        return {"curve_times": self.times} | ({"shared_stages": self.begun} if self.begun is not None else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.curve, self.times, self._losses, self.due = state["curve"], state["times"], state["losses"], state["due"]
        self.seconds, self.images, self.earlier = state["seconds"], state["images"], state["spent"]
        self.aside = {row: SetAside(row, *told) for row, told in state.get("aside", {}).items()}
        self.begun = state.get("begun")
        self._judge_again()

    def _judge_again(self) -> None:
        """Ask `stop` about what lies behind the checkpoint."""
        for place, point in enumerate(self.curve):
            step, value = point["step"], point["validation"]
            if self.stop is not None and step is not None and value is not None and self.stop(int(step), value):
                self.stopped, self.curve, self.due = {"step": step, "value": value}, self.curve[: place + 1], False
                self.times = {name: made[: place + 1] for name, made in self.times.items()}
                break

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """A checkpoint is written before the validation of its step, which Lightning leaves out on resuming: it is made up for here."""
        self._began = self._began or time.perf_counter()
        trainer.should_stop = self.stopped is not None
        if self.journal and trainer.is_global_zero:
            self.journal.begin(list(self._entries()))
        if self.progress:
            self.progress("train", self.first + trainer.global_step, self.total)
        if self.due:
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        now = time.perf_counter()
        self.waited += now - self._clock if self._stepped else 0.0
        self._clock, self._stepped = now, False
        self._set_aside(batch, self.trained_on)

    def _set_aside(self, batch: Any, pool: str) -> None:
        """FilaError where too many rows of a pool cannot be used."""
        if batch.aside:
            self.aside |= {f"{pool}/{row.row}": row for row in batch.aside}
            check_bad_rows(self.aside, pool, self.rows.get(pool, 0), self.bad_rows)

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._stop("train_steps")
        self._clock, self._stepped = time.perf_counter(), True
        self.images += len(batch.rows)
        self._passes.append(averaged(outputs["loss"].detach()))
        if (batch_idx + 1) % trainer.accumulate_grad_batches:  # the step goes on
            return
        first, *others = self._passes
        self._losses.append(sum(others, start=first))
        self._passes.clear()
        here, step = trainer.global_step, self.first + trainer.global_step
        self.due = here % self.validate_every == 0
        if here % self.every == 0 or step == self.last or self.due:
            device = outputs["loss"].device
            loss = float(torch.stack([each.to(device) for each in self._losses]).mean())
            point = {"step": step, "loss": loss, "learning_rate": trainer.optimizers[0].param_groups[0]["lr"], "validation": None}
            self.curve.append(point | ({VALIDATION_LOSS: None, "stage": self.stage} if self.stage else {}))
            self._losses.clear()
            self.times["loss"].append(_now())
            self.times["validation"].append(None)
            self._tell(trainer)
            if self.progress:
                self.progress("train", step, self.total)

    def on_validation_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, *_: Any) -> None:
        self._clock, self._stepped = time.perf_counter(), False
        self._set_aside(batch, VAL)

    def on_validation_batch_end(self, *_: Any) -> None:
        self._stop("validation_steps")

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.due = False
        found = trainer.callback_metrics
        if self.curve and "validation" in found:
            step, value = self.first + trainer.global_step, float(found["validation"])
            self.curve[-1] |= {name: float(found[name]) for name in ("validation", VALIDATION_LOSS) if name in found}
            self.times["validation"][-1] = _now()
            self._tell(trainer)
            # One rank decides for all: one that went on alone would wait for the others for ever.
            if self.stop is not None and trainer.strategy.broadcast(self.stop(step, value)):
                self.stopped = {"step": step, "value": value}
                trainer.should_stop = True

    def _tell(self, trainer: L.Trainer) -> None:
        """The last entry, to who looks on."""
        if self.journal and trainer.is_global_zero:
            *_, last = self._entries(len(self.curve) - 1)
            self.journal.add(last)

    def _entries(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """The curve from an entry on, as the journal has it."""
        for place in range(start, len(self.curve)):
            point, logged, validated = self.curve[place], self.times["loss"][place], self.times["validation"][place]
            yield {"step": point["step"], "loss": point["loss"], "learning_rate": point["learning_rate"], "time": logged}
            if validated is not None:
                told = {name: point[name] for name in ("validation", VALIDATION_LOSS) if name in point}
                yield {"step": point["step"], **told, "time": validated}

    def on_predict_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._clock = time.perf_counter()
        self._set_aside(batch, [name for name in self.rows if name != self.trained_on][dataloader_idx])

    def on_predict_batch_end(self, *_: Any) -> None:
        self._stop("evaluate_steps")

    def _stop(self, part: str) -> None:
        self.seconds[part] += time.perf_counter() - self._clock

    def images_per_second(self) -> float:
        """Training images per second in steps, optimiser included; of this process where there are several."""
        return self.images / self.seconds["train_steps"] if self.seconds["train_steps"] else 0.0


def _now() -> float:
    return round(time.time(), 1)
