"""The engine of a cluster: the same cell function as Ray tasks, with the cell's own threads and devices as its resources."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from fila_lab.config.base import FilaError
from fila_lab.config.faults import KILLED
from fila_lab.studies.engines.base import Event, Finished, Job, Listener, Outcome, Started, Tick, Undone, Warned, call
from fila_lab.studies.engines.warned import warnings_to
from fila_lab.studies.result import failed

RETRIES = 1
"""Times that Ray tries a cell again after its worker or node was lost."""


def _run(job: Job) -> tuple[Outcome, list[str]]:
    """The outcome, and what was to be said to the user."""
    said: list[str] = []
    with warnings_to(said.append):
        return call(job, None), said


class RayEngine:
    """Runs cells on the Ray cluster that `ray.init` finds (RAY_ADDRESS), at most `workers` at once.

    The study's folder and the cache must be on storage that all nodes see.

    Raises:
        FilaError: ray is not installed.
    """

    name = "ray"

    def __init__(self, workers: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise FilaError("engine='ray' needs the ray package; install it with: pip install 'fila_lab[ray]'") from error
        self.ray: Any = ray
        self.workers = workers

    def run(self, queue: deque[Job], listener: Listener) -> None:
        """See `Engine.run`. Ray carries no progress messages: a cell shows its start and its end."""
        task = self.ray.remote(max_retries=RETRIES)(_run)
        under_way: dict[Any, tuple[Job, int, float]] = {}
        free = deque(range(self.workers))
        try:
            while queue or under_way:
                while queue and free:
                    job, number = queue.popleft(), free.popleft()
                    runtime = job.config.runtime
                    gpus = runtime.devices if runtime.accelerator == "gpu" else 0
                    reference = task.options(num_cpus=runtime.threads, num_gpus=gpus).remote(job)
                    under_way[reference] = (job, number, time.time())
                    listener(Started(job.id, number))
                ready, _ = self.ray.wait(list(under_way), num_returns=1, timeout=1.0)
                if not ready:
                    listener(Tick())
                for reference in ready:
                    job, number, started = under_way.pop(reference)
                    free.append(number)
                    for event in self._finish(reference, job, number, started):
                        listener(event)
        except BaseException:
            for reference in under_way:
                self.ray.cancel(reference, force=True)
            raise

    def _finish(self, reference: Any, job: Job, number: int, started: float) -> Iterator[Event]:
        """What came back. A worker or node that Ray lost, or whose memory ran out, says nothing of the cell; what Ray reports as raised
        by the task itself does.
        """
        try:
            outcome, said = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            now = time.time()
            result = failed(job.id, job.config.model_dump(mode="json"), "error", f"{type(error).__name__}: {error}", seconds=now - started)
            yield Finished(job.id, number, result, None, {}, started, now, socket.gethostname())
        except self.ray.exceptions.RayError as error:
            reason = f"ray lost the cell, {RETRIES + 1} attempts: {type(error).__name__}: {error}"
            yield Undone(job.id, number, KILLED, f"{reason}; see to the cluster's nodes and memory")
        else:
            yield from (Warned(job.id, number, message) for message in said)
            yield outcome.event(job.id, number)

    def __enter__(self) -> RayEngine:
        if not self.ray.is_initialized():
            self.ray.init(log_to_driver=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.ray.shutdown()
