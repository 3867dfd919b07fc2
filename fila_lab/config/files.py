"""Writing files that a kill cannot tear, and locks that end with their process. The one home of both, for every room."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fila_lab.config.base import MachineError

_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EROFS, errno.EBADF, errno.ENOLCK})
"""What file systems answer that have no such operation (network and FUSE mounts)."""


def sync(path: Path) -> None:
    """fsync of a file or a folder; a file system that cannot sync folders is taken at its word."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(handle)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, or leave it as it was: temporary name, fsync, rename, fsync of the folder.

    Raises:
        OSError: the disk is full or the folder cannot be written; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Holds `path` alone, waiting for it; the kernel frees it when the process ends, however it ends.

    Raises:
        MachineError: the file system has no locks.
        OSError: the file cannot be made.
    """
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            raise MachineError(
                f"{path}: this file system has no locks ({error.strerror}); choose a folder on a local disk or on one mounted with locks"
            ) from error
        yield
