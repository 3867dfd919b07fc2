"""What runs on a Ray cluster's nodes: the supervisor of one cell, the mailbox on the driver's node, and a look at a node.

A cell runs in a worker process of the process engine's kind, below the Ray task that supervises it. So it has its own threads before any
library loads, its death has a cause (Ray's own words name no signal), and it goes when its supervisor goes: cancelled, killed by Ray for
the node's memory, or left behind by a driver that is no more. The worker is kept for the task's successors, as Ray keeps its processes.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fila_lab.studies.engines.base import Job, Outcome
from fila_lab.studies.engines.loss import Loss
from fila_lab.studies.engines.messages import BEGUN, FINISHED, PROGRESS, Message
from fila_lab.studies.engines.process import Worker
from fila_lab.studies.identity import code_hash
from fila_lab.studies.manifest import machine, versions

SENDING = 0.5
"""Progress is sent in parcels, at most one in so many seconds."""
SETTLING = 10.0
"""Seconds that a task waits for the mailbox at its end."""
SHARED = "all nodes must see the same storage under the same paths: start the study there, and give --out and FILA_LAB_CACHE on it"
_kept: list[Worker] = []
"""The worker that waits for this process's next task."""


@dataclass(frozen=True)
class Setting:
    """What the driver's machine and the nodes have in common."""

    working: Path
    """The driver's working directory, below which relative paths of a run lie."""
    root: Path
    """The study's folder."""
    cache: Path
    search_path: tuple[str, ...] = ()
    """The driver's own; what of it is there on a node is searched behind the node's."""
    variables: Mapping[str, str] | None = None
    """Environment variables of the driver that steer a cell."""


class Mailbox:
    """An actor that keeps what cells say until the driver asks; what one cell says stays in its order."""

    def __init__(self) -> None:
        self._messages: list[tuple[str, Message]] = []

    def put(self, cell_id: str, messages: Sequence[Message]) -> None:
        """A cell says something."""
        self._messages += [(cell_id, message) for message in messages]

    def take(self) -> list[tuple[str, Message]]:
        """All that was said since."""
        messages, self._messages = self._messages, []
        return messages


class Post:
    """Sends what a cell says to the mailbox; None, of a driver that has lost it, lets cells go on in silence."""

    def __init__(self, mailbox: Any, cell_id: str) -> None:
        self._mailbox, self._cell_id = mailbox, cell_id
        self._last: Any = None

    def __call__(self, messages: Sequence[Message]) -> None:
        if self._mailbox is not None:
            self._last = self._mailbox.put.remote(self._cell_id, list(messages))

    def settle(self) -> None:
        """Wait until all is there: a driver that has the result has heard the cell out."""
        if self._last is None:
            return
        import ray

        with suppress(ray.exceptions.RayError):  # without its mailbox a cell goes on in silence
            ray.get(self._last, timeout=SETTLING)


def run_task(job: Job, number: int, setting: Setting, mailbox: Any) -> Outcome | Loss:
    """The Ray task: see `supervise`."""
    post = Post(mailbox, job.id)
    try:
        return supervise(job, number, setting, post)
    finally:
        post.settle()


def supervise(job: Job, number: int, setting: Setting, post: Callable[[Sequence[Message]], None]) -> Outcome | Loss:
    """Run the job in a worker process of this node; `post` sends what it says. Returns what it came to, or why the worker is gone."""
    host = socket.gethostname()
    if missing := unseen(setting):
        now = time.time()
        return Outcome(None, None, {}, now, now, host, ("folder not shared", f"node {host} does not see {missing}; {SHARED}"))
    worker = _worker(job, number, setting)
    try:
        outcome = _listen(worker, job, post)
    except BaseException:
        worker.end()
        raise
    if outcome is None:
        worker.end()
        loss = worker.loss()
        return replace(loss, reason=f"{host}: {loss.reason}")
    if job.config.runtime.accelerator == "cpu":
        _kept.append(worker)
    else:
        worker.end()  # a GPU's memory is free only when its process is gone
    return replace(outcome, provenance={**outcome.provenance, "machine": machine(), "versions": versions()})


def unseen(setting: Setting) -> str:
    """Folders of the driver that are not here; empty where all are."""
    folders = {"the working directory": setting.working, "--out": setting.root, "the cache": setting.cache}
    return ", ".join(f"{what} {folder}" for what, folder in folders.items() if not folder.is_dir())


def look(setting: Setting, token: str, suites: Sequence[str]) -> tuple[str, str, str]:
    """(host, what is unlike the driver's, hash of the code) of this node; `token` is the name of a file in --out and in the cache."""
    missing = unseen(setting)
    if not missing:
        others = [folder for folder in (setting.root, setting.cache) if not (folder / token).is_file()]
        missing = ", ".join(f"{folder} (another folder of that name is there)" for folder in others)
    return socket.gethostname(), missing, code_hash(suites)


def _worker(job: Job, number: int, setting: Setting) -> Worker:
    """The kept worker, if it has these threads and variables and lives; else a fresh one."""
    variables = dict(setting.variables or {})
    there = [path for path in setting.search_path if os.path.exists(path)]
    variables["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*(path or os.getcwd() for path in sys.path), *there]))
    threads = job.config.runtime.threads
    while _kept:
        worker = _kept.pop()
        if worker.threads == threads and worker.variables == variables and worker.folder == setting.working and not worker.dead():
            worker.number = number
            return worker
        worker.end()
    log = setting.root / "logs" / f"ray-{socket.gethostname()}-{os.getpid()}.log"
    return Worker(number, threads, log, variables=variables, folder=setting.working)


def _listen(worker: Worker, job: Job, post: Callable[[Sequence[Message]], None]) -> Outcome | None:
    """Send on what the worker says, until it has finished the job; None when it is gone."""
    parcel: list[Message] = []
    sent = 0.0
    try:
        worker.give(job)
        while worker.pipe.poll(SENDING) or not worker.dead():
            message = worker.pipe.recv() if worker.pipe.poll() else None
            if message is not None and message[0] == FINISHED:
                worker.job = None
                outcome: Outcome = message[1]
                return outcome
            if message is not None:
                worker.begun = worker.begun or message[0] == BEGUN
                parcel.append(message)
            urgent = message is not None and message[0] != PROGRESS
            if parcel and (urgent or time.monotonic() - sent >= SENDING):
                post(parcel)
                parcel, sent = [], time.monotonic()
    except (EOFError, OSError):
        return None
    finally:
        if parcel:
            post(parcel)
    return None
