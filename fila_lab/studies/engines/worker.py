"""A worker process of the process engine: takes jobs from a pipe, runs each cell, sends back progress and results.

Started as `python -m fila_lab.studies.engines.worker FD`. It leads its own process group, so that a terminal's Ctrl-C does not
reach it, and so that nothing it starts outlives it. When the driver is gone, however it went, the pipe ends and the worker goes too.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

PROGRESS_SECONDS = 0.25
"""At most one progress message per phase in this time."""


def _end_group() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _read(pipe: Connection, jobs: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            _end_group()
        jobs.put(job)
        if job is None:
            return


def main(descriptor: int) -> None:
    """Work until the driver sends None or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe = Connection(descriptor)
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(pipe, jobs), daemon=True).start()
    gate = threading.Lock()

    def send(*message: Any) -> None:
        with gate:
            pipe.send(message)

    from fila_lab.studies.engines.base import call
    from fila_lab.studies.engines.warned import warnings_to

    while (job := jobs.get()) is not None:
        last: tuple[str, float] = ("", 0.0)

        def progress(phase: str, step: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if phase != last[0] or now - last[1] >= PROGRESS_SECONDS:
                last = (phase, now)
                send("progress", phase, step, total)

        send("begun")
        with warnings_to(lambda message: send("warned", message)):
            outcome = call(job, progress)
        send("finished", outcome)


if __name__ == "__main__":
    main(int(sys.argv[1]))
