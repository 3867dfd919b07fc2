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
class Tick:
    """Nothing new; time has passed."""


Outcome = tuple[dict[str, Any], Any, dict[str, Any], float, float, str]
"""What `Finished` holds after id and worker."""
Event = Started | Progress | Finished | Restarted | Tick
Listener = Callable[[Event], None]


class Engine(Protocol):
    """Runs jobs until the queue is empty and nothing is under way.

    The listener is called in the driver's thread, and may append jobs to the queue. Leaving the context ends the workers.
    """

    name: str
    workers: int

    def run(self, queue: deque[Job], listener: Listener) -> None:
        """Run all jobs of the queue, and those that the listener adds meanwhile."""
        ...

    def __enter__(self) -> Engine: ...

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None: ...


def call(job: Job, progress: Callable[[str, int, int], None] | None) -> Outcome:
    """Run the job here. Its function reports its own failures; what it raises all the same, save KeyboardInterrupt, becomes one."""
    started = time.time()
    try:
        job.workdir.mkdir(parents=True, exist_ok=True)
        outcome = resolve_function(job.function)(job.config, workdir=job.workdir, cache_dir=job.cache_dir, progress=progress, **job.options)
        result, predictions, provenance = outcome.result, outcome.predictions, getattr(outcome, "provenance", {})
    except Exception as error:
        kind: FailureKind = "bad_input" if isinstance(error, FilaError) else "error"
        config = job.config.model_dump(mode="json")
        result = failed(job.id, config, kind, f"{type(error).__name__}: {error}", traceback.format_exc(), time.time() - started)
        predictions, provenance = None, {}
    return result, predictions, provenance, started, time.time(), socket.gethostname()


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
