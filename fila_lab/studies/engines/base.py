"""What an engine is: something that takes jobs from a queue, runs each cell, and reports what happens to the driver."""

from __future__ import annotations

import importlib
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from fila_lab.config import ConfigError, FilaError, RunConfig
from fila_lab.config.faults import is_out_of_memory, machine_fault
from fila_lab.studies.result import FailureKind, failed

if TYPE_CHECKING:
    import pandas as pd

CELL_FUNCTION = "fila_lab.training:run_cell"
"""Dotted path of the function that runs a cell; workers import it by name."""


@dataclass(frozen=True)
class Job:
    """A cell to run."""

    id: str
    config: RunConfig
    workdir: Path
    cache_dir: Path
    options: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the function."""
    function: str = CELL_FUNCTION
    processes: int = 1
    """How many it runs at once, of `runtime.threads` each; of a cell, its devices stand for them."""


@dataclass(frozen=True)
class Started:
    """A worker took the job."""

    id: str
    worker: int


@dataclass(frozen=True)
class Progress:
    """A cell is at `step` of `total` in `phase`."""

    id: str
    worker: int
    phase: str
    step: int
    total: int


@dataclass(frozen=True)
class Finished:
    """A cell's result, done or failed."""

    id: str
    worker: int
    result: dict[str, Any]
    predictions: pd.DataFrame | None
    provenance: dict[str, Any]
    started: float
    finished: float
    host: str


@dataclass(frozen=True)
class Restarted:
    """A worker was lost with the job and the job is tried once more on a fresh one."""

    id: str
    worker: int
    reason: str


@dataclass(frozen=True)
class Undone:
    """The machine failed and not the cell: there is no result, and nothing is recorded. `kind` is the cause in a few words."""

    id: str
    worker: int
    kind: str
    reason: str


@dataclass(frozen=True)
class Warned:
    """Something that a cell's process logged for the user."""

    id: str
    worker: int
    message: str


@dataclass(frozen=True)
class Tick:
    """Nothing new; time has passed."""


@dataclass(frozen=True)
class Outcome:
    """What a job came to, as it travels from where it ran: what `Finished` holds after id and worker, or the machine's fault."""

    result: dict[str, Any] | None
    predictions: Any
    provenance: dict[str, Any]
    started: float
    finished: float
    host: str
    fault: tuple[str, str] | None = None
    """(kind, reason) of what the machine did; then there is no result."""

    def event(self, cell_id: str, worker: int) -> Finished | Undone:
        """The event that tells the driver."""
        if self.fault is not None or self.result is None:
            return Undone(cell_id, worker, *(self.fault or ("no result", "the cell's process gave no result")))
        return Finished(cell_id, worker, self.result, self.predictions, self.provenance, self.started, self.finished, self.host)


Event = Started | Progress | Finished | Undone | Warned | Restarted | Tick
Listener = Callable[[Event], None]


class Engine(Protocol):
    """Runs jobs until the queue is empty and nothing is under way.

    The listener is called in the driver's thread, and may append jobs to the queue, or clear it. Leaving the context ends the workers.
    """

    name: str
    workers: int

    def run(self, queue: deque[Job], listener: Listener) -> None:
        """Run all jobs of the queue, and those that the listener adds meanwhile."""
        ...

    def __enter__(self) -> Engine: ...

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None: ...


def call(job: Job, progress: Callable[[str, int, int], None] | None) -> Outcome:
    """Run the job here.

    Its function reports a cell's own failure as a result. What it raises all the same, save KeyboardInterrupt, is the machine's fault
    (`machine_fault`), or becomes a failed result.
    """
    started = time.time()
    result: dict[str, Any] | None = None
    predictions, fault = None, None
    provenance: dict[str, Any] = {}
    try:
        job.workdir.mkdir(parents=True, exist_ok=True)
        outcome = resolve_function(job.function)(job.config, workdir=job.workdir, cache_dir=job.cache_dir, progress=progress, **job.options)
        result, predictions, provenance = outcome.result, outcome.predictions, getattr(outcome, "provenance", {})
    except Exception as error:
        if (machine := machine_fault(error)) is not None:
            fault = (machine.kind, str(machine))
        else:
            config = job.config.model_dump(mode="json")
            message = str(error) if isinstance(error, FilaError) else f"{type(error).__name__}: {error}"
            result = failed(job.id, config, _kind(error), message, traceback.format_exc(), time.time() - started)
    return Outcome(result, predictions, provenance, started, time.time(), socket.gethostname(), fault)


def _kind(error: Exception) -> FailureKind:
    if is_out_of_memory(error):
        return "out_of_memory"
    return "bad_input" if isinstance(error, FilaError) else "error"


def resolve_function(path: str) -> Callable[..., Any]:
    """`"package.module:name"` -> the function.

    Raises:
        ConfigError: no such module or name.
    """
    module, _, name = path.partition(":")
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"cell function {path!r} cannot be imported ({error}); write package.module:function") from error
    return function
