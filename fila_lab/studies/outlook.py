"""A study that runs, seen from its folder: every cell's state, what is under way, how fast it goes and how long it will take.

Made to be asked again and again: a result is read once.
"""

from __future__ import annotations

import calendar
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fila_lab.config import FilaError
from fila_lab.config.cell_checks import DONE, FAILED, PRUNED
from fila_lab.config.cells import Cells
from fila_lab.config.compact import open_cells
from fila_lab.config.trial_cells import SEARCHES, TRIAL_CELLS
from fila_lab.studies.folder import read_plan
from fila_lab.studies.lock import holders
from fila_lab.studies.standing import Running, standings

STATES = ("done", "failed", "pruned", "running", "left")
"""Of a cell."""
RATE_SECONDS = 3600.0
"""The rate is that of the last hour, or of the time since the drivers began."""


@dataclass(frozen=True)
class Square:
    """One cell: its seed, its trial if it is one of a search, its state, and how far it is where that is known (0 to 1)."""

    id: str
    seed: int | None
    trial: int | None
    state: str
    share: float | None = None
    doing: str = ""
    """Of a running cell: its phase and step."""
    seconds: float | None = None
    """It took, or has been running."""
    failure: str = ""


@dataclass(frozen=True)
class Row:
    """The cells of an arm in one phase of the study, in the plan's order."""

    arm: str
    phase: str
    squares: tuple[Square, ...]

    @property
    def title(self) -> str:
        """What it is called: a sweep's trials are laid over an arm, and mostly are something else."""
        return title_of(self.arm, self.phase)

    def count(self, state: str) -> int:
        """Cells in a state."""
        return sum(square.state == state for square in self.squares)


def title_of(arm: str, phase: str) -> str:
    """How the cells of an arm in a phase are called."""
    return "trials" if phase == "sweep" else arm


@dataclass(frozen=True)
class Outlook:
    """A study at one moment. `at`: seconds since 1970."""

    name: str
    budget: str
    question: str
    at: float
    rows: tuple[Row, ...]
    drivers: tuple[str, ...]
    workers: int
    preparing: tuple[str, ...]
    """What the drivers do that is no cell."""
    per_hour: float | None
    seconds_left: float | None
    """Of the cells that are known."""
    searching: str = ""
    """The search, `sweep` or `tuning`, that has not ended and will ask for more cells; else empty."""

    def count(self, state: str) -> int:
        """Cells in a state."""
        return sum(row.count(state) for row in self.rows)

    @property
    def total(self) -> int:
        """Cells that are known."""
        return sum(len(row.squares) for row in self.rows)


@dataclass
class _Seen:
    """What is kept of a result."""

    stamp: int
    status: str
    seconds: float | None
    finished: float | None
    failure: str = ""


@dataclass
class Watcher:
    """Looks at the folder `root`.

    Raises:
        FilaError: (on `look`) there is no study in it.
    """

    root: Path
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _plan: tuple[tuple[int, ...], dict[str, Any]] | None = None
    _cells: Cells | None = None

    def look(self) -> Outlook:
        """The study now."""
        plan, now = self._read_plan(), time.time()
        running: dict[str, Running] = {}
        workers, began = 0, []
        for standing in standings(self.root):
            workers += standing.workers
            began.append(standing.began)
            running |= {cell.id: cell for cell in standing.running}
        known = {cell["id"] for cell in plan["cells"]}
        self._look_at_results(known)
        preparing = [f"{cell.id}: {_doing(cell)}" for cell in running.values() if cell.id not in known]
        groups: dict[tuple[str, str], list[Square]] = {}
        for cell in plan["cells"]:
            groups.setdefault((cell["phase"], cell["arm"]), []).append(self._square(cell, running.get(cell["id"]), now))
        rows = tuple(Row(arm, phase, tuple(squares)) for (phase, arm), squares in groups.items())
        return Outlook(
            plan["study"]["name"],
            plan["budget"],
            str(plan["study"].get("question", "")),
            now,
            rows,
            tuple(holders(self.root)),
            workers,
            tuple(preparing),
            self._per_hour(began, now),
            _seconds_left(rows, workers),
            _searching(plan),
        )

    def _read_plan(self) -> dict[str, Any]:
        with suppress(OSError):
            stamp = (self.root / "plan.json").stat().st_mtime_ns, *_sizes(self.root)
            if self._plan is not None and self._plan[0] == stamp:
                return self._plan[1]
            if (plan := read_plan(self.root)) is not None:
                self._plan = stamp, plan
                return plan
        if self._plan is not None:  # it is just being replaced
            return self._plan[1]
        raise FilaError(f"--out: {self.root} holds no plan.json; name the folder of a study, or start one with `fila-lab run`")

    def _look_at_results(self, known: Iterable[str]) -> None:
        """Read results that are new, or others than before."""
        stamps = _stamps(self.root / "cells")
        self._cells = self._cells or open_cells(self.root)
        if stamps is None:  # published tables
            stamps = dict.fromkeys(self._cells.ids(), 0)
        for cell_id in list(self._seen):
            if cell_id not in stamps:
                del self._seen[cell_id]
        for cell_id in known:
            if cell_id in stamps and (cell_id not in self._seen or self._seen[cell_id].stamp != stamps[cell_id]):
                self._seen.pop(cell_id, None)
                with suppress(OSError, ValueError):
                    self._seen[cell_id] = _seen(self._cells, cell_id, stamps[cell_id])

    def _square(self, cell: Mapping[str, Any], running: Running | None, now: float) -> Square:
        place = cell["id"], cell["seed"], cell["trial"]
        seen = self._seen.get(cell["id"])
        if running is not None and (seen is None or seen.stamp < running.since * 1e9):
            share = running.step / running.total if running.total else None
            return Square(*place, "running", share, _doing(running), now - running.since)
        if seen is not None:
            return Square(*place, seen.status, 1.0, seconds=seen.seconds, failure=seen.failure)
        return Square(*place, "left")

    def _per_hour(self, began: list[float], now: float) -> float | None:
        """Cells an hour, of drivers that are at work."""
        if not began:
            return None
        start = max(min(began), now - RATE_SECONDS)
        count = sum(seen.finished is not None and seen.finished >= start for seen in self._seen.values())
        return count * 3600 / (now - start) if count and now > start else None


