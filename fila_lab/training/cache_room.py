"""The room that the cache may take: features of frozen towers and ends of training stages share it, pools are not counted."""

from __future__ import annotations

import re
from pathlib import Path

from fila_lab.config import ConfigError, MachineError
from fila_lab.config.files import cache_limit
from fila_lab.config.stage_runs import ENDS
from fila_lab.data.sealed import discard, under_way

FEATURES = "features"
_OURS = re.compile(r"[0-9a-f]{16}(\.tmp-\d+(-old)?)?")
"""Folders of the cache, whole or left by a process that was killed: others there may be a user's."""


def evict(cache_dir: Path, needed: int) -> None:
    """Keep the cache under its limit with `needed` bytes more, dropping what was used longest ago; open maps stay readable, what is being
    made is left alone.

    Raises:
        MachineError: the limit is no number: a fault of this machine's settings, not of a cell.
    """
    try:
        limit = cache_limit()
    except ConfigError as error:
        raise MachineError(str(error), "setting") from error
    used: dict[Path, tuple[float, int]] = {}
    for folder in (folder for room in (FEATURES, ENDS) if (cache_dir / room).is_dir() for folder in (cache_dir / room).iterdir()):
        try:
            if _OURS.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink() and not under_way(folder):
                used[folder] = (folder.stat().st_mtime, sum(part.stat().st_size for part in folder.iterdir()))
        except FileNotFoundError:  # another process dropped it
            continue
    total = needed + sum(size for _, size in used.values())
    for folder, (_, size) in sorted(used.items(), key=lambda item: item[1]):
        if total <= limit:
            return
        discard(folder)
        total -= size
