"""What installed packages announce under an entry-point group, without importing any of them."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from importlib.metadata import entry_points


def installed_names(group: str) -> tuple[str, ...]:
    """Names of a group's entry points, sorted. The metadata of every installed package is read for it, so it is read once for each state
    of the search path: what is installed or removed later is seen."""
    return _read(group, tuple(_state(folder) for folder in sys.path))


@lru_cache(maxsize=64)
def _read(group: str, states: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    return tuple(sorted({point.name for point in entry_points(group=group)}))


def _state(folder: str) -> tuple[str, int]:
    """A folder and when something was last put into it or taken out."""
    path = os.path.abspath(folder)
    try:
        return path, os.stat(path).st_mtime_ns
    except OSError:
        return path, 0
