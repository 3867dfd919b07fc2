"""A worker that goes with its cell, and what becomes of the cell: the same for every engine."""

from __future__ import annotations

import socket
import time
from collections import deque
from dataclasses import dataclass

from fila_lab.config.faults import KILLED
from fila_lab.studies.engines.base import Event, Finished, Job, Restarted, Undone
from fila_lab.studies.result import failed

ATTEMPTS = 2
"""A cell whose worker dies is tried once more."""


@dataclass(frozen=True)
class Loss:
    """Why a worker went, in words."""

    reason: str
    begun: bool
    """Whether it had taken the job up; until then whatever ends it is no doing of the cell's."""
    crashed: bool
    """Whether it ended by its own doing."""
    log: str
    """Where it logged."""
    remedy: str = "free memory, or run fewer cells at once with --workers"


def after_loss(job: Job, worker: int, loss: Loss, attempts: int, started: float, queue: deque[Job]) -> Event:
    """Put the cell of a lost worker back into the queue; after its last attempt, say what it came to.

    A cell that crashed its own process every time has failed. A worker ended from outside says nothing of its cell, not even where memory
    ran out, which depends on all that ran beside it: such a cell is undone.
    """
    if attempts < ATTEMPTS:
        queue.appendleft(job)
        return Restarted(job.id, worker, loss.reason)
    reason = f"{loss.reason}; tried {ATTEMPTS} times"
    if not loss.begun:
        return Undone(job.id, worker, "no worker starts", f"{reason}; see {loss.log}")
    if not loss.crashed:
        return Undone(job.id, worker, KILLED, f"{reason}; {loss.remedy}")
    now = time.time()
    result = failed(job.id, job.config.model_dump(mode="json"), "error", reason, seconds=now - started)
    return Finished(job.id, worker, result, None, {}, started, now, socket.gethostname())
