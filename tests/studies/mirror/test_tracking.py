"""The MLflow mirror: complete, idempotent, and never the end of a study."""

from __future__ import annotations

import http.server
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from thin_study import Bench

from fila_lab import studies
from fila_lab.cli import main
from fila_lab.config import FilaError
from fila_lab.studies import sync
from fila_lab.studies.address import masked
from fila_lab.studies.mirror import database as mirror_database
from fila_lab.studies.mirror import tracking
from fila_lab.studies.mirror.cell import flatten
from fila_lab.studies.mirror.database import default_uri
from fila_lab.studies.sqlite import sqlite_url

mlflow = pytest.importorskip("mlflow")


def runs(uri: str) -> tuple[list, list]:
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("thin")
    found = list(client.search_runs([experiment.experiment_id]))
    return [run for run in found if run.data.tags["kind"] == "run"], [run for run in found if run.data.tags["kind"] == "cell"]


def test_the_mirror_shows_the_folder_and_adds_nothing_twice(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "addition")
    bench.run(tracking=True)
    uri = default_uri(bench.out)
    (parent,), cells = runs(uri)
    assert {run.data.tags["cell_id"] for run in cells} == bench.store.done_ids()
    assert {run.data.tags["mlflow.parentRunId"] for run in cells} == {parent.info.run_id}
    assert {name: parent.data.metrics[name] for name in ("cells", "failed")} == {"cells": 6, "failed": 2}
    for run in cells:
        result = bench.store.get(run.data.tags["cell_id"])
        assert run.info.status == ("FINISHED" if result.status == "done" else "FAILED")
        assert run.data.params["fusion.name"] == result.config["fusion"]["name"]
        assert run.data.metrics.get("exact/reading") == result.metrics.get("exact/reading")
    client = mlflow.MlflowClient(uri)
    assert [point.step for point in client.get_metric_history(cells[0].info.run_id, "curve/loss")] == [1, 2, 3]
    assert {artifact.path for artifact in client.list_artifacts(parent.info.run_id)} == {"study.yaml", "arms.csv"}
    assert sync(bench.out) == 0

    # A driver that was killed while it mirrored leaves runs open: a cell's is made anew, a command's is closed.
    client.update_run(parent.info.run_id, status="RUNNING")
    client.update_run(cells[0].info.run_id, status="RUNNING")
    assert sync(bench.out) == 1
    parents, cells = runs(uri)
    assert sorted(run.data.tags["cell_id"] for run in cells) == sorted(bench.store.done_ids())
    assert {run.info.status for run in cells} == {"FINISHED", "FAILED"}
    assert {run.info.status for run in parents} == {"FINISHED"}
    assert sync(bench.out) == 0


@pytest.mark.parametrize("where", ["http://me:hunter2@127.0.0.1:9", "sqlite:///{}/missing/mlflow.db"])
def test_a_dead_server_does_not_stop_the_study(bench: Bench, tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture) -> None:
    uri = where.format(tmp_path)
    bench.run(tracking=True, tracking_uri=uri)
    assert len(bench.store.done_ids()) == 6
    warnings = [record.getMessage() for record in caplog.records if "tracking" in record.getMessage()]
    assert len(warnings) == 1
    assert masked(uri) in warnings[0]
    assert f"fila-lab sync {bench.out}" in warnings[0]
    assert "hunter2" not in caplog.text + bench.said.getvalue()
    with pytest.raises(FilaError, match="--tracking-uri"):
        sync(bench.out, uri)
    if uri.startswith("http"):
        assert sync(bench.out) == 6


SECRET = "postgresql://me:hunter2@127.0.0.1/mlflow"


def test_what_fails_at_a_server_is_told_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "check_address", lambda _: None)
    said = r"me:\*\*\*@127\.0\.0\.1/mlflow: the mirror cannot be completed \(no way in"
    with pytest.raises(FilaError, match=said) as error, tracking.writing(tmp_path, SECRET):
        raise RuntimeError(f"no way in with {SECRET} (password hunter2)")
    assert "hunter2" not in str(error.value)


def test_sync_says_where_it_wrote_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(studies, "sync", lambda *_: 3)
    with pytest.raises(SystemExit):
        main(["sync", str(tmp_path), "--tracking-uri", SECRET])
    said = capsys.readouterr().out
    assert "3 cells added or renewed in postgresql://me:***@127.0.0.1/mlflow" in said


