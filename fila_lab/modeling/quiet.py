"""Libraries without what would stand among what a command says: transformers' progress bars, the hub's account of its attempts."""

from __future__ import annotations

import logging as standard
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging


@contextmanager
def without_bars() -> Iterator[None]:
    """No bar of transformers inside."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def without_attempts() -> Iterator[None]:
    """Nothing of the hub's library inside on attempts that failed, of which it makes five: what comes of them is said by who asked."""
    hub = standard.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(standard.ERROR)
    try:
        yield
    finally:
        hub.setLevel(level)
