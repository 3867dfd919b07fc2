"""Warnings of a cell's process, on their way to the driver: a worker's own log is not where a user looks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Forward(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self.tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self.tell(record.getMessage())


@contextmanager
def warnings_to(tell: Callable[[str], None]) -> Iterator[None]:
    """Hands the laboratory's own warnings to `tell` while the body runs."""
    logger, handler = logging.getLogger("fila_lab"), _Forward(tell)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
