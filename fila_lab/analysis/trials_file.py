"""What a reader relies on in `sweep/trials.json`: validated as a whole, so that a damaged file is one message."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fila_lab.analysis.front import non_dominated
from fila_lab.config import schemas
from fila_lab.config.base import FilaError, Number, Seed
from fila_lab.config.cell_checks import short
from fila_lab.config.json_files import read_json
from fila_lab.config.schemas import refuse_newer
from fila_lab.config.search import Direction
from fila_lab.config.space import Dimension, parse_space

TRIALS = Path("sweep") / "trials.json"
State = Literal["running", "complete", "pruned", "failed", "impossible"]
Count = Annotated[int, Field(strict=True, ge=0)]


class _Read(BaseModel):
    """Keys that no reader needs are let be."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class TrialEntry(_Read):
    """One trial. `values`: one an objective, in their order; None where it has none. Ids of its cells."""

    number: Count
    batch: Count = 0
    state: State
    reason: str = ""
    parameters: dict[str, Any]
    values: tuple[Number, ...] | None = None
    cells: tuple[str, ...] = ()


class ObjectiveEntry(_Read):
    name: str
    direction: Direction
    kind: Literal["metric", "cost"]


class SearchEntry(_Read):
    """What was searched, and how."""

    arm: str = ""
    space: dict[str, Any]
    trials: Count
    sampler: str = ""
    run_seeds: tuple[Seed, ...] = ()
    set: dict[str, Any] = {}
    optuna: str = ""


class TrialsFile(_Read):
    """`sweep/trials.json`: the search, its trials in order of number, and, once it is complete, its front and the arms made of it."""

    search: SearchEntry
    objectives: tuple[ObjectiveEntry, ...] = Field(min_length=1)
    trials: tuple[TrialEntry, ...]
    complete: Annotated[bool, Field(strict=True)] = False
    front: tuple[Count, ...] = ()
    arms: dict[str, Count] = {}

    @model_validator(mode="after")
    def _fits(self) -> TrialsFile:
        numbers = {trial.number for trial in self.trials}
        if len(numbers) < len(self.trials):
            raise ValueError("trials: a number stands there twice")
        for trial in self.trials:
            given = None if trial.values is None else len(trial.values)
            if given not in (None, len(self.objectives)) or (trial.state == "complete" and given is None):
                raise ValueError(f"trials: number {trial.number} has {given or 'no'} values for {len(self.objectives)} objectives")
        for name, named in (("front", set(self.front)), ("arms", set(self.arms.values()))):
            if missing := named - numbers:
                raise ValueError(f"{name}: there is no trial {min(missing)}")
        self.dimensions()
        return self

    def dimensions(self) -> dict[str, Dimension]:
        """What was searched over, field by field."""
        return parse_space(self.search.space)

    @property
    def names(self) -> tuple[str, ...]:
        """The objectives."""
        return tuple(objective.name for objective in self.objectives)

    @property
    def directions(self) -> tuple[Direction, ...]:
        return tuple(objective.direction for objective in self.objectives)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The objectives that are metrics, in their order."""
        return tuple(objective.name for objective in self.objectives if objective.kind == "metric")

    @cached_property
    def finished(self) -> tuple[TrialEntry, ...]:
        """The complete trials, in order of number."""
        return tuple(sorted((trial for trial in self.trials if trial.state == "complete"), key=lambda trial: trial.number))

    def values(self, trials: Sequence[TrialEntry]) -> NDArray[np.float64]:
        """[trials, objectives]; NaN where a trial has no values."""
        none = (float("nan"),) * len(self.objectives)
        return np.array([trial.values or none for trial in trials], dtype=float).reshape(-1, len(self.objectives))

    @cached_property
    def best(self) -> tuple[TrialEntry, ...]:
        """The front's trials as the sweep froze them, before its end those of the trials so far; by the first objective, the best first."""
        if self.complete:
            chosen = [trial for trial in self.trials if trial.number in set(self.front)]
        else:
            on_front = non_dominated(self.values(self.finished), self.directions)
            chosen = [trial for trial, kept in zip(self.finished, on_front, strict=True) if kept]
        first = self.values(chosen)[:, 0] * (-1 if self.directions[0] == "maximize" else 1)
        return tuple(trial for _, trial in sorted(zip(first, chosen, strict=True), key=lambda pair: (pair[0], pair[1].number)))


def read_trials_file(folder: Path) -> TrialsFile | None:
    """The trials of a result folder's sweep; None where none has begun.

    Raises:
        FilaError: the file is damaged, or a newer version wrote it.
    """
    path = folder / TRIALS
    if not path.exists():
        return None
    try:
        content = read_json(path)
        if isinstance(content, dict):
            refuse_newer(path, content.get("schema"), schemas.TRIALS)
        return TrialsFile.model_validate(content)
    except (OSError, ValueError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        where = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else short(error)
        raise FilaError(f"{path}: not readable as trials of a sweep ({short(where)}); run the study again, which writes it anew") from error
