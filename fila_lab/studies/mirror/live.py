"""The mirror while a study runs: a thread of the driver that shows cells, their curves and their results as they come.

Cells never wait for it: what the driver hears is put into a queue, and what MLflow does with it, or fails to do, is the thread's affair.
After a failure, which is said once, the thread tries again at intervals; what was missed meanwhile is completed from the folder.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fila_lab.config import FilaError
from fila_lab.studies.address import masked
from fila_lab.studies.engines.base import Event, Finished, Restarted, Started, Undone
from fila_lab.studies.folder import read_plan
from fila_lab.studies.mirror.address import address_of
from fila_lab.studies.mirror.database import DATABASE
from fila_lab.studies.mirror.mirror import Child, Mirror
from fila_lab.studies.mirror.parents import Heading
from fila_lab.studies.mirror.points import Point
from fila_lab.studies.mirror.system_metrics import SystemMeter
from fila_lab.studies.mirror.tracking import prepare_mlflow, sync, writing
from fila_lab.studies.plan import CellSpec

log = logging.getLogger("fila_lab")

WRITE_SECONDS = 5.0
"""How often the mirror is written. A point is shown after this, the look at the journals and the writing itself: within 15 s."""
AGAIN_SECONDS = 120.0
"""After a failure, the next try."""
SEEN_SECONDS = 60.0
SUMMARY_SECONDS = 60.0
METER_SECONDS = 10.0
PATIENCE_SECONDS = 10.0
"""A last writing that takes longer is told of."""


class LiveMirror:
    """The mirror of the driver `command` of the folder `root`. Nothing is begun before the first cell.

    cells: those of the study by id, growing while it runs; system_metrics: whether the machine's load is recorded.
    """

    def __init__(
        self,
        root: Path,
        uri: str | None,
        heading: Heading,
        command: str,
        cells: Mapping[str, CellSpec],
        *,
        system_metrics: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.root, self.uri, self.heading, self.command, self.cells, self.say = root, uri, heading, command, cells, say
        self._events: queue.SimpleQueue[tuple[float, Event | Point]] = queue.SimpleQueue()
        self._running: dict[str, tuple[float, list[Point]]] = {}
        """Cells that run: since when, and all points of theirs."""
        self._ended: dict[str, bool] = {}
        """Cells that ended since the last writing, and whether they have a result."""
        self._children: dict[str, Child] = {}
        self._mirror: Mirror | None = None
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._status = "FINISHED"
        self._system_metrics = system_metrics
        self._meter: SystemMeter | None = None
        self._samples = 0
        self._due: dict[str, float] = {}
        self._told = False

    # The driver's side: nothing here waits.

    def listen(self, event: Event | Point) -> None:
        """Take note. Of a finished cell, call it when the result is in the folder."""
        if not isinstance(event, Started | Finished | Undone | Restarted | Point):
            return
        if self._thread is None:
            prepare_mlflow()  # here, for two threads that import at a time may meet half a module
            self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
            self._thread.start()
        self._events.put((time.time(), event))

    def close(self, status: str = "FINISHED", wait: float | None = None) -> None:
        """End with a complete mirror. status: of the parent's run; wait: at most so many seconds, then the thread is left to itself."""
        if self._thread is None:
            if status == "FINISHED":
                self._complete_alone()
            return
        self._status = status
        self._closing.set()
        self._thread.join(PATIENCE_SECONDS if wait is None else wait)
        if wait is None and self._thread.is_alive():
            self.say(f"tracking is behind; the mirror is being completed (Ctrl-C leaves that to `fila-lab sync {self.root}`)")
            while self._thread.is_alive():
                self._thread.join(1.0)

    def _complete_alone(self) -> None:
        """Nothing ran, and something may be missing all the same."""
        try:
            sync(self.root, self.uri)
        except FilaError as error:
            self._tell(error)

    # The thread's side.

    def _work(self) -> None:
        again = 0.0
        while True:
            last = self._closing.wait(WRITE_SECONDS)
            self._take()
            if time.monotonic() >= again or last:
                try:
                    self._write(last)
                except Exception as error:
                    self._tell(error)
                    again = time.monotonic() + AGAIN_SECONDS
                    self._mirror, self._children, self._ended = None, {}, {}
            if last:
                return

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            address = address_of(self.uri or str(self.root / DATABASE))
            said = address.hide(str(error) if isinstance(error, FilaError) else f"{type(error).__name__}: {error}")
            log.warning(
                "tracking at %s failed (%s); the study goes on, and `fila-lab sync %s` completes the mirror later",
                *(masked(address.uri), said, self.root),
            )

    def _take(self) -> None:
        while True:
            try:
                when, event = self._events.get_nowait()
            except queue.Empty:
                return
            if isinstance(event, Started):
                self._running.setdefault(event.id, (when, []))
                self._ended.pop(event.id, None)
            elif isinstance(event, Point) and event.id in self._running:
                self._running[event.id][1].append(event)
            elif isinstance(event, Finished | Undone):
                self._running.pop(event.id, None)
                self._ended[event.id] = isinstance(event, Finished)

    def _write(self, last: bool) -> None:
        with writing(self.root, self.uri):
            if self._mirror is None or not self._mirror.is_there():
                self._open()
            mirror = self._mirror
            assert mirror is not None
            with mirror.runs.together():
                self._write_cells(mirror)
                if last:
                    for cell_id, child in self._children.items():
                        mirror.leave(cell_id, child)
            if last:
                if self._status == "FINISHED":
                    mirror.complete(self._planned())
                mirror.parents.close(self._status)
            else:
                self._write_parent(mirror)

    def _open(self) -> None:
        self._mirror, self._children = Mirror(self.root, self.uri, self.heading, self.command), {}
        self._mirror.parents.seen()
        self._mirror.complete(self._planned())

    def _planned(self) -> list[dict[str, Any]]:
        plan = read_plan(self.root)
        return list(plan["cells"]) if plan is not None else []

    def _write_cells(self, mirror: Mirror) -> None:
        for cell_id, has_result in self._ended.items():
            child = self._children.pop(cell_id, None)
            if has_result:
                mirror.finish(_about(self.cells[cell_id]), child)
            elif child is not None:
                mirror.leave(cell_id, child)
        self._ended = {}
        for cell_id, (since, points) in self._running.items():
            if cell_id not in self._children:
                cell = self.cells[cell_id]
                self._children[cell_id] = mirror.begin(_about(cell), cell.config.model_dump(mode="json"), since)
            mirror.show(self._children[cell_id], points)

    def _write_parent(self, mirror: Mirror) -> None:
        if self._is_due("seen", SEEN_SECONDS):
            mirror.parents.seen()
        if self._system_metrics and self._is_due("meter", METER_SECONDS):
            self._meter = self._meter or SystemMeter(self.root)
            mirror.parents.measure(self._meter.sample(), self._samples)
            self._samples += 1
        if self._is_due("summary", SUMMARY_SECONDS):
            mirror.summarise(self._planned())

    def _is_due(self, what: str, seconds: float) -> bool:
        if time.monotonic() < self._due.get(what, 0.0):
            return False
        self._due[what] = time.monotonic() + seconds
        return True


def _about(cell: CellSpec) -> dict[str, Any]:
    return {"id": cell.id, "arm": cell.arm, "seed": cell.seed, "phase": cell.phase, "trial": cell.trial}
