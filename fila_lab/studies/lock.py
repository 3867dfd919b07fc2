"""Who may drive a study's folder: one driver, or several that share it by `--shard i/n`.

The lock is the operating system's (`flock`), so a driver that dies, however it dies, frees it. The lock file's text names the
holder for people and for error messages.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from fila_lab.config.base import ConfigError, FilaError
from fila_lab.config.files import try_lock
from fila_lab.config.json_files import read_json

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
        if not (index.isdecimal() and count.isdecimal() and int(count)):
            raise ConfigError(f"--shard {text!r} is not i/n; write e.g. --shard 0/2 here and --shard 1/2 on the other machine")
        if int(index) >= int(count):
            last = int(count) - 1
            shares = ", ".join(f"{share}/{count}" for share in range(min(last, 3))) + (", ..." if last > 3 else "")
            listed = f"{shares} and {last}/{count}" if last else f"{last}/{count} alone"
            raise ConfigError(f"--shard {text!r}: shares are counted from 0, so of {int(count)} they are {listed}; write one of those")
        return Shard(int(index), int(count))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True)
class Holder:
    """A driver that holds a folder."""

    pid: int
    host: str
    shard: str | None
    since: str

    @staticmethod
    def read(path: Path) -> Holder | None:
        """Who stands in a lock file, whether or not it is held; None where that cannot be read."""
        try:
            content = read_json(path)
            return Holder(int(content["pid"]), str(content["host"]), content.get("shard"), str(content["since"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def __str__(self) -> str:
        share = f", shard {self.shard}" if self.shard else ""
        return f"process {self.pid} on {self.host}{share} (since {self.since})"


def _describe(path: Path) -> str:
    return str(Holder.read(path) or "another process")


def holders(root: Path) -> list[str]:
    """The drivers at work in the folder right now, described."""
    return [_describe(path) for path in _held(root)]


def drivers(root: Path) -> list[Holder]:
    """The drivers at work in the folder right now, as far as they can be read."""
    return [holder for path in _held(root) if (holder := Holder.read(path)) is not None]


def _held(root: Path) -> list[Path]:
    found = []
    for path in sorted(root.glob("lock*.json")):
        try:
            with path.open() as handle:
                if not try_lock(handle, shared=True):
                    found.append(path)
        except (OSError, FilaError):
            continue
    return found


class StudyLock:
    """Context manager that holds the folder for one driver; a shard holds the folder shared and its share alone.

    Raises:
        FilaError: another driver is at work there, and the message names its process and host; or the folder cannot be written.
        MachineError: its file system has no locks.
    """

    def __init__(self, root: Path, shard: Shard | None = None) -> None:
        self.root = root
        self.shard = shard
        self._handles: list[IO[str]] = []

    def __enter__(self) -> StudyLock:
        if self.shard is None:
            self._take(MAIN)
        else:
            self._take(MAIN, shared=True)
            self._take(f"lock-{self.shard.index}-of-{self.shard.count}.json")
        return self

    def _take(self, name: str, *, shared: bool = False) -> None:
        path = self.root / name
        try:
            held = self._hold(path, shared)
        except FilaError:
            self.release()
            raise
        except OSError as error:
            self.release()
            remedy = "mend its permissions or free space, or choose another"
            raise FilaError(f"--out: {path} cannot be written ({error.strerror or error}); {remedy}") from error
        if not held:
            holder = "; ".join(holders(self.root)) or _describe(path)
            self.release()
            remedy = "wait for it, stop it, choose another --out, or give every driver its share with --shard i/n"
            raise FilaError(f"--out: {self.root} is being driven by {holder}; {remedy}")

    def _hold(self, path: Path, shared: bool) -> bool:
        handle = path.open("a+", encoding="utf-8")
        self._handles.append(handle)
        # Somebody who only asks who holds the lock holds it for an instant.
        patience = 5
        while not (held := try_lock(handle, shared=shared)) and patience:
            patience -= 1
            time.sleep(0.05)
        if not held:
            self._handles.pop().close()
            return False
        # A shared holder leaves the main file empty: its name stands in its own shard's file.
        handle.truncate(0)
        if not shared:
            holder_of = {"pid": os.getpid(), "host": socket.gethostname(), "shard": str(self.shard) if self.shard else None}
            handle.write(json.dumps({**holder_of, "since": time.strftime("%Y-%m-%d %H:%M:%S")}) + "\n")
            handle.flush()
        return True

    def release(self) -> None:
        """Give the folder back."""
        while self._handles:
            with contextlib.suppress(OSError):  # a full disk may refuse what is still buffered; the lock goes all the same
                self._handles.pop().close()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
