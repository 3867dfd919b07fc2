"""Points of the curves of cells that run, as they are measured: read from the cells' journals, whatever engine runs them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fila_lab.config.journal import JOURNAL, JournalReader
from fila_lab.studies.engines.base import Event, Finished, Started, Undone

LOOK_SECONDS = 2.0
"""How often the journals are read."""
SERIES = ("loss", "learning_rate", "validation", "validation_loss")


@dataclass(frozen=True)
class Point:
    """What a cell measured at a step: loss and learning rate, or the validation that follows them. `time`: seconds since 1970."""

    id: str
    step: int
    time: float
    values: dict[str, float]
    """By names of SERIES; finite numbers alone."""


class Points:
    """Follows the engine's events. `workdir`: cell id -> its work folder."""

    def __init__(self, workdir: Callable[[str], Path]) -> None:
        self.workdir = workdir
        self._readers: dict[str, JournalReader] = {}
        self._looked = 0.0

    def listen(self, event: Event) -> list[Point]:
        """New points of all cells that run, at intervals; of a cell that ends, its last ones at once."""
        if isinstance(event, Started):
            self._readers[event.id] = JournalReader(self.workdir(event.id) / JOURNAL)
        elif isinstance(event, Finished | Undone) and (reader := self._readers.pop(event.id, None)) is not None:
            return list(_points(event.id, reader))
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return []
        self._looked = time.monotonic()
        return [point for cell_id, reader in self._readers.items() for point in _points(cell_id, reader)]


def _points(cell_id: str, reader: JournalReader) -> Iterator[Point]:
    for entry in reader.new():
        values = {name: float(entry[name]) for name in SERIES if _is_finite(entry.get(name))}
        yield Point(cell_id, entry["step"], float(entry["time"]), values)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