@pytest.fixture(scope="module")
def mirrored(made_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that has run and is mirrored; tests work on copies."""
    bench = Bench(tmp_path_factory.mktemp("mirrored"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mirror_database, "_make", lambda path: shutil.copy(made_database, path))
        bench.run(tracking=True)
    return bench.out


@pytest.fixture
def copy(mirrored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(mirrored, tmp_path / "copy"))


@pytest.mark.usefixtures("quick_database")
def test_an_outdated_child_is_replaced_whoever_ran_its_cell(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "addition")
    bench.run(shard="0/2")  # as if killed before it mirrored
    bench.run(shard="1/2", tracking=True)
    uri = default_uri(bench.out)
    parents, cells = runs(uri)
    assert {run.data.tags["cell_id"] for run in cells} == bench.store.done_ids()
    assert sum(run.data.metrics["cells"] for run in parents) == 6
    monkeypatch.delenv("FAKE_FAIL")
    bench.run(retry_failed=True, tracking=True)
    parents, cells = runs(uri)
    assert sorted(run.data.tags["cell_id"] for run in cells) == sorted(bench.store.done_ids())
    assert {run.info.status for run in cells} == {"FINISHED"}
    assert sum(run.data.metrics["cells"] for run in parents) == 6
    assert {run.data.metrics["failed"] for run in parents} == {0}
    assert {run.info.status for run in parents} == {"FINISHED"}


def test_two_folders_of_the_same_cells_share_a_server_in_peace(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Bench(tmp_path / "other")
    other.run()
    uri = f"sqlite:///{copy / 'mlflow.db'}"
    sync(other.out, uri)
    assert sync(copy, uri) + sync(other.out, uri) == 0
    _, cells = runs(uri)
    assert sorted(run.data.tags["cell_id"] for run in cells) == sorted(other.store.done_ids())


def test_a_moved_folder_keeps_its_artifacts_with_it(mirrored: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sorted((copy / "cells").iterdir())[0]
    text = (first / "result.json").read_text(encoding="utf-8")
    (first / "result.json").write_text(text.replace("0.1", "0.2"), encoding="utf-8")
    before = {path: path.stat().st_mtime_ns for path in mirrored.rglob("*")}
    assert sync(copy) == 1
    assert {path: path.stat().st_mtime_ns for path in mirrored.rglob("*")} == before, "the former place is left alone"
    _, cells = runs(default_uri(copy))
    for run in cells:
        assert Path(unquote(urlsplit(run.info.artifact_uri).path)).is_relative_to(copy.resolve() / "mlartifacts")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path: Path) -> None:
    path.write_bytes(b"no database " * 1000)


def half_migrated(path: Path) -> None:
    """As a kill between two migrations of the first use leaves it."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        database.execute("DROP TABLE trace_info")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:65536] = os.urandom(65536 - 8192)
    path.write_bytes(content)


SLOW = pytest.mark.slow


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [half, half_migrated, *(pytest.param(harm, marks=SLOW) for harm in (garbage, flipped, empty))])
def test_a_default_database_that_cannot_be_opened_is_set_aside(copy: Path, harm: object, caplog: pytest.LogCaptureFixture) -> None:
    database = copy / "mlflow.db"
    harm(database)  # type: ignore[operator]
    damaged = database.read_bytes()
    assert sync(copy) == 6
    assert "set aside as mlflow.unreadable-1.db" in caplog.text
    if harm is not half_migrated:  # MLflow had a try at that one
        assert (copy / "mlflow.unreadable-1.db").read_bytes() == damaged
    assert len(runs(default_uri(copy))[1]) == 6
    assert sync(copy) == 0
    assert not list(copy.glob(".mlflow*"))


@SLOW
def test_a_database_moved_away_is_made_anew_as_often_as_it_is_asked_for(copy: Path) -> None:
    """In one process, as in a notebook: MLflow keeps what it knows of an address."""
    for number in range(3):
        (copy / "mlflow.db").rename(copy / f"kept-{number}.db")
        assert sync(copy) == 6
        assert len(runs(default_uri(copy))[1]) == 6
        assert sync(copy) == 0
    assert not list(copy.glob(".mlflow*"))


@pytest.mark.parametrize("harm", [half, garbage, flipped])
def test_a_database_of_the_users_is_never_touched(copy: Path, tmp_path: Path, harm: object) -> None:
    own = Path(shutil.copy(copy / "mlflow.db", tmp_path / "own.db"))
    harm(own)  # type: ignore[operator]
    damaged = own.read_bytes()
    with pytest.raises(FilaError, match=r"--tracking-uri: .*cannot be opened .*it is untouched"):
        sync(copy, f"sqlite:///{own}")
    assert own.read_bytes() == damaged
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "own.db"]


