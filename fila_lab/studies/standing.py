"""Where a driver stands, for whoever looks into its folder meanwhile: `progress.json`, of a shard `progress-i-of-n.json`.

The file is an extra: it is written at intervals, goes with its driver, and says nothing once its driver holds the lock no more.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

from pydantic import TypeAdapter

from fila_lab.config.files import write_atomically
from fila_lab.config.json_files import read_json
from fila_lab.studies.engines.base import Event, Finished, Progress, Restarted, Started, Undone
from fila_lab.studies.lock import Shard, drivers

PROGRESS = "progress.json"
WRITE_SECONDS = 2.0
"""At most one writing in this time."""


@dataclass
class Running:
    """A cell, or the preparation, that a worker is at. `since`: seconds since 1970."""

    id: str
    worker: int
    since: float
    phase: str = "start"
    step: int = 0
    total: int = 0


@dataclass
class Standing:
    """What a driver is at. `updated`: seconds since 1970."""

    pid: int
    host: str
    shard: str | None
    workers: int
    began: float
    updated: float = 0.0
    running: list[Running] = field(default_factory=list)


class StandingFile:
    """Context manager that keeps the file of one driver while it runs; follows the engine's events."""

    def __init__(self, root: Path, shard: Shard | None, workers: int) -> None:
        self.path = root / (f"progress-{shard.index}-of-{shard.count}.json" if shard else PROGRESS)
        self.standing = Standing(os.getpid(), socket.gethostname(), str(shard) if shard else None, workers, time.time())
        self._running: dict[str, Running] = {}
        self._written = 0.0

    def listen(self, event: Event) -> None:
        """Note what happened, and write it when it is time."""
        if isinstance(event, Started):
            self._running[event.id] = Running(event.id, event.worker, time.time())
        elif isinstance(event, Progress) and (cell := self._running.get(event.id)):
            cell.phase, cell.step, cell.total = event.phase, event.step, event.total
        elif isinstance(event, Finished | Undone | Restarted):
            self._running.pop(event.id, None)
        idle = not self._running and bool(self.standing.running)  # there may be no further event for a while
        if idle or time.monotonic() - self._written >= WRITE_SECONDS:
            self.write()

    def write(self) -> None:
        """Write now."""
        self._written = time.monotonic()
        self.standing.updated, self.standing.running = time.time(), list(self._running.values())
        with suppress(OSError):
            write_atomically(self.path, json.dumps(asdict(self.standing)).encode(), durable=False)

    def __enter__(self) -> StandingFile:
        self.write()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def standings(root: Path) -> list[Standing]:
    """What the drivers at work in a folder are at now; of dead ones nothing, whatever they left."""
    alive = {(holder.pid, holder.host, holder.shard) for holder in drivers(root)}
    return [found for found in _read(root) if (found.pid, found.host, found.shard) in alive] if alive else []


def _read(root: Path) -> Iterator[Standing]:
    for path in sorted(root.glob("progress*.json")):
        with suppress(OSError, ValueError):
            yield TypeAdapter(Standing).validate_python(read_json(path))
