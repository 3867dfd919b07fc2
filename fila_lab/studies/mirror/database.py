"""The mirror's own database, `mlflow.db` in the study's folder: made aside and renamed, set aside when it cannot be opened, and moved
with its folder. It holds nothing that the folder does not, so it can always be made anew.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fila_lab.config.files import becoming, try_lock, written_for
from fila_lab.studies.sqlite import BUSY_SECONDS, SQLITE_FILES, damage, passing_fault, set_aside, sqlite_url

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

DATABASE, LOCK, ARTIFACTS = "mlflow.db", "mlflow.lock", "mlartifacts"
TABLES = frozenset({"experiments", "runs", "tags", "params", "metrics", "alembic_version"})
"""Those of MLflow's tables that the mirror needs."""
_MADE = itertools.count()


def default_uri(root: Path) -> str:
    """SQLite beside the results."""
    return sqlite_url(root / DATABASE)


def artifacts_uri(root: Path) -> str:
    """Where the default mirror keeps its artifacts."""
    return (root / ARTIFACTS).resolve().as_uri()


def open_default(root: Path, study: str) -> MlflowClient:
    """A client of the folder's own database, made or made anew where there is none that can be opened. The caller holds LOCK.

    Raises:
        MachineError: it is busy, or the disk does not let it be read or written.
    """
    path = root / DATABASE
    _clear(root)
    if not path.exists():
        set_aside(path, "what is left of one")  # a journal without its database would be played into the new one
    elif problem := damage(path, TABLES):
        set_aside(path, problem)
    if path.exists():
        try:
            return _open(root, study)
        except Exception as error:
            if (fault := passing_fault(path, error)) is not None:
                raise fault from error
            set_aside(path, " ".join(str(error).split())[:200])
    _make(path)
    return _open(root, study)


def clear_left_over(root: Path) -> None:
    """Remove databases that a killed driver had begun, unless somebody is at work on the mirror."""
    if any(root.glob(f".{DATABASE}.*")):
        with (root / LOCK).open("a", encoding="utf-8") as handle:
            if try_lock(handle):
                _clear(root)


def _open(root: Path, study: str) -> MlflowClient:
    from mlflow.tracking import MlflowClient

    _move(root, study)
    with _unpooled():
        client = MlflowClient(default_uri(root))
        client.search_experiments(max_results=1)
    return client


def _make(path: Path) -> None:
    """MLflow's migrations take seconds, and a database that was killed in them cannot be opened again."""
    from mlflow.tracking import MlflowClient

    try:  # MLflow believes for the rest of a process what it has seen at an address
        with becoming(path, number=next(_MADE)) as temporary, _unpooled():
            MlflowClient(sqlite_url(temporary)).search_experiments(max_results=1)
    finally:
        _clear(path.parent)


def _move(root: Path, study: str) -> None:
    """MLflow stores absolute places; after the folder was moved or copied they are those of the folder as it is now."""
    now = artifacts_uri(root)
    with closing(sqlite3.connect(root.resolve() / DATABASE, timeout=BUSY_SECONDS)) as database, database:
        found = database.execute("SELECT experiment_id, artifact_location FROM experiments WHERE name = ?", (study,)).fetchone()
        if found is None or found[1] == now or not str(found[1]).endswith(f"/{ARTIFACTS}"):
            return
        experiment, former = found
        database.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (now, experiment))
        database.execute(
            "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
            (now, len(former) + 1, experiment, len(former) + 1, f"{former}/"),
        )


def _clear(root: Path) -> None:
    for path in root.glob(f".{DATABASE}.*"):
        names = (path.name.removesuffix(suffix) for suffix in SQLITE_FILES)
        if any(written_for(name) == DATABASE for name in names) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


@contextmanager
def _unpooled() -> Iterator[None]:
    """A connection that outlived a rename would write into the file that was renamed: each session opens its own."""
    name = "MLFLOW_SQLALCHEMYSTORE_POOLCLASS"
    before: Any = os.environ.get(name)
    os.environ[name] = "NullPool"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
