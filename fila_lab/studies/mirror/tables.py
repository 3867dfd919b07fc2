"""Runs of the mirror as rows of its own SQLite database, which takes the hundredth part of what MLflow's client takes for them.

A study has ten thousand cells with hundreds of values each, and MLflow's client spends tens of milliseconds on each. So the runs of
cells are written straight into the five tables that hold them; all else (the database itself, experiments, parents, artifacts,
datasets) goes through the client. Where MLflow's tables are others than those known here, `fits` says so, and the client writes
everything. A test compares what the client reads of runs written in both ways.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from fila_lab.studies.mirror.runs import Shown, Value

COLUMNS = {
    "runs": "run_uuid name source_type source_name entry_point_name user_id status start_time end_time source_version lifecycle_stage "
    "artifact_uri experiment_id deleted_time",
    "tags": "key value run_uuid",
    "params": "key value run_uuid",
    "metrics": "key value timestamp run_uuid step is_nan",
    "latest_metrics": "key value timestamp step is_nan run_uuid",
}
"""MLflow's tables of runs."""
CACHE_KIB = 65536
_LATER = "(excluded.step, excluded.timestamp, excluded.value) > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)"


def fits(path: Path) -> bool:
    """Whether MLflow's tables of runs are those that are known here."""
    with closing(sqlite3.connect(_address(path), uri=True)) as database:
        found = {table: {row[1] for row in database.execute(f"PRAGMA table_info({table})")} for table in COLUMNS}
    return found == {table: set(names.split()) for table, names in COLUMNS.items()}


class TableRuns:
    """`Runs` of one experiment in the SQLite database at `path`.

    artifacts: the experiment's artifact location; patience: seconds that another's writing is waited for.
    """

    def __init__(self, path: Path, experiment: str, artifacts: str, patience: float) -> None:
        self.path, self.experiment, self.artifacts, self.patience = path, int(experiment), artifacts, patience
        self._database: sqlite3.Connection | None = None

    def find(self, kind: str) -> list[Shown]:
        """See `Runs`."""
        chosen = (
            "SELECT run_uuid FROM runs JOIN tags USING (run_uuid) WHERE experiment_id = ? AND lifecycle_stage = 'active' "
            "AND tags.key = 'kind' AND tags.value = ?"
        )
        with self._session() as database:
            statuses = dict(database.execute(f"SELECT run_uuid, status FROM runs WHERE run_uuid IN ({chosen})", (self.experiment, kind)))
            tags: dict[str, dict[str, str]] = {run: {} for run in statuses}
            for run, key, value in database.execute(
                f"SELECT run_uuid, key, value FROM tags WHERE run_uuid IN ({chosen})", (self.experiment, kind)
            ):
                tags[run][key] = value
        return [Shown(run, status, tags[run]) for run, status in statuses.items()]

    def begin(self, name: str, tags: Mapping[str, str], began: int | None = None) -> str:
        """See `Runs`."""
        run = f"{_now():012x}{uuid.uuid4().hex[:20]}"  # ascending: SQLite appends, and need not write all over its indexes
        row = {
            **{"run_uuid": run, "name": name, "source_type": "UNKNOWN", "source_name": "", "entry_point_name": "", "user_id": "unknown"},
            **{"status": "RUNNING", "start_time": _now() if began is None else began, "source_version": "", "lifecycle_stage": "active"},
            **{"artifact_uri": f"{self.artifacts}/{run}/artifacts", "experiment_id": self.experiment},
        }
        with self._session() as database:
            database.execute(f"INSERT INTO runs ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
            self._tag(database, run, {**tags, "mlflow.runName": name})
        return run

    def log(
        self, run: str, values: Sequence[Value] = (), parameters: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        """See `Runs`."""
        with self._session() as database:
            if parameters:
                rows = [(name, value, run) for name, value in parameters.items()]
                database.executemany("INSERT OR IGNORE INTO params (key, value, run_uuid) VALUES (?, ?, ?)", rows)
            if values:
                every = [(value.name, value.value, value.time, value.step, run) for value in values]
                columns = "(key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, 0, ?)"
                database.executemany(f"INSERT OR IGNORE INTO metrics {columns}", every)
                last: dict[str, tuple[str, float, int, int, str]] = {}
                for row in every:
                    if row[0] not in last or _order(row) > _order(last[row[0]]):
                        last[row[0]] = row
                replace = "value = excluded.value, timestamp = excluded.timestamp, step = excluded.step, is_nan = 0"
                database.executemany(
                    f"INSERT INTO latest_metrics {columns} ON CONFLICT (key, run_uuid) DO UPDATE SET {replace} WHERE {_LATER}",
                    last.values(),
                )
            self._tag(database, run, tags or {})

    def _tag(self, database: sqlite3.Connection, run: str, tags: Mapping[str, str]) -> None:
        rows = [(name, value, run) for name, value in tags.items()]
        database.executemany("INSERT OR REPLACE INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", rows)

    def end(self, run: str, status: str, ended: int | None = None) -> None:
        """See `Runs`."""
        with self._session() as database:
            when = _now() if ended is None else ended
            database.execute("UPDATE runs SET status = ?, end_time = ? WHERE run_uuid = ?", (status, when, run))

    def delete(self, run: str) -> None:
        """See `Runs`."""
        with self._session() as database:
            database.execute("UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = ? WHERE run_uuid = ?", (_now(), run))

    @contextmanager
    def together(self) -> Iterator[None]:
        """One transaction."""
        with self._session():
            yield

    @contextmanager
    def _session(self) -> Iterator[sqlite3.Connection]:
        """The open transaction, or one of its own. A connection that outlived a rename would write into the file that was renamed."""
        if self._database is not None:
            yield self._database
            return
        with closing(sqlite3.connect(_address(self.path), timeout=self.patience, uri=True)) as database, database:
            database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            self._database = database
            try:
                yield database
            finally:
                self._database = None


def _address(path: Path) -> str:
    return f"file:{quote(str(path.resolve()))}?mode=rw"


def _order(row: tuple[str, float, int, int, str]) -> tuple[int, int, float]:
    """What is latest, as MLflow has it: by step, then time, then value."""
    return row[3], row[2], row[1]


def _now() -> int:
    return int(time.time() * 1000)
