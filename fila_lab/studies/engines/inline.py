"""The engine without workers: cells run one after another in the driver. The simplest, and the one to debug with."""

from __future__ import annotations

from collections import deque
from types import TracebackType

from fila_lab.studies.engines.base import Job, Listener, Progress, Started, call


class InlineEngine:
    """Runs cells in this process."""

    name = "inline"
    workers = 1

    def run(self, queue: deque[Job], listener: Listener) -> None:
        """See `Engine.run`."""
        while queue:
            job = queue.popleft()
            listener(Started(job.id, 0))

            def progress(phase: str, step: int, total: int, cell_id: str = job.id) -> None:
                listener(Progress(cell_id, 0, phase, step, total))

            listener(call(job, progress).event(job.id, 0))

    def __enter__(self) -> InlineEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        return None
