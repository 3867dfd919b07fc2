"""One rank of a cell on several devices, a process of its own: it runs the cell and tells the process that watches (`ranks`)."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from fila_lab.config import RunConfig

log = logging.getLogger("fila_lab")


class _Telling(logging.Handler):
    """What a rank says to the process that watches, the cell's warnings among it."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__(logging.WARNING)
        self.pipe, self.gate = pipe, threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        self.tell("warned", record.getMessage())

    def tell(self, *message: Any) -> None:
        with self.gate:
            self.pipe.send(message)


def _end_with(pipe: Connection) -> None:
    """A rank does not outlive the process that watches it."""
    try:
        while True:
            pipe.recv()
    except (EOFError, OSError):
        os._exit(1)


def _rank(descriptor: int) -> None:
    """One rank: the same cell as the others', its outcome told to the process that watches."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the watching process's matter
    pipe = Connection(descriptor)
    fields, options = pipe.recv()
    threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()
    telling = _Telling(pipe)
    log.addHandler(telling)
    log.propagate = False
    told: tuple[str, Any]
    try:
        from fila_lab.training.cell import run_cell  # takes seconds, in which the rank already ends with its watcher

        config = RunConfig.model_validate(fields)
        told = "outcome", run_cell(config, progress=lambda *step: telling.tell("progress", *step), **options)
    except Exception as error:
        told = "raised", error
    try:
        telling.tell(*told)
    except (pickle.PicklingError, TypeError, AttributeError):  # an exception that cannot travel
        telling.tell("raised", RuntimeError(f"{type(told[1]).__name__}: {told[1]}"))
    os._exit(0)  # what a process group would still wait for is gone or of no use


if __name__ == "__main__":
    _rank(int(sys.argv[1]))
