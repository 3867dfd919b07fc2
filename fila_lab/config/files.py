"""Writing files that a kill cannot tear, and locks that end with their process. The one home of both, for every room."""

from __future__ import annotations

import errno
import fcntl
import math
import os
import re
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fila_lab.config.base import ConfigError, MachineError

RUNS = Path("runs")
"""Where studies are run, below the working directory."""
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EROFS, errno.EBADF, errno.ENOLCK})
"""What file systems answer that have no such operation (network and FUSE mounts)."""
_UNREADABLE = frozenset({errno.EACCES, errno.EPERM, errno.EISDIR})
"""What opening a folder may answer where files can be written in it all the same."""
_TEMPORARY = re.compile(r"\.(?P<name>.+?)\.(?:(?P<host>[\w-]+)-)?(?P<pid>\d+)(?:\.\d+)?\.tmp")


def sync(path: Path) -> None:
    """fsync of a file or a folder; a file system that cannot sync folders is taken at its word."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno not in _UNREADABLE | _UNSUPPORTED or not path.is_dir():
            raise
        return
    try:
        _fsync(handle)
    finally:
        os.close(handle)


def _fsync(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def temporary_path(path: Path, number: int | None = None) -> Path:
    """Where this process writes what becomes `path` by a rename; `left_over` knows it again. number: for names that differ at each time."""
    again = "" if number is None else f".{number}"
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}{again}.tmp")


def _host() -> str:
    return re.sub(r"[^\w-]", "-", socket.gethostname())


def written_for(name: str) -> str | None:
    """The name of the file that a temporary file of this name was to become; None where it is none of ours."""
    found = _TEMPORARY.fullmatch(name)
    return found["name"] if found else None


def left_over(path: Path, names: Collection[str], alone: bool) -> bool:
    """Whether `path` is the temporary file of one of `names` whose writer is gone.

    Args:
        path: a file's path.
        names: names of the files that are written here.
        alone: nobody else writes here now, so no writer lives; else one of another host, or whose process is there, may live.
    """
    found = _TEMPORARY.fullmatch(path.name)
    if found is None or found["name"] not in names or path.is_symlink() or not path.is_file():
        return False
    return alone or (found["host"] == _host() and not _lives(int(found["pid"])))


def move_aside(path: Path, why: str) -> Path:
    """Rename `stem.suffix` to the first `stem.why-N.suffix` that is free; returns it.

    Raises:
        OSError: the folder cannot be written.
    """
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.stem}.{why}-{number}{path.suffix}")):
        number += 1
    path.rename(aside)
    return aside


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OverflowError, OSError):
        pass
    return True


@contextmanager
def becoming(path: Path, durable: bool = True, number: int | None = None) -> Iterator[Path]:
    """A temporary path to be filled in the block, which then becomes `path`, or leaves it as it was: fsync, rename, fsync of the folder.

    durable: whether it is to outlast a machine that stops, and not only a process that does (then nothing is synced).
    number: as in `temporary_path`.
    Raises:
        OSError: the disk is full or the folder cannot be written; the temporary file is removed, as after any other error.
    """
    temporary = temporary_path(path, number)
    try:
        yield temporary
        if durable:
            sync(temporary)
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say which
        raise
    if durable:
        sync(path.parent)


def write_atomically(path: Path, content: bytes, durable: bool = True) -> None:
    """Replace `path` by `content`, or leave it as it was; see `becoming`.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    with becoming(path, durable) as temporary:
        temporary.write_bytes(content)


def set_usual_mode(*paths: Path) -> None:
    """Give files the permissions that new files have here: what a library writes by way of a private temporary file (safetensors) its owner
    alone could read."""
    mask = os.umask(0o077)  # it can only be read by setting it
    os.umask(mask)
    for path in paths:
        path.chmod(0o666 & ~mask)


def try_lock(handle: IO[str], *, shared: bool = False) -> bool:
    """Whether the open file is now held by this process, alone or with other `shared` holders, until it is closed.

    Raises:
        MachineError: the file system has no locks.
        OSError: it fails otherwise.
    """
    return _flock(handle.fileno(), handle.name, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _flock(descriptor: int, name: str, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        remedy = "choose a folder on a local disk or on one mounted with locks"
        raise MachineError(f"{name}: this file system has no locks ({error.strerror}); {remedy}") from error
    return True


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Holds a file, made where there is none, or a folder alone, waiting for it; the kernel frees it when the process ends, however it
    ends. Who holds it may remove it.

    Raises:
        MachineError: the file system has no locks.
        OSError: the file cannot be made.
    """
    while True:
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _flock(descriptor, str(path), fcntl.LOCK_EX)
            if _is_at(descriptor, path):  # its last holder has not taken it away
                yield
                return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


CACHE_GIB = 40.0
"""How large the cache of features and of ends of training stages may become, unless FILA_LAB_CACHE_GIB says so."""


def default_cache() -> Path:
    """Pools, features and lists of files, shared by all studies: $FILA_LAB_CACHE, else `runs/cache`."""
    return Path(os.environ.get("FILA_LAB_CACHE") or RUNS / "cache")


def cache_limit() -> float:
    """Bytes that features and ends of training stages may have in the cache: $FILA_LAB_CACHE_GIB gibibytes, else CACHE_GIB.

    Raises:
        ConfigError: the variable is no positive number.
    """
    text = os.environ.get("FILA_LAB_CACHE_GIB", "").strip()
    if not text:
        return CACHE_GIB * 2**30
    try:
        gib = float(text)
    except ValueError:
        gib = math.nan
    if not 0 < gib < math.inf:
        near = re.match(r"[0-9]+(?:\.[0-9]+)?", text)
        example = near[0] if near and float(near[0]) > 0 else f"{CACHE_GIB:g}"
        raise ConfigError(f"FILA_LAB_CACHE_GIB = {text!r} is no size of the cache; give a positive number of GiB, e.g. {example}")
    return gib * 2**30
