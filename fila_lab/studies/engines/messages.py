"""What a running cell says on its way to the driver, the same for every engine that runs cells in other processes.

A message is `(kind, *content)`; a kind of event that a cell may tell of is one line in `EVENTS`, and then passes every engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fila_lab.studies.engines.base import Event, Job, Outcome, Progress, Warned, call
from fila_lab.studies.engines.warned import warnings_to

Message = tuple[Any, ...]
BEGUN, PROGRESS, WARNED, FINISHED = "begun", "progress", "warned", "finished"
EVENTS: dict[str, Callable[..., Event]] = {PROGRESS: Progress, WARNED: Warned}
"""Kind of message -> the event that tells the driver, made of cell id, worker and the message's content."""
PROGRESS_SECONDS = 0.25
"""At most one progress message per phase in this time, but for its last."""


def run_told(job: Job, tell: Callable[..., None]) -> Outcome:
    """Run the job here; what it says meanwhile goes to `tell(kind, *content)`."""
    last: tuple[str, float] = ("", 0.0)

    def progress(phase: str, step: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if phase != last[0] or step == total or now - last[1] >= PROGRESS_SECONDS:
            last = (phase, now)
            tell(PROGRESS, phase, step, total)

    tell(BEGUN)
    with warnings_to(lambda message: tell(WARNED, message)):
        return call(job, progress)


def event_of(cell_id: str, worker: int, message: Message) -> Event | None:
    """The event of a message; None where it is none."""
    kind, *content = message
    return EVENTS[kind](cell_id, worker, *content) if kind in EVENTS else None
