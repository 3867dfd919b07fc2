"""Runs written as rows are what MLflow's client reads of runs that it has written itself."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fila_lab.studies.mirror import tables as mirror_tables
from fila_lab.studies.mirror.runs import ClientRuns, Runs, Value
from fila_lab.studies.mirror.tables import TableRuns, fits
from fila_lab.studies.sqlite import sqlite_url

mlflow = pytest.importorskip("mlflow")


@pytest.fixture(scope="module")
def both(made_database: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Runs]]:
    """A client, and both ways of writing to its database."""
    path = Path(shutil.copy(made_database, tmp_path_factory.mktemp("tables")))
    client = mlflow.MlflowClient(sqlite_url(path))
    experiment = client.create_experiment("study", artifact_location=(path.parent / "files").as_uri())
    assert fits(path), "MLflow's tables are others now: look at mirror.tables.COLUMNS and what is written"
    return client, [ClientRuns(client, experiment), TableRuns(path, experiment, (path.parent / "files").as_uri(), 5.0)]


def history(client: Any, run: str, name: str) -> list[tuple[float, int, int]]:
    return sorted((point.value, point.timestamp, point.step) for point in client.get_metric_history(run, name))


def all_of(client: Any, run_id: str) -> dict[str, Any]:
    run = client.get_run(run_id)
    info = {name: value for name, value in dict(run.info).items() if name not in ("run_id", "run_uuid", "artifact_uri")}
    metrics = {name: history(client, run_id, name) for name in run.data.metrics}
    place = run.info.artifact_uri.replace(run_id, "RUN")
    return {"info": info, "tags": run.data.tags, "params": run.data.params, "last": run.data.metrics, "metrics": metrics, "place": place}


def test_both_ways_are_read_alike(both: tuple[Any, list[Runs]]) -> None:
    client, ways = both
    made = []
    for runs in ways:
        run = runs.begin("arm seed 0", {"kind": "cell", "cell_id": "a", "mlflow.parentRunId": "x"}, 1_000)
        runs.log(run, parameters={f"p{number}": str(number) for number in range(230)})
        with runs.together():
            points = [Value("curve/loss", 1 / step, 1_000 + step, step) for step in range(1, 1200)]
            runs.log(run, points, tags={"result": "abc", "kind": "cell"})
            runs.log(run, points[-3:])  # again: nothing is doubled
            runs.log(run, [Value("curve/loss", 7.0, 5_000, 3), Value("exact", 0.5, 9_000), Value("exact", 0.25, 8_000)])
        runs.end(run, "FINISHED", 9_000)
        made.append(all_of(client, run))
    assert made[0] == made[1]
    assert made[0]["last"]["curve/loss"] == 1 / 1199, "the last step counts, whenever it came"


def test_both_find_what_is_there_and_not_what_is_deleted(both: tuple[Any, list[Runs]]) -> None:
    client, ways = both
    for runs in ways:
        kept, gone = (runs.begin(name, {"kind": "other", "cell_id": name}) for name in ("kept", "gone"))
        runs.delete(gone)
        assert client.get_run(gone).info.lifecycle_stage == "deleted"
        assert client.get_run(kept).info.status == "RUNNING"
    first, second = (sorted(runs.find("other"), key=lambda run: run.id) for runs in ways)
    assert [(run.id, run.status) for run in first] == [(run.id, run.status) for run in second]
    assert [run.tags for run in first] == [run.tags for run in second]
    assert {run.tags["cell_id"] for run in first} == {"kept"}


def test_tables_of_another_form_are_left_to_the_client(both: tuple[Any, list[Runs]], tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as database, database:
        for table, columns in mirror_tables.COLUMNS.items():
            database.execute(f"CREATE TABLE {table} ({', '.join(columns.split())})")
    assert fits(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("ALTER TABLE metrics ADD COLUMN unit")
    assert not fits(path)
