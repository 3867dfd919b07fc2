"""Reading a study's result folder: the plan, each cell's result and manifest, and what had to be left out and why. No pandas here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fila_lab.analysis.plan_file import PlannedCell, read_plan_file
from fila_lab.config.base import FilaError
from fila_lab.config.cell_checks import DONE, FAILED, check_predictions, check_result, short
from fila_lab.config.cells import Cells
from fila_lab.config.compact import is_compact, open_cells
from fila_lab.config.declaration import changes, declaration, judged_by
from fila_lab.config.files import RUNS
from fila_lab.config.instruments import of_first_instrument
from fila_lab.config.published import read_mark
from fila_lab.config.study import FRONT, StudyConfig

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class Skipped:
    """A result that exists and could not be used.

    Example:
        >>> out = "experiments/results/remove_fusion"
        >>> [f"{one.id}: {one.reason}" for one in StudyFolder.open(out).skipped]
        []
    """

    id: str
    reason: str


@dataclass(frozen=True)
class Cell:
    """One planned cell with its result, when there is a readable one."""

    id: str
    arm: str
    seed: int
    phase: str
    trial: int | None
    config: dict[str, Any]
    kept: Cells
    """Where its results are read from."""
    result: dict[str, Any] | None = None
    problem: str | None = None

    @property
    def done(self) -> bool:
        return self.result is not None and self.result["status"] == DONE

    @property
    def failed(self) -> bool:
        """Whether a failure of its own ended it; a pruned cell is neither failed nor done."""
        return self.result is not None and self.result["status"] == FAILED

    @property
    def manifest(self) -> dict[str, Any]:
        """What is recorded beside the result; empty where that is missing or unreadable."""
        return self.kept.manifest(self.id)

    def predictions(self) -> pd.DataFrame:
        """A row an item.

        Raises:
            ValueError: there are none, or they are not what readers need.
            OSError: they cannot be read.
        """
        return check_predictions(self._read().to_pandas())

    def table(self, numbered: Collection[str] = ()) -> pa.Table:
        """The same as a table of pyarrow, in a fraction of the time. numbered: columns of text that are to come as dictionaries."""
        from fila_lab.analysis.columns import fits

        found = self._read(numbered)
        if not fits(found):
            self.predictions()
        return found

    def _read(self, numbered: Collection[str] = ()) -> pa.Table:
        found = self.kept.table(self.id, numbered=numbered)
        if found is None:
            raise ValueError("there are none")
        return found


@dataclass(frozen=True)
class StudyFolder:
    """A result folder as read once. `StudyFolder.open(out)` raises FilaError where there is no readable plan.

    Example:
        >>> folder = StudyFolder.open("experiments/results/remove_fusion")
        >>> folder.arms, folder.baseline, all(cell.done for cell in folder.main)
        (('none', 'concat'), 'none', True)
    """

    out: Path
    study: StudyConfig
    study_hash: str
    budget: str
    cells: tuple[Cell, ...]
    strays: tuple[str, ...] = field(default=())
    matches: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Arm -> how its width was matched, as `fila_lab.cost.closed.matching.Solution` says it."""
    step_seconds: dict[str, float] = field(default_factory=dict)
    """Arm -> seconds a step, with which equal time was resolved to steps."""
    declared: dict[str, Any] = field(default_factory=dict)
    """The declaration as it stood when the first cell ran; empty where the folder does not keep it."""
    unrun: tuple[str, ...] = ()
    """What the study file says by now that these cells were not run with."""

    @staticmethod
    def open(out: Path | str | StudyFolder) -> StudyFolder:
        """Read plan and results. Errors: FilaError for a missing folder, a missing or broken plan, a plan without cells."""
        if isinstance(out, StudyFolder):
            return out
        out = Path(out)
        if not out.is_dir():
            raise FilaError(f"out={out}: no such folder; give the folder a study wrote (`fila-lab run STUDY.yaml --out DIR`)")
        plan_file = out / "plan.json"
        if not plan_file.exists():
            raise FilaError(f"out={out}: no plan.json in it, so it is no study's result folder; run `fila-lab run STUDY.yaml --out {out}`")
        try:
            plan = read_plan_file(plan_file)
        except (ValueError, OSError) as error:
            remedy = f"write it again with `fila-lab plan STUDY.yaml --out {out}`"
            raise FilaError(f"{plan_file}: not a readable plan ({short(error)}); {remedy}") from error
        kept = open_cells(out)
        seen: dict[str, Any] = {}
        known = tuple(_read_cell(kept, entry, seen) for entry in plan.cells)
        if not known:
            raise FilaError(f"{plan_file}: the plan has no cells; check the study's arms and the budget's seeds")
        ids = {cell.id for cell in known}
        strays = tuple(name for name in kept.ids() if name not in ids)
        matches = {arm: match.model_dump() for arm, match in (plan.matches or {}).items()}
        declared = plan.declared.kept() if plan.declared is not None else {}
        return StudyFolder(out, plan.study, plan.study_hash, plan.budget, known, strays, matches, plan.step_seconds or {}, declared)

    def judged_by(self, study: StudyConfig) -> StudyFolder:
        """The same cells, judged by what the study file declares now. Errors: ConfigError for the file of another study."""
        judged, unrun = judged_by(self.study, study, self.budget)
        kept = self.declared or declaration(self.study, self.budget)
        return replace(self, study=judged, declared=kept, unrun=unrun)

    @property
    def changed(self) -> tuple[str, ...]:
        """What of the declaration changed since the first cell ran, with the values then and now."""
        return changes(self.declared, declaration(self.study, self.budget)) if self.declared else ()

    @cached_property
    def main(self) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.cells if cell.phase == "main")

    @cached_property
    def first(self) -> dict[str, Cell]:
        """Arm -> the first of its main cells."""
        return {cell.arm: cell for cell in reversed(self.main)}

    @cached_property
    def tower_pairs(self) -> int:
        """How many tower pairs its seeds are spread over, seed s on pair s mod their number; 0 where cells name none, or do not agree."""
        configs = ((cell.result or {}).get("config") or cell.config for cell in self.main)
        counts = {len(config.get("tower_pairs") or ()) for config in configs} - {0}
        return counts.pop() if len(counts) == 1 else 0

    @cached_property
    def tuning(self) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.cells if cell.phase == "tuning")

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """Arms of this budget in the study file's order."""
        planned = {cell.arm for cell in self.main}
        return tuple(arm for arm in self.study.arms if arm in planned)

    @property
    def baseline(self) -> str | None:
        return next((arm for arm in self.arms if self.study.arms[arm].role == "baseline"), None)

    def label(self, arm: str) -> str:
        """How an arm is called. Points of a sweep's front keep their short names: their values, which label them, stand in its table."""
        declared = self.study.arms.get(arm)
        return (declared.label if declared and declared.role != FRONT else None) or arm

    @cached_property
    def first_instrument(self) -> bool:
        """Whether its cells ran with towers that are no longer shipped."""
        return of_first_instrument((cell.result or {}).get("config") or cell.config for cell in self.main)

    @property
    def report(self) -> Path:
        """Where the report goes: OUT/report; of published results, which stay as they are, runs/reports/<name>."""
        published = is_compact(self.out) or read_mark(self.out) is not None
        return RUNS / "reports" / self.out.resolve().name if published else self.out / "report"

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Results that exist and could not be read."""
        return tuple(Skipped(cell.id, cell.problem) for cell in self.cells if cell.problem)

    def notes(self) -> list[str]:
        """What a reader of the report must know about the folder's completeness."""
        found = [f"cell {skip.id}: {skip.reason}; skipped (run the study again to complete it)" for skip in self.skipped]
        missing = [cell for cell in self.main if cell.result is None and not cell.problem]
        if missing:
            found.append(f"incomplete: {len(missing)} of {len(self.main)} main cells have not been run; the same command goes on")
        if self.strays:
            found.append(f"{len(self.strays)} results belong to no cell of this plan and were ignored")
        return found


def _read_cell(kept: Cells, planned: PlannedCell, seen: dict[str, Any]) -> Cell:
    result, problem = None, None
    try:
        if (content := kept.result(planned.id)) is not None:
            result = check_result(content, planned.id, planned.phase)
            if isinstance(result.get("config"), dict):
                result["config"] = _shared(result["config"], seen)
    except (ValueError, OSError) as error:
        problem = f"result.json is half-written or damaged ({short(error)})"
    config = _shared(planned.config or {}, seen)
    return Cell(planned.id, planned.arm, planned.seed, planned.phase, planned.trial, config, kept, result, problem)


def _shared(config: Mapping[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    """The configuration with rooms that are one object in all cells where they say the same: a study's cells differ in little of it."""
    return {name: seen.setdefault(repr(room), room) if isinstance(room, dict) else room for name, room in config.items()}
