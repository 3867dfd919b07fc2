"""Who may drive a study's folder: one driver, or several that share it by `--shard i/n`.

The lock is the operating system's (`flock`), so a driver that dies, however it dies, frees it. The lock file's text names the
holder for people and for error messages.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from fila_lab.config.base import ConfigError, FilaError

MAIN = "lock.json"


@dataclass(frozen=True)
class Shard:
    """The cells with `position % count == index` in the plan."""

    index: int
    count: int

    @staticmethod
    def parse(text: str) -> Shard:
        """`"0/4"` -> Shard(0, 4).

        Raises:
            ConfigError: not i/n with 0 <= i < n.
        """
        index, _, count = text.partition("/")
        if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
            raise ConfigError(
                f"--shard {text!r} is not i/n with 0 <= i < n; write e.g. --shard 0/2 here and --shard 1/2 on the other machine"
            )
        return Shard(int(index), int(count))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def _try(handle: IO[str], mode: int) -> bool:
    try:
        fcntl.flock(handle, mode | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _describe(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        share = f", shard {holder['shard']}" if holder.get("shard") else ""
        return f"process {holder['pid']} on {holder['host']}{share} (since {holder['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def holders(root: Path) -> list[str]:
    """The drivers at work in the folder right now, described."""
    found = []
    for path in sorted(root.glob("lock*.json")):
        try:
            with path.open() as handle:
                if not _try(handle, fcntl.LOCK_SH):
                    found.append(_describe(path))
        except OSError:
            continue
    return found


class StudyLock:
    """Context manager that holds the folder for one driver; a shard holds the folder shared and its share alone.

    Raises:
        FilaError: another driver is at work there; the message names its process and host.
    """

    def __init__(self, root: Path, shard: Shard | None = None) -> None:
        self.root = root
        self.shard = shard
        self._handles: list[IO[str]] = []

    def __enter__(self) -> StudyLock:
        if self.shard is None:
            self._take(MAIN, fcntl.LOCK_EX, sign=True)
        else:
            self._take(MAIN, fcntl.LOCK_SH, sign=False)
            self._take(f"lock-{self.shard.index}-of-{self.shard.count}.json", fcntl.LOCK_EX, sign=True)
        return self

    def _take(self, name: str, mode: int, *, sign: bool) -> None:
        path = self.root / name
        handle = path.open("a+")
        # Somebody who only asks who holds the lock holds it for an instant.
        patience = 5
        while not (held := _try(handle, mode)) and patience:
            patience -= 1
            time.sleep(0.05)
        if not held:
            handle.close()
            holder = "; ".join(holders(self.root)) or _describe(path)
            self.release()
            remedy = "wait for it, stop it, choose another --out, or give every driver its share with --shard i/n"
            raise FilaError(f"--out: {self.root} is being driven by {holder}; {remedy}")
        self._handles.append(handle)
        # A shared holder leaves the main file empty: its name stands in its own shard's file.
        handle.truncate(0)
        if sign:
            holder_of = {"pid": os.getpid(), "host": socket.gethostname(), "shard": str(self.shard) if self.shard else None}
            handle.write(json.dumps({**holder_of, "since": time.strftime("%Y-%m-%d %H:%M:%S")}) + "\n")
            handle.flush()

    def release(self) -> None:
        """Give the folder back."""
        while self._handles:
            self._handles.pop().close()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
