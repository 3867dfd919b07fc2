"""Training: the stages of a run one after another, each a fit of its own on the same module, kept where it can go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import lightning as L

from fila_lab.config import MachineError, RunConfig
from fila_lab.config.stage_runs import Stage, stage_mark, stages_of
from fila_lab.data.pool import Pool
from fila_lab.data.sampler import ORDER
from fila_lab.training.checkpoints import resumable
from fila_lab.training.data import TRAIN, CellData
from fila_lab.training.features import Features
from fila_lab.training.module import FilaModule
from fila_lab.training.record import Recorder
from fila_lab.training.stage_ends import END, StageEnd, read_end, write_end
from fila_lab.training.trained import fill, trained_state
from fila_lab.training.trainer import make_trainer, validation_interval

STAGES = "stages"
"""Folder, in a cell's own, with a folder a stage."""
Ends = Sequence[Path | None]
"""Where the ends of a run's first stages lie, by the stage's number, if some other cell that shares them has left them."""


@dataclass
class Fit:
    """Trains a run on the data of each of its stages.

    Args:
        pools, seen: of each stage, what `CellData` is made of.
        workdir: the cell's own folder, for checkpoints and ends of stages to go on from.
        ends: of stages that are shared with other cells.
    """

    config: RunConfig
    module: FilaModule
    record: Recorder
    workdir: Path
    pools: Sequence[Mapping[str, Pool]]
    seen: Sequence[Mapping[str, Features | None]]
    ends: Ends = ()
    data: list[CellData] = field(init=False)
    stages: list[Stage] = field(init=False)

    def __post_init__(self) -> None:
        declared, tokenizer, language = stages_of(self.config), self.module.model.tokenizer, self.config.language
        losses = self.config.train.stages is not None
        self.data = [
            CellData(stage.run, pools, seen, tokenizer, f"{ORDER}/{stage.number}" if stage.number else ORDER, language, losses)
            for stage, pools, seen in zip(declared, self.pools, self.seen, strict=True)
        ]
        self.stages = []
        for stage, data in zip(declared, self.data, strict=True):
            steps = stage.steps if stage.epochs is None else max(1, round(stage.epochs * data.steps_an_epoch))
            self.stages.append(stage.lasting(steps, sum(each.steps for each in self.stages)))
            data.config = self.stages[-1].run

    @property
    def total(self) -> int:
        """Steps of all stages."""
        return self.stages[-1].first + self.stages[-1].steps

    @property
    def seconds(self) -> float:
        """Time that this process spent in making batches."""
        return sum(data.seconds for data in self.data)

    @property
    def named_pools(self) -> dict[str, Pool]:
        """All pools by name: `train`, or `train NAME` where a stage has data of its own, and the run's others."""
        trained = {self.trained_on(stage): pools[TRAIN] for stage, pools in zip(self.stages, self.pools, strict=True)}
        return trained | {name: pool for name, pool in self.pools[-1].items() if name != TRAIN}

    def run(self, last: int | None = None) -> L.Trainer | None:
        """Train up to the end of stage number `last`, or to the end, going on from what lies there; the last Trainer, if any was needed.

        Raises:
            OSError: a folder cannot be read or written.
        """
        number, checkpoint, end = self._beginning(len(self.stages) - 1 if last is None else last)
        if end is not None:
            self._take(end, number - 1)
            self.record.load_state_dict(end.record)
            if end.folder in self.ends:
                self.record.begun = {"id": end.folder.name, "stages": [stage.name for stage in self.stages[:number]]}
        trainer = None
        for stage in self.stages[number : None if last is None else last + 1]:
            if self.record.stopped is not None:
                break
            if trainer is not None and self.in_parts:
                self._build_anew(stage.number)
            trainer = self._trained(stage, checkpoint)
            checkpoint = None
        self.module.leave()
        return trainer

    @property
    def in_parts(self) -> bool:
        """Whether devices keep parts of the weights or of the optimiser: a module is laid out for one fit then."""
        return self.config.runtime.shares in ("fsdp", "deepspeed")

    def _beginning(self, last: int) -> tuple[int, str | None, StageEnd | None]:
        """Number of the first stage that is not done (beyond `last` where that is), its checkpoint where there is one, and the end of the
        stage before it; where devices keep parts, a checkpoint holds what trains in its stage alone, and without that end is of no use."""
        for number in range(last + 1, 0, -1):
            checkpoint = self._checkpoint(self.stages[number]) if number <= last else None
            if checkpoint is not None and not self.in_parts:
                return number, checkpoint, None
            if number < len(self.stages) and (end := self._end(number - 1)) is not None:
                return number, checkpoint, end
        return 0, self._checkpoint(self.stages[0]), None

    def _end(self, number: int) -> StageEnd | None:
        """What a stage has come to: in this cell, or in another that shares it."""
        stage = self.stages[number]
        shared = self.ends[number] if number < len(self.ends) else None
        places = (place for place in (self._folder(stage) / END, shared) if place is not None)
        return next((end for place in places if (end := read_end(place, stage_mark(self.config, stage))) is not None), None)

    def _enter(self, stage: Stage) -> None:
        self.module.enter(stage, stage_mark(self.config, stage))

    def _take(self, end: StageEnd, number: int) -> None:
        """Give the module what the stages up to number `number` have trained."""
        self._enter(self.stages[number])
        fill(self.module.model, end.trained, self.workdir, names=self.module.trained)

    def _build_anew(self, number: int) -> None:
        """Another module, which comes to stage number `number` as the one before has left it."""
        self.module = FilaModule.from_config(self.config, detail_branch=self.module.model.encoder.convnext is not None)
        end = self._end(number - 1)
        if end is None:
            raise MachineError(f"{self.workdir}: the end of a training stage has vanished; give the same command again", "cache vanished")
        self._take(end, number - 1)

    def _trained(self, stage: Stage, checkpoint: str | None) -> L.Trainer:
        """A fit of one stage, its end written where others follow."""
        data = self.data[stage.number]
        trained_on = self.trained_on(stage)
        rows = {trained_on if name == TRAIN else name: len(rows) for name, rows in data.rows.items()}
        self._enter(stage)
        self.record.enter(stage.name, stage.first, stage.first + stage.steps, validation_interval(stage.run), rows, trained_on)
        goes_on = stage is not self.stages[-1]
        trainer = make_trainer(stage.run, self._folder(stage), self.record)
        trainer.fit(self.module, data, ckpt_path=checkpoint)
        if self.record.due:  # the checkpoint was of the last step: there was nothing to fit, and its validation is still to come
            trainer.validate(self.module, datamodule=data, verbose=False)
        if goes_on and self.record.stopped is None:
            trained = trained_state(self.module.model, self.module.trained, keep=trainer.is_global_zero)
            if trainer.is_global_zero:
                write_end(self._folder(stage) / END, stage_mark(self.config, stage), trained, self.config, self.record.state_dict())
            trainer.strategy.barrier()
        return trainer

    def trained_on(self, stage: Stage) -> str:
        """What the pool of a stage's training rows is called beside the run's others."""
        return TRAIN if stage.run.data.train == self.config.data.train else f"{TRAIN} {stage.name}"

    def _checkpoint(self, stage: Stage) -> str | None:
        return resumable(self._folder(stage), self.config, stage_mark(self.config, stage))

    def _folder(self, stage: Stage) -> Path:
        return self.workdir / STAGES / stage.name if stage.name else self.workdir
