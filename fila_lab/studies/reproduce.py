"""Run one cell again, in a folder of its own, and say whether the result is the same to the last bit."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fila_lab.config import ConfigError, FilaError, MachineError
from fila_lab.config.instruments import not_shipped, retired_weights
from fila_lab.studies.agreement import Difference, differences, differing_predictions
from fila_lab.studies.cell_names import StoredCell
from fila_lab.studies.engines import CELL_FUNCTION, Event, Finished, Job, Undone, make_engine
from fila_lab.studies.identity import cell_id, code_hash, suites_of
from fila_lab.studies.machine import check_devices
from fila_lab.studies.manifest import cell_manifest
from fila_lab.studies.store import ResultStore


@dataclass(frozen=True)
class Reproduction:
    """What came of it; `unlike` is what stood otherwise this time, and may be a cause."""

    cell: StoredCell
    differences: tuple[Difference, ...]
    unlike: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """To the last bit: metrics, validation, figures of benchmarks, curve, and every prediction."""
        return not self.differences


@dataclass(frozen=True)
class StopAt:
    """Stops a cell early, at the step where it was stopped: what decided that was the trials around it."""

    step: int

    def __call__(self, step: int, value: float) -> bool:
        return step >= self.step


def reproduce(
    cell: StoredCell,
    cache_dir: Path,
    listener: Callable[[Event], None],
    *,
    engine: str = "process",
    cell_function: str = CELL_FUNCTION,
) -> Reproduction:
    """Run the cell again and compare; the folder that holds it is only read.

    cache_dir: pools and features. listener: takes the engine's events.

    Raises:
        ConfigError: its weights or data are not here, or no longer shipped; or its device is not here.
        MachineError: the machine failed under it.
    """
    if lost := retired_weights(cell.result.config):
        raise ConfigError(f"CELL = {cell.name}: its weights {not_shipped(lost, 'reproduce a cell that ran with weights that are')}")
    config = cell.config
    check_devices([config])
    options: dict[str, Any] = {} if cell.phase == "main" else {"test": False}
    if cell.result.pruned is not None:
        options["stop"] = StopAt(cell.result.pruned.step)
    told: list[Event] = []

    def listen(event: Event) -> None:
        if isinstance(event, Finished | Undone):
            told.append(event)
        listener(event)

    with tempfile.TemporaryDirectory(prefix="fila-lab-") as folder:
        store = ResultStore(Path(folder)).open()
        with make_engine(engine, workers=1, root=store.root) as running:
            running.run(deque([Job(cell.id, config, store.root / "work", cache_dir, options, cell_function)]), listen)
        (event,) = told
        if isinstance(event, Undone):
            raise MachineError(event.reason, event.kind)
        assert isinstance(event, Finished)
        manifest = cell_manifest(event, config, code=code_hash(suites_of(config)), engine=engine, run="")
        fresh = store.write(cell.id, {**event.result, "id": cell.id}, event.predictions, manifest)  # read as the other was: equal forms
        predictions = differing_predictions(ResultStore(cell.root).predictions(cell.id), store.predictions(cell.id))
    found = differences(cell.result, fresh)
    unlike = manifest_differences(cell.manifest, manifest) + _identity(cell)
    return Reproduction(cell, (*found, *([predictions] if predictions is not None else [])), tuple(unlike))


def manifest_differences(one: Any, other: Any) -> list[str]:
    """Code, data, weights, versions and machine that differ between two manifests, a line each."""
    lines = []
    if one.get("code_hash") != other.get("code_hash"):
        lines.append(f"code: {one.get('code_hash', 'unknown')} -> {other.get('code_hash', 'unknown')}")
    for part, what in (("data_hash", "data"), ("weights", "weights"), ("versions", "version of"), ("machine", "machine's")):
        before, after = ({"": value} if isinstance(value, str) else dict(value or {}) for value in (one.get(part), other.get(part)))
        for name in dict.fromkeys([*before, *after]):
            if before.get(name) != after.get(name):
                told = [_short(values.get(name, "not known")) for values in (before, after)]
                lines.append(f"{what} {name}".strip() + f": {told[0]} -> {told[1]}")
    return lines


def _short(value: Any) -> str:
    text = str(value)
    return text[:16] if len(text) == 64 else text


def _identity(cell: StoredCell) -> list[str]:
    """The cell's id says what it ran on: fields, data and weights, by the rules of the version that planned it."""
    try:
        now = cell_id(cell.config)
    except FilaError:
        return []
    return [] if now == cell.id else [f"id of the same configuration: {cell.id} -> {now} (fields, data or weights are others today)"]
