"""What a search before the main cells is to the run of a study, whichever kind it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from fila_lab.studies.costs import Measure
from fila_lab.studies.plan import CellSpec
from fila_lab.studies.result import CellResult
from fila_lab.studies.searches.phase import NoValue, SearchPhase
from fila_lab.studies.searches.search import Search
from fila_lab.studies.store import ResultStore


@dataclass(frozen=True)
class Seams:
    """What a search is given by the run it belongs to."""

    store: ResultStore
    code: str
    announce: Callable[[CellSpec, bool], None]
    """Told every cell that is asked for, and whether its result is there."""
    say: Callable[[str], None]
    rerun: frozenset[str] = frozenset()
    """Failed cells that are run again."""
    measure: Measure | None = None
    """What measures costs; None: `fila_lab.cost`."""


class Searching(Protocol):
    """A search: its phase, and what becomes of it."""

    folder: ClassVar[str]
    """Of the result folder, in which it writes."""
    searches: dict[str, Search]
    phase: SearchPhase

    def settle(self) -> dict[str, Any]:
        """Freeze and write what was found; the arguments of `make_plan` that say it."""
        ...


def mean_metric(metric: str, results: Sequence[CellResult]) -> float:
    """A validation metric's mean over a trial's cells.

    Raises:
        NoValue: one of them has none.
    """
    values = [result.validation.get(metric) for result in results]
    if missing := [result.id for result, value in zip(results, values, strict=True) if value is None or not math.isfinite(value)]:
        raise NoValue(f"cell {missing[0]} has no {metric}")
    return values[0] if len(values) == 1 else math.fsum(value for value in values if value is not None) / len(values)  # type: ignore[return-value]
