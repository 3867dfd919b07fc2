"""Reading a study's result folder: the plan, each cell's result and manifest, and what had to be left out and why. No pandas here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from fila_lab.analysis.plan_file import PlannedCell, read_plan_file
from fila_lab.config.base import FilaError
from fila_lab.config.declaration import changes, declaration, judged_by
from fila_lab.config.json_files import read_json
from fila_lab.config.renamed import SCHEMA, present_result
from fila_lab.config.study import StudyConfig


@dataclass(frozen=True)
class Skipped:
    """A result that exists and could not be used."""

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
    folder: Path
    result: dict[str, Any] | None = None
    problem: str | None = None

    @property
    def done(self) -> bool:
        return self.result is not None and self.result["status"] == "done"

    @property
    def manifest(self) -> dict[str, Any]:
        """manifest.json, or an empty dict where it is missing or unreadable."""
        try:
            loaded = read_json(self.folder / "manifest.json")
        except (OSError, ValueError):
            return {}
        return loaded if isinstance(loaded, dict) else {}


@dataclass(frozen=True)
class StudyFolder:
    """A result folder as read once. `StudyFolder.open(out)` raises FilaError where there is no readable plan."""

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
            raise FilaError(f"{plan_file}: not a readable plan ({_short(error)}); {remedy}") from error
        known = tuple(_read_cell(out, entry) for entry in plan.cells)
        if not known:
            raise FilaError(f"{plan_file}: the plan has no cells; check the study's arms and the budget's seeds")
        ids = {cell.id for cell in known}
        there = sorted(path.name for path in (out / "cells").iterdir() if path.is_dir()) if (out / "cells").is_dir() else []
        strays = tuple(name for name in there if name not in ids and (out / "cells" / name / "result.json").exists())
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

    @property
    def main(self) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.cells if cell.phase == "main")

    @property
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
        declared = self.study.arms.get(arm)
        return (declared.label if declared else None) or arm

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


def _read_cell(out: Path, planned: PlannedCell) -> Cell:
    folder = out / "cells" / planned.id
    result, problem = None, None
    path = folder / "result.json"
    if path.exists():
        try:
            result = _validated(present_result(read_json(path)), planned.id, planned.phase)
        except (ValueError, OSError) as error:
            problem = f"result.json is half-written or damaged ({_short(error)})"
    return Cell(planned.id, planned.arm, planned.seed, planned.phase, planned.trial, planned.config or {}, folder, result, problem)


def _validated(result: Any, cell_id: str, phase: str) -> dict[str, Any]:
    """The fields every reader relies on; ValueError names the first that fails."""
    if not isinstance(result, dict):
        raise ValueError("not a mapping")
    if result.get("schema") != SCHEMA:
        raise ValueError(f"schema={result.get('schema')!r}, expected {SCHEMA}")
    if result.get("id") != cell_id:
        raise ValueError(f"id={result.get('id')!r} is not the folder's {cell_id!r}")
    if result.get("status") not in ("done", "failed"):
        raise ValueError(f"status={result.get('status')!r}")
    # Tuning cells never read the test pool: their numbers are those of the validation items.
    needed = "metrics" if phase == "main" else "validation"
    if result["status"] == "done" and not (isinstance(result.get(needed), dict) and result[needed]):
        raise ValueError(f"no {needed}")
    _check_shapes(result)
    for name in ("metrics", "validation", "timing"):
        check_numbers(result.get(name), name)
    for number, point in enumerate(result.get("curve") or []):
        check_numbers(point, f"curve[{number}]")
    return result


def _check_shapes(result: dict[str, Any]) -> None:
    """What is there is a mapping or a list where readers take it for one; ValueError names the first field that is not."""
    config = result.get("config")
    parts = [(name, result.get(name)) for name in ("config", "metrics", "validation", "timing", "failure")]
    parts += (
        [(f"config.{name}", config.get(name)) for name in ("train", "fusion", "geometry", "data", "runtime")]
        if isinstance(config, dict)
        else []
    )
    for name, value in parts:
        if value is not None and not isinstance(value, dict):
            raise ValueError(f"{name} is no mapping")
    curve = result.get("curve")
    if curve is not None and not (isinstance(curve, list) and all(isinstance(point, dict) for point in curve)):
        raise ValueError("curve is no list of points")


def check_numbers(values: Any, name: str) -> dict[str, float]:
    """`values` without what is null. ValueError, naming the key, for one that is no finite number: text, true, NaN, Infinity."""
    if not isinstance(values or {}, dict):
        raise ValueError(f"{name} = {_short(values)} is no mapping of numbers")
    found = {}
    for key, value in (values or {}).items():
        if value is None:
            continue
        if (number := finite(value)) is None:
            raise ValueError(f"{name}[{key!r}] = {_short(value)} is no finite number")
        found[str(key)] = number
    return found


def finite(value: Any) -> float | None:
    """`value` as a float; None where it is text, true, NaN, infinite or beyond a float's range."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _short(error: Any) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