def test_a_busy_or_closed_database_is_not_set_aside(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fila_lab.studies import sqlite
    from fila_lab.studies.mirror import database as mirror_database

    for module in (mirror_database, sqlite):
        monkeypatch.setattr(module, "BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(copy / "mlflow.db")) as busy:
        busy.execute("BEGIN EXCLUSIVE")
        with pytest.raises(FilaError, match="database is locked"):
            sync(copy)
    assert not list(copy.glob("mlflow.unreadable*"))
    assert sync(copy) == 0


NAMES = ["plain", "what?", "a#b", "100%", "a%20b", "two words", "größe", "a;b&c=d", "back\\slash", "?uri=true", "a:b@c"]


@pytest.mark.parametrize("name", NAMES)
def test_the_url_of_a_database_leads_to_it(tmp_path: Path, name: str) -> None:
    import sqlalchemy

    (tmp_path / name).mkdir()
    engine = sqlalchemy.create_engine(sqlite_url(tmp_path / name / "x.db"), poolclass=sqlalchemy.pool.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE found (x)")
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*")] == [Path(name), Path(name) / "x.db"]


@pytest.mark.parametrize("name", [NAMES[1], *(pytest.param(name, marks=SLOW) for name in NAMES[2:])])
def test_databases_lie_in_the_folder_whatever_it_is_called(mirrored: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(mirrored, tmp_path / name / "out"))
    first = sorted((folder / "cells").iterdir())[0]
    (first / "result.json").write_text((first / "result.json").read_text(encoding="utf-8").replace("0.1", "0.2"), encoding="utf-8")
    for table in folder.rglob("arms.csv"):
        table.unlink()
    before = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    assert sync(folder) == 1
    new = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} - before
    assert new
    assert all(path.is_relative_to(Path(name) / "out" / "mlartifacts") for path in new), new


@pytest.mark.parametrize("name", ["what?", pytest.param("a#b%20", marks=SLOW)])
def test_a_whole_run_stays_in_a_folder_of_any_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    bench.out = tmp_path / name
    monkeypatch.chdir(tmp_path)
    bench.run(budget="full", tracking=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "thin.yaml"])
    assert (bench.out / "mlflow.db").is_file()
    assert (bench.out / "tuning" / "optuna.db").is_file()
    assert {path.name for path in (bench.out / "tuning").iterdir()} == {"cells.jsonl", "optuna.db", "trials.csv", "winners.yaml"}


@pytest.fixture
def no_mlflow() -> Iterator[str]:
    """A web server that is no MLflow."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("htp://127.0.0.1:5000", "did you mean 'http'"),
        ("127.0.0.1:5000", "write http://127.0.0.1:5000"),
        ("localhost:5000", "write http://localhost:5000"),
        ("http://127.0.0.1:9", "does not answer"),
        ("http://127.0.0.1:99999999", "is no URI"),
        ("http://", "names no host"),
        ("http://[::1", "is no URI"),
        ("http://no.such.host.invalid:5000", "does not answer"),
        (f"http://{'x' * 300}:5000", "does not answer"),
        ("", "unknown scheme"),
        ("gopher://x", "unknown scheme"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///{}/missing/own.db", "cannot be written"),
        ("sqlite:///{}", "is a folder"),
        ("postgresql://nobody@127.0.0.1:9/x", "does not answer"),
        ("mysql+nodriver:///x", "cannot be completed"),
        ("file:///dev/null/x", "cannot be completed"),
        ("{server}", "cannot be completed"),
    ],
)
def test_a_uri_that_cannot_work_is_one_message(copy: Path, tmp_path: Path, no_mlflow: str, uri: str, says: str) -> None:
    with pytest.raises(FilaError, match=says) as refused:
        sync(copy, uri.format(tmp_path, server=no_mlflow))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 900


def test_a_full_disk_is_one_message_and_leaves_nothing_behind(
    mirrored: Path, disk: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    place = disk("300k")
    copy = Path(shutil.copytree(mirrored, place / "copy", ignore=shutil.ignore_patterns("mlflow.*", "mlartifacts")))
    with pytest.raises(FilaError, match=r"mlflow\.db: the mirror cannot be completed \(No space left on device\)") as refused:
        sync(copy)
    assert "\n" not in str(refused.value)
    assert not list(copy.glob("*mlflow*db*"))
    subprocess.run(["mount", "-o", "remount,size=20m", str(place)], check=True)
    assert sync(copy) == 6
    assert "set aside" not in caplog.text


def test_a_deleted_experiment_is_named_with_its_restoration(copy: Path) -> None:
    client = mlflow.MlflowClient(default_uri(copy))
    client.delete_experiment(client.get_experiment_by_name("thin").experiment_id)
    with pytest.raises(FilaError, match=r"'thin' was deleted at .*mlflow experiments restore --experiment-id \d"):
        sync(copy)


def test_a_folder_in_the_databases_place_is_one_message_and_stays(copy: Path) -> None:
    (copy / "mlflow.db").unlink()
    (copy / "mlflow.db").mkdir()
    (copy / "mlflow.db" / "mine").touch()
    with pytest.raises(FilaError, match=r"the mirror cannot be completed|cannot be used now") as refused:
        sync(copy)
    assert "\n" not in str(refused.value)
    assert list(copy.rglob("mine"))


def test_sync_wants_a_study(tmp_path: Path) -> None:
    with pytest.raises(FilaError, match=r"holds no plan\.json"):
        sync(tmp_path)


def test_parameters_are_flat_and_short() -> None:
    assert dict(flatten({"a": {"b": 1, "c": [1, 2]}, "d": {}, "e": "x" * 6000})) == {
        "a.b": "1",
        "a.c": "[1, 2]",
        "d": "{}",
        "e": "x" * 5000,
    }
