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
from multiprocessing.connection import Connection
from typing import Any


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

    from fila_lab.studies.engines.messages import FINISHED, run_told

    while (job := jobs.get()) is not None:
        send(FINISHED, run_told(job, send))


if __name__ == "__main__":
    main(int(sys.argv[1]))