def _seconds_left(rows: Iterable[Row], workers: int) -> float | None:
    """By the time that the arm's cells took, or all cells where it has none yet; None while nothing is measured or nobody works."""
    took: dict[str, list[float]] = {}
    for row in rows:
        took.setdefault(row.arm, []).extend(square.seconds for square in row.squares if square.state == "done" and square.seconds)
    every = [seconds for of_arm in took.values() for seconds in of_arm]
    if not every or not workers:
        return None
    overall = sum(every) / len(every)
    left = []
    for row in rows:
        expected = sum(took[row.arm]) / len(took[row.arm]) if took[row.arm] else overall
        waiting = [square for square in row.squares if square.state in ("running", "left")]
        left += [max(0.0, expected - (square.seconds or 0.0)) for square in waiting]
    return max(sum(left) / workers, max(left, default=0.0))


def _sizes(root: Path) -> Iterator[int]:
    """Of the files that searches append their cells to."""
    for search in SEARCHES:
        try:
            yield (root / search / TRIAL_CELLS).stat().st_size
        except OSError:
            yield 0


def _searching(plan: Mapping[str, Any]) -> str:
    budget = plan["study"].get("budgets", {}).get(plan["budget"]) or {}
    return "" if not plan.get("provisional") else "sweep" if budget.get("sweep") else "tuning"


def _stamps(cells: Path) -> dict[str, int] | None:
    """Cell -> when its result was written; None where results are kept otherwise."""
    if not cells.is_dir():
        return None
    found = {}
    with os.scandir(cells) as entries:
        for entry in entries:
            with suppress(OSError):
                found[entry.name] = os.stat(f"{entry.path}/result.json").st_mtime_ns
    return found


def _seen(cells: Cells, cell_id: str, stamp: int) -> _Seen:
    """Raises ValueError where the result is none: it does not count, and the next run repeats the cell."""
    result, manifest = cells.result(cell_id) or {}, cells.manifest(cell_id)
    status, failure, timing = result.get("status"), result.get("failure") or {}, result.get("timing") or {}
    if status not in (DONE, FAILED, PRUNED) or not isinstance(failure, dict) or not isinstance(timing, dict):
        raise ValueError(f"cell {cell_id} has no result")
    seconds = timing.get("total")
    said = f"{failure.get('kind')}: {failure.get('message')}" if failure else ""
    return _Seen(stamp, status, seconds if isinstance(seconds, int | float) else None, _seconds(manifest), said)


def _seconds(manifest: Mapping[str, Any]) -> float | None:
    try:
        return float(calendar.timegm(time.strptime(str(manifest.get("finished")), "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return None


def _doing(cell: Running) -> str:
    return f"{cell.phase} {cell.step}/{cell.total}" if cell.total else cell.phase
