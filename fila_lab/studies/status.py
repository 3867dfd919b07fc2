"""`status`: how far a study is, read from its folder alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fila_lab.config import FilaError
from fila_lab.config.cell_checks import DONE, FAILED, PRUNED
from fila_lab.config.published import altered
from fila_lab.studies.folder import read_plan
from fila_lab.studies.lock import holders
from fila_lab.studies.store import Invalid, ResultStore


@dataclass(frozen=True)
class ArmStatus:
    """One line of the table; `mean` is the primary metric's mean over finished main cells (validation for tuning); pruned cells are those
    that a search stopped."""

    arm: str
    phase: str
    done: int
    failed: int
    left: int
    mean: float | None
    pruned: int = 0

    @property
    def planned(self) -> int:
        return self.done + self.failed + self.pruned + self.left


@dataclass(frozen=True)
class StudyStatus:
    """What a study's folder holds."""

    name: str
    budget: str
    metric: str
    rows: tuple[ArmStatus, ...]
    failures: tuple[tuple[str, int, str, str], ...]
    """(arm, seed, kind, message) of failed cells."""
    invalid: tuple[Invalid, ...]
    moved_aside: tuple[Path, ...]
    code_hashes: tuple[str, ...]
    drivers: tuple[str, ...]
    """Who is at work there now."""
    costs: bool
    altered: tuple[str, ...] = ()
    """Files of published results that are gone, or not as they were published."""

    @property
    def left(self) -> int:
        """Cells without a result, as far as they are known: a search asks for its next trial when the last is told."""
        return sum(row.left for row in self.rows)


def study_status(root: Path | str) -> StudyStatus:
    """The state of a study's folder.

    Raises:
        FilaError: there is no study in it.
    """
    root = Path(root)
    plan = read_plan(root)
    if plan is None:
        raise FilaError(f"--out: {root} holds no plan.json; name the folder of a study, or start one with `fila-lab run`")
    store = ResultStore(root)
    metric = plan["study"]["metric"]
    results = store.outlines(cell["id"] for cell in plan["cells"])
    groups: dict[tuple[str, str], list[dict[str, object]]] = {}
    for cell in plan["cells"]:
        groups.setdefault((cell["phase"], cell["arm"]), []).append(cell)
    rows = []
    for (phase, arm), cells in groups.items():
        found = [results[str(cell["id"])] for cell in cells if cell["id"] in results]
        done = [result for result in found if result.status == DONE]
        values = [value for result in done if (value := (result.metrics if phase == "main" else result.validation).get(metric)) is not None]
        mean = sum(values) / len(values) if values else None
        failed, pruned = (sum(result.status == status for result in found) for status in (FAILED, PRUNED))
        rows.append(ArmStatus(arm, phase, len(done), failed, len(cells) - len(found), mean, pruned))
    failures = tuple(
        (cell["arm"], cell["seed"], failure.kind, failure.message)
        for cell in plan["cells"]
        if cell["id"] in results and (failure := results[cell["id"]].failure) is not None
    )
    return StudyStatus(
        name=plan["study"]["name"],
        budget=plan["budget"],
        metric=metric,
        rows=tuple(rows),
        failures=failures,
        invalid=tuple(store.invalid()),
        moved_aside=tuple(store.moved_aside()),
        code_hashes=tuple(sorted({str(store.manifest(cell_id).get("code_hash", "unknown")) for cell_id in results})),
        drivers=tuple(holders(root)),
        costs=(root / "costs.json").exists(),
        altered=tuple(altered(root)),
    )
