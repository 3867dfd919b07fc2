"""Replace a folder as a whole: a kill leaves the former or the new one, and what is not ours in it is carried over."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fila_lab.config.files import file_lock, sync

NEW, OLD, LOCK = "new", "old", "fila_lab.lock"
"""What a folder for a replacement holds; by its lock it is known as ours."""


@contextmanager
def begin(home: Path) -> Iterator[Path]:
    """An empty folder beside `home` for what shall replace it (`swap`); gone at the end. One replacement of `home` at a time.

    What a killed one left is finished first.

    Raises:
        OSError: it cannot be written, or somebody's folder has its name.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    workshop = home.with_name(f".{home.name}.publishing")
    with ExitStack() as held:
        _hold(held, workshop)
        try:
            if (workshop / OLD).exists() and not home.exists():
                (workshop / OLD).rename(home)
            _discard(workshop)
            (workshop / NEW).mkdir()
            yield workshop / NEW
            _discard(workshop)
        finally:
            shutil.rmtree(workshop / NEW, ignore_errors=True)
            if not os.path.lexists(workshop / OLD):  # else what stood there can still be put back, and is known by the lock beside it
                (workshop / LOCK).unlink(missing_ok=True)
            with suppress(OSError):
                workshop.rmdir()


def _hold(held: ExitStack, workshop: Path) -> None:
    """Make the folder and hold its lock alone."""
    while True:
        workshop.mkdir(exist_ok=True)
        names = {path.name for path in workshop.iterdir()}
        if foreign := names if LOCK not in names else names - {NEW, OLD, LOCK}:
            raise FileExistsError(errno.EEXIST, f"{workshop} holds {', '.join(sorted(foreign))}, move it away")
        with suppress(FileNotFoundError):  # another replacement has just ended and taken the folder away
            held.enter_context(file_lock(workshop / LOCK))
            return


def swap(fresh: Path, home: Path, ours: Collection[str]) -> None:
    """Put `fresh` in the place of `home`; entries of `home` that are not among `ours` are carried over.

    Raises:
        OSError: it cannot be done, and `home` is as it was.
    """
    if not home.exists():
        fresh.rename(home)
        sync(home.parent)
        return
    former = fresh.with_name(OLD)
    foreign = [name for name in entries(home) if name not in ours]
    for name in foreign:
        if not _same(home / name, fresh / name):
            _carry(home / name, fresh / name)
    home.rename(former)
    try:
        fresh.rename(home)
    except OSError:
        former.rename(home)
        raise
    sync(home.parent)
    for name in entries(former):  # what came in between
        if name not in ours and name not in foreign:
            _carry(former / name, home / name)


def entries(folder: Path) -> list[str]:
    """POSIX paths below the folder of all that is no folder, and of empty folders; links are not followed."""
    found = []
    for path, folders, files in os.walk(folder):
        here = Path(path)
        links = [name for name in folders if (here / name).is_symlink()]
        found += [(here / name).relative_to(folder).as_posix() for name in (*files, *links)]
        if here != folder and not folders and not files:
            found.append(here.relative_to(folder).as_posix())
    return sorted(found)


def _same(path: Path, other: Path) -> bool:
    """Whether both are files of the same bytes, or empty folders."""
    if path.is_symlink() or other.is_symlink():
        return False
    return (path.is_dir() and other.is_dir()) or (path.is_file() and other.is_file() and filecmp.cmp(path, other, shallow=False))


def _carry(source: Path, target: Path) -> None:
    """The same entry at another place: the same bytes, by a hard link where the file system has them. FileExistsError where it is taken."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
    elif source.is_dir():
        target.mkdir(exist_ok=True)
    else:
        try:
            os.link(source, target)
        except FileExistsError:
            raise
        except OSError:  # no links there, or to no such file
            shutil.copy2(source, target)


def _discard(workshop: Path) -> None:
    for name in (NEW, OLD):
        shutil.rmtree(workshop / name, ignore_errors=True)
