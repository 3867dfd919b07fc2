"""What a reader relies on in `plan.json`: validated as a whole, so that a damaged plan is one message."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fila_lab.config.base import Number, Seed
from fila_lab.config.declaration import Declared
from fila_lab.config.json_files import read_json
from fila_lab.config.renamed import present_plan
from fila_lab.config.schemas import PLAN, refuse_newer
from fila_lab.config.study import Phase, StudyConfig
from fila_lab.config.trial_cells import with_trial_cells


class _Read(BaseModel):
    """Keys that no reader needs are let be."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class PlannedCell(_Read):
    """One entry of `cells`."""

    id: str = Field(pattern=r"^[^/\x00]+$")
    arm: str
    seed: Seed
    phase: Phase = "main"
    trial: Annotated[int, Field(strict=True)] | None = None
    config: dict[str, Any] | None = None


class Matched(_Read):
    """How an arm was matched, as `fila_lab.config.matching.Solution` says it; deviations are shares."""

    quantity: str
    target: str
    wanted: Number
    path: str
    value: Number
    reached: Number
    part: Number
    off_whole: Number
    off_part: Number


class PlanFile(_Read):
    """`plan.json`."""

    study: StudyConfig
    cells: tuple[PlannedCell, ...]
    study_hash: str = ""
    budget: str = ""
    matches: dict[str, Matched] | None = None
    step_seconds: dict[str, Number] | None = None
    declared: Declared | None = None

    @model_validator(mode="after")
    def _each_once(self) -> PlanFile:
        places = Counter((cell.arm, cell.seed, cell.phase, cell.trial) for cell in self.cells)
        (arm, seed, *_), count = next(iter(places.most_common(1)), (("", 0), 0))
        if count > 1:
            raise ValueError(f"cells: arm {arm!r}, seed {seed} stands there {count} times")
        return self


def read_plan_file(path: Path) -> PlanFile:
    """The plan in a file, and the cells of its searches beside it.

    Raises:
        FilaError: a newer version wrote it.
        OSError: it cannot be read.
        ValueError: it is no plan (pydantic's ValidationError is a ValueError).
    """
    content = read_json(path)
    if isinstance(content, dict):
        refuse_newer(path, content.get("schema"), PLAN)
    return PlanFile.model_validate(present_plan(with_trial_cells(path.parent, content)))
