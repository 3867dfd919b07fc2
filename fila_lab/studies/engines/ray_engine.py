"""The engine of a cluster: a Ray task a cell, with the cell's own threads and devices as its resources on one node."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from fila_lab.config import ConfigError
from fila_lab.studies.engines.base import Job, Listener, Outcome, Started, Tick
from fila_lab.studies.engines.cluster import Cluster, passed_on, wanted_address
from fila_lab.studies.engines.loss import Loss, after_loss
from fila_lab.studies.engines.messages import BEGUN, Message, event_of
from fila_lab.studies.engines.ray_cluster import check_nodes, connect, import_ray, most_cpus, too_large
from fila_lab.studies.engines.ray_node import Mailbox, Setting, run_task
from fila_lab.studies.engines.resources import Resources

log = logging.getLogger("fila_lab")

PATIENCE = 0.5
"""Seconds after which a driver looks what cells have said, where none has ended."""
FAREWELL = 10.0
"""Seconds in which cells that were stopped must be gone, and what cells have said must be there."""


@dataclass
class _Cell:
    """A cell that Ray has, waiting for room or under way."""

    job: Job
    worker: int
    given: float
    begun: bool = False


class RayEngine:
    """Runs cells on a Ray cluster, at most `workers` at once; `root` is the study's folder, which all nodes see, and so is the cache.

    Raises:
        FilaError: ray is not installed.
    """

    name = "ray"

    def __init__(self, workers: int, root: Path, cluster: Cluster) -> None:
        self.ray: Any = import_ray()
        self.workers = workers
        self.cluster = cluster
        self._setting = Setting(Path.cwd(), root.absolute(), cluster.cache.absolute(), tuple(_search_path()), passed_on())
        self._joined = False
        self._mailbox: Any = None
        self._under_way: dict[Any, _Cell] = {}
        self._judged: set[Resources] = set()
        self._task = self.ray.remote(max_retries=0)(run_task)  # Ray would try again in silence

    def run(self, queue: deque[Job], listener: Listener) -> None:
        """See `Engine.run`.

        Raises:
            ConfigError: a cell that no node of a Ray started here can take.
        """
        free = deque(range(self.workers))
        attempts: dict[str, int] = {}
        for job in queue:
            self._room(job)
        try:
            while queue or self._under_way:
                while queue and free:
                    self._give(queue.popleft(), free.popleft(), attempts)
                ready, _ = self.ray.wait(list(self._under_way), num_returns=1, timeout=PATIENCE)
                if not ready:
                    listener(Tick())
                self._deliver(listener)
                for reference in ready:
                    self._end(reference, attempts, queue, listener)
                free = deque(sorted(set(range(self.workers)) - {cell.worker for cell in self._under_way.values()}))
        except BaseException:
            self._stop()
            raise

    def _room(self, job: Job) -> Resources:
        """What the job takes of a node; says once, or refuses, that none has room for it."""
        share = self.cluster.cell.of(job.config, job.processes)
        if job.processes > 1:  # the more the quicker, but it goes with fewer
            share = replace(share, cpus=min(share.cpus, most_cpus(self.ray)))
        if share in self._judged:
            return share
        self._judged.add(share)
        if reason := too_large(self.ray, share):
            if wanted_address(self.cluster.address) is None:
                raise ConfigError(
                    f"--engine ray: {reason}; lower runtime.threads or runtime.devices, or --cell-cpus, --cell-gpus, --cell-memory"
                )
            log.warning("%s: it waits until such a node joins (`ray status`); lower --cell-cpus, --cell-gpus or --cell-memory", reason)
        return share

    def _give(self, job: Job, worker: int, attempts: dict[str, int]) -> None:
        attempts[job.id] = attempts.get(job.id, 0) + 1
        share = self._room(job)
        task = self._task.options(num_cpus=share.cpus, num_gpus=share.gpus, memory=share.memory, name=f"fila-lab {job.id}")
        self._under_way[task.remote(job, worker, self._setting, self._mailbox)] = _Cell(job, worker, time.time())

    # What cells say --------------------------------------------------------------------------------------------------

    def _deliver(self, listener: Listener) -> None:
        """Hand on what cells have said since."""
        if self._mailbox is None:
            return
        try:
            letters: list[tuple[str, Message]] = self.ray.get(self._mailbox.take.remote(), timeout=FAREWELL)
        except self.ray.exceptions.RayError as error:
            log.warning(
                "progress of cells is not shown any more, for the process that collects it is lost (%s); cells go on", type(error).__name__
            )
            self._mailbox = None
            return
        by_id = {cell.job.id: cell for cell in self._under_way.values()}
        for cell_id, message in letters:
            if (cell := by_id.get(cell_id)) is not None:  # else it was said before its worker was lost
                self._tell(cell, message, listener)

    def _tell(self, cell: _Cell, message: Message, listener: Listener) -> None:
        if message[0] == BEGUN:
            self._begin(cell, listener)
        elif (event := event_of(cell.job.id, cell.worker, message)) is not None:
            listener(event)

    @staticmethod
    def _begin(cell: _Cell, listener: Listener) -> None:
        if not cell.begun:
            cell.begun = True
            listener(Started(cell.job.id, cell.worker))

    # How cells end ---------------------------------------------------------------------------------------------------

    def _end(self, reference: Any, attempts: dict[str, int], queue: deque[Job], listener: Listener) -> None:
        """What came back: an outcome, a worker's loss, or Ray's word that it lost the supervisor or its node.

        What the supervisor itself raised is no doing of the cell's: its node cannot run cells.
        """
        given = self._under_way[reference].given
        try:
            came: Outcome | Loss = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            cause = " ".join(str(error.cause if error.cause is not None else error).split())[-300:]
            fault = ("node unfit", f"a node of the cluster cannot run cells ({cause}); mend it, or take it out of the cluster")
            came = Outcome(None, None, {}, given, time.time(), "", fault)
        except self.ray.exceptions.RayError as error:
            words = " ".join(str(error).split())[:300]
            came = Loss(f"Ray lost it: {type(error).__name__}: {words}", True, False, "Ray's logs", "see to the cluster's nodes and memory")
        self._deliver(listener)
        cell = self._under_way.pop(reference)
        self._begin(cell, listener)
        if isinstance(came, Loss):
            listener(after_loss(cell.job, cell.worker, came, attempts[cell.job.id], given, queue))
        else:
            listener(came.event(cell.job.id, cell.worker))

    def _stop(self) -> None:
        """Cancel what is under way, and see it gone: a supervisor that ends takes its worker with it."""
        references = list(self._under_way)
        self._under_way.clear()
        for reference in references:
            self.ray.cancel(reference, force=True)
        if references:
            self.ray.wait(references, num_returns=len(references), timeout=FAREWELL)

    # The cluster -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> RayEngine:
        self._joined = connect(self.ray, self.cluster)
        try:
            for folder in (self._setting.root / "logs", self._setting.cache):
                folder.mkdir(parents=True, exist_ok=True)
            check_nodes(self.ray, self._setting, self.cluster.suites)
            self._mailbox = self.ray.remote(num_cpus=0)(Mailbox).remote()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._mailbox is not None:
            self.ray.kill(self._mailbox)
            self._mailbox = None
        if self._joined:
            self.ray.shutdown()
            self._joined = False


def _search_path() -> list[str]:
    return [path or os.getcwd() for path in sys.path]
