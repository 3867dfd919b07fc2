"""What the machine did to the cells of one run: said once a kind, and when it is hopeless to go on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from fila_lab.config import MachineError
from fila_lab.config.faults import KILLED
from fila_lab.studies.engines import Event, Finished, Job, Undone

HOPELESS = 2
"""Cells undone in a row, by a fault that would meet the next one too, after which no more are begun."""


class Faults:
    """Listens to the engine's events. `say` is called once for every kind of fault."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.reasons: dict[str, str] = {}
        """kind -> the first reason given"""
        self.undone: list[str] = []
        self.stopped = False
        self._in_a_row = 0

    def listen(self, event: Event, queue: deque[Job]) -> None:
        """Note the fault, and empty the queue when going on is hopeless: what is under way still ends."""
        if isinstance(event, Finished):
            self._in_a_row = 0
        if not isinstance(event, Undone):
            return
        self.undone.append(event.id)
        if event.kind != KILLED:
            self._in_a_row += 1
        self.stopped = self.stopped or self._in_a_row >= HOPELESS
        if self.stopped:
            queue.clear()
        if event.kind not in self.reasons:
            self.reasons[event.kind] = event.reason
            if queue:
                self.say(f"the machine failed ({event.kind}): a cell is left undone; the others go on")

    def check(self) -> None:
        """Raises MachineError where anything was left undone, with every kind's cause and mend."""
        if not self.undone:
            return
        cells = f"{len(self.undone)} cell{'s were' if len(self.undone) > 1 else ' was'} left undone"
        stopped = ", and no more were begun" if self.stopped else ""
        causes = "\n".join(self.reasons.values())
        raise MachineError(
            f"the machine failed, not the cells: {cells}{stopped}; nothing is recorded for them, and finished cells are kept. "
            f"The same command goes on after the mend.\n{causes}",
            next(iter(self.reasons)),
        )
