"""SQLite databases by path: their URLs, and the files that belong to one."""

from __future__ import annotations

from pathlib import Path

SQLITE_FILES = ("", "-journal", "-wal", "-shm")
"""What SQLite appends to a database's name for the files beside it."""


def sqlite_url(path: Path) -> str:
    """The SQLAlchemy URL of a database file, whatever characters its path has."""
    from sqlalchemy.engine import URL

    # With its driver named: for "sqlite:///" alone, MLflow makes the folder that it reads in the URL, escapes and all.
    return URL.create("sqlite+pysqlite", database=str(path.resolve())).render_as_string(hide_password=False)
