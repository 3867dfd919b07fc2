"""Chunks of work in one or several processes, each of which sets itself up once."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from fila_lab.config.base import MachineError
from fila_lab.config.faults import KILLED

Progress = Callable[[str, int, int], None]
"""Called with (what, done, total)."""

CHUNKS_A_WORKER = 4
"""Fewer chunks are done before a process has started and imported what it needs."""

Worker = Callable[[Any], Any]
_worker: Worker | None = None  # of this process


def in_chunks(make: Callable[..., Worker], arguments: tuple[Any, ...], chunks: Sequence[Any], workers: int, what: str) -> Iterator[Any]:
    """The results of `make(*arguments)` called on each chunk, as they come; in this process where they are few.

    `make` and its arguments are pickled. MachineError where a worker is killed; a worker's own exception is raised here.
    """
    workers = min(workers, len(chunks) // CHUNKS_A_WORKER)
    if workers <= 1 or multiprocessing.current_process().daemon:
        yield from map(make(*arguments), chunks)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start, (make, arguments)) as executor:
        futures: list[Future[Any]] = [executor.submit(_work, chunk) for chunk in chunks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise MachineError(
                f"a process at work on {what} was killed (out of memory?); start again with fewer workers than {workers}", KILLED
            ) from error
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def _start(make: Callable[..., Worker], arguments: tuple[Any, ...]) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver stops the workers
    _worker = make(*arguments)


def _work(chunk: Any) -> Any:
    assert _worker is not None
    return _worker(chunk)
