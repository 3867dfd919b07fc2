"""SQLite databases by path: their URLs, the files that belong to one, what is wrong with one, and setting it aside."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from fila_lab.config.base import MachineError
from fila_lab.config.faults import machine_fault

log = logging.getLogger("fila_lab")

SQLITE_FILES = ("", "-journal", "-wal", "-shm")
"""What SQLite appends to a database's name for the files beside it."""
BUSY_SECONDS = 20.0
"""How long a database that somebody holds is waited for."""
_PASSING = {
    "database is locked": "end what holds it open",
    "unable to open database file": "mend its permissions and those of its folder",
    "attempt to write a readonly database": "mend its permissions and those of its folder",
    "database or disk is full": "free space there",
    "disk I/O error": "check the disk or the mount",
}


def sqlite_url(path: Path) -> str:
    """The SQLAlchemy URL of a database file, whatever characters its path has."""
    from sqlalchemy.engine import URL

    # With its driver named: for "sqlite:///" alone, MLflow makes the folder that it reads in the URL, escapes and all.
    return URL.create("sqlite+pysqlite", database=str(path.resolve())).render_as_string(hide_password=False)


def damage(path: Path, tables: Collection[str] = (), *, read_only: bool = False) -> str:
    """Why a database file is none that could be used; "" where nothing speaks against it, or it cannot be told now.

    Args:
        path: the file.
        tables: those it must have.
        read_only: leave the file as it is, even where a transaction should be rolled back.
    """
    address = f"file:{quote(str(path.resolve()))}?mode={'ro' if read_only else 'rw'}"
    try:
        with closing(sqlite3.connect(address, timeout=BUSY_SECONDS, uri=True)) as database:
            found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                return " ".join(str(found).split())
            there = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.OperationalError:
        return ""
    except sqlite3.DatabaseError as error:
        return str(error)
    missing = sorted(set(tables) - there)
    return f"it lacks the tables {', '.join(missing)}" if missing else ""


def passing_fault(path: Path, error: Exception) -> MachineError | None:
    """The machine's fault behind an error, which is no damage of the database."""
    text = str(error)
    for words, remedy in _PASSING.items():
        if words in text:
            return MachineError(f"{path} cannot be used now ({words}); {remedy}", words)
    return machine_fault(error)


def set_aside(path: Path, problem: str) -> None:
    """Rename a database of ours that cannot be opened, with the files beside it, and say so."""
    found = [suffix for suffix in SQLITE_FILES if path.with_name(f"{path.name}{suffix}").exists()]
    if not found:
        return
    number = 1
    while any(path.with_name(f"{path.stem}.unreadable-{number}{path.suffix}{suffix}").exists() for suffix in SQLITE_FILES):
        number += 1
    aside = f"{path.stem}.unreadable-{number}{path.suffix}"
    for suffix in found:
        path.with_name(f"{path.name}{suffix}").rename(path.with_name(f"{aside}{suffix}"))
    log.warning("%s cannot be opened (%s): set aside as %s and made anew", path, problem, aside)
