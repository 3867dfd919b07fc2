"""Folders of the caches: made once, complete or not at all, and looked at before they are believed.

The last file written, the mark, lists every other one with size and sha256, and carries the hash of itself. Sizes are compared at every
opening, contents once a process for as long as a file's identity and times stay. What does not fit is made anew; maps that other processes
hold open stay readable, for a folder is only ever replaced, never written again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import stat
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from fila_lab.config.base import MachineError
from fila_lab.config.files import file_lock, sync, try_lock
from fila_lab.config.hashing import canonical_json
from fila_lab.config.json_files import read_json

log = logging.getLogger("fila_lab")

T = TypeVar("T")
Files = dict[str, tuple[int, str]]
"""Name -> (bytes, sha256)."""
_LOCK, _TEMPORARY = ".lock", ".tmp-"
_NOT_THE_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_seen: dict[tuple[int, ...], str] = {}  # of this process: identity of a file -> its sha256


class DamagedError(MachineError):
    """A folder of a cache is not what was written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "cache damaged")


def digests(folder: Path, unhashed: Container[str] = ()) -> Files:
    """Every file of a folder, synced to the disk and hashed, in the order of names; without those whose content is not to be looked at."""
    found = {}
    for path in sorted(folder.iterdir()):
        sync(path)
        if path.name not in unhashed:
            found[path.name] = (path.stat().st_size, _sha256(path))
    return found


def seal(folder: Path, mark: str, card: dict[str, Any], files: Files) -> None:
    """Write the mark: the card, the files, and the hash of both."""
    content = {**card, "files": files}
    content["seal"] = _seal(content)
    (folder / mark).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    sync(folder / mark)


def look(folder: Path, mark: str, contents: bool) -> dict[str, Any]:
    """The card of a sealed folder whose files have the sizes, and the `contents`, that were written.

    Raises:
        DamagedError: naming the file.
    """
    try:
        card: dict[str, Any] = read_json(folder / mark)
        sealed = card.pop("seal") == _seal(card)
        files: Files = card["files"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _damaged(error, f"{mark} cannot be read")
    if not sealed:
        raise DamagedError(f"{mark} is not what was written")
    for name, (size, sha256) in files.items():
        try:
            state = (folder / name).stat()
        except OSError as error:
            _damaged(error, f"{name} is missing")
        if not stat.S_ISREG(state.st_mode):
            raise DamagedError(f"{name} is no file")
        if state.st_size != size:
            raise DamagedError(f"{name} has {state.st_size} bytes, {size} were written")
        if contents:
            try:
                same = _sha256(folder / name) == sha256
            except OSError as error:
                _damaged(error, f"{name} cannot be read")
            if not same:
                raise DamagedError(f"{name} holds other bytes than were written")
    return card


def opened(final: Path, what: str, read: Callable[[Path], T], make: Callable[[Path], None], make_room: Callable[[], None]) -> T:
    """What `read` makes of the sealed folder `final`, which is made, or made anew with one warning, when it is not what was written.

    Safe from several processes at once: one makes it, the others wait.

    Args:
        final: its place; its lock lies beside it.
        what: a name for the warning.
        read: opens the folder; DamagedError, OSError or ValueError where it is not whole.
        make: fills and seals a folder that it is given, empty.
        make_room: called before, under the lock.

    Raises:
        OSError: it cannot be written.
        MachineError: it is damaged again as soon as it is made.
    """
    if os.path.lexists(final):
        try:
            return read(final)
        except (DamagedError, OSError, ValueError) as error:
            _unless_it_is_not_the_files(error)
    with alone(final):
        if os.path.lexists(final):
            try:
                return read(final)  # another process was first
            except (DamagedError, OSError, ValueError) as error:
                _unless_it_is_not_the_files(error)
                log.warning("%s in %s is damaged (%s); it is made anew", what, final, error)
                discard(final)
        make_room()
        put(final, make)
        return read(final)


@contextmanager
def alone(final: Path) -> Iterator[None]:
    """Nobody else makes the sealed folder `final` meanwhile; who wants to waits."""
    final.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(_lock_of(final)):
        yield


def put(final: Path, make: Callable[[Path], None]) -> None:
    """Make the sealed folder `final`, in the place of the one that is there, while `alone` with it.

    Raises:
        OSError: it cannot be written.
    """
    for left in final.parent.glob(f"{final.name}{_TEMPORARY}*"):  # of makers that were killed: the lock is ours
        discard(left)
    temporary = final.with_name(f"{final.name}{_TEMPORARY}{os.getpid()}")
    temporary.mkdir()
    try:
        make(temporary)
        sync(temporary)
        discard(final)
        temporary.rename(final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync(final.parent)


def discard(path: Path) -> None:
    """Remove a folder of a cache, or what lies in its place; maps that are open stay readable. It is gone at once, not file by file."""
    aside = path.with_name(f"{path.name}{_TEMPORARY}{os.getpid()}-old")
    try:
        path.rename(aside)
    except FileNotFoundError:  # somebody else did
        return
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink(missing_ok=True)


def under_way(folder: Path) -> bool:
    """Whether a folder is being made just now by a process that lives."""
    final, temporary, _ = folder.name.partition(_TEMPORARY)
    if not temporary:
        return False
    try:
        with _lock_of(folder.with_name(final)).open(encoding="utf-8") as handle:
            return not try_lock(handle)
    except FileNotFoundError:
        return False


def _lock_of(final: Path) -> Path:
    return final.with_name(final.name + _LOCK)


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def _sha256(path: Path) -> str:
    """Of a file's bytes, read once a process while it stays the same file."""
    with path.open("rb") as handle:
        state = os.fstat(handle.fileno())
        identity = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        if identity not in _seen:
            _seen[identity] = hashlib.file_digest(handle, "sha256").hexdigest()
        return _seen[identity]


def _damaged(error: Exception, what: str) -> Any:
    _unless_it_is_not_the_files(error)
    raise DamagedError(f"{what} ({error})") from error


def _unless_it_is_not_the_files(error: Exception) -> None:
    """A process that may open no more files would find every folder damaged."""
    if isinstance(error, OSError) and error.errno in _NOT_THE_FILES:
        raise error
