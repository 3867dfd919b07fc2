"""Storages of sweeps that cannot work are one message, with field, value and remedy, before anything runs."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from postgres import Server

from fila_lab.config import FilaError
from fila_lab.studies.address import Address, masked
from fila_lab.studies.searches import trial_storage
from fila_lab.studies.searches.trial_database import check_key
from fila_lab.studies.searches.trial_storage import check_storage
from fila_lab.studies.sqlite import sqlite_url


def refused(url: str) -> str:
    with pytest.raises(FilaError) as found:
        check_storage(url)
    said = str(found.value)
    assert said.startswith("--sweep-storage: ")
    assert ";" in said, "it has a remedy"
    assert "\n" not in said
    assert len(said) < 700
    assert "'ses" not in said
    assert "sesame" not in said
    return said


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "unknown scheme"),
        ("sweeps", "has no scheme; write e.g. postgresql://"),
        ("127.0.0.1:5432/sweeps", "has no scheme; write postgresql://127.0.0.1:5432/sweeps"),
        ("postgres://fila:sesame@127.0.0.1/sweeps", "did you mean 'postgresql'"),
        ("redis://127.0.0.1", "unknown scheme"),
        ("mysql://fila:sesame@127.0.0.1/sweeps", "unknown scheme"),
        ("postgresql://[::1", "is no URI"),
        ("postgresql://127.0.0.1:99999999/x", "is no URI"),
        ("postgresql+nodriver:///x", "names a driver that SQLAlchemy does not know"),
        ("postgresql://fila:sesame@127.0.0.1:9/sweeps", r"postgresql://fila:\*\*\*@127.0.0.1:9/sweeps does not answer .*start the server"),
        ("postgresql://fila:ses/ame@127.0.0.1:9/sweeps", r"fila:\*\*\*@127.0.0.1:9/sweeps is no URI; write a password's own / @ and : as"),
        ("postgresql://no.such.host.invalid/sweeps?password=sesame", r"password=\*\*\* does not answer"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///{}/missing/own.db", "cannot be written; create .*/missing"),
        ("sqlite:///{}", "is a folder"),
        ("sqlite:///" + "a" * 300, "cannot be a file .*name too long"),
        ("sqlite:///a\0b", "embedded null byte"),
    ],
)
def test_a_storage_that_cannot_work_is_one_message(tmp_path: Path, url: str, says: str) -> None:
    assert re.search(says, refused(url.format(tmp_path)))
    assert not list(tmp_path.iterdir())


def test_a_driver_that_is_not_installed_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

    def absent() -> None:
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")

    monkeypatch.setattr(PGDialect_psycopg, "import_dbapi", absent)
    assert "needs the module psycopg, which is not installed; install it with `pip install 'fila-lab[postgres]'`" in refused(
        "postgresql:///x"
    )


def test_a_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    assert "cannot be used" in refused(f"postgresql:///sweeps?host={tmp_path}")


@pytest.mark.slow
def test_a_server_that_answers_nothing_is_given_up_soon() -> None:
    """It takes the connection and is silent, as a firewall or another service may."""
    pytest.importorskip("psycopg")
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        assert "cannot be used" in refused(f"postgresql://fila:sesame@127.0.0.1:{silent.getsockname()[1]}/x")
        assert time.monotonic() - began < 12


def made(path: Path) -> str:
    """The URL of a database of Optuna's."""
    url = sqlite_url(path)
    check_storage(url)
    return url


def change(path: Path, *statements: str) -> bytes:
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)
    return path.read_bytes()


NEWER = ["UPDATE alembic_version SET version_num = 'v9.0.0.a'", "UPDATE version_info SET library_version = '9.1.0'"]
OLDER = ["UPDATE alembic_version SET version_num = 'v2.6.0.a'", "UPDATE version_info SET library_version = '2.7.0'"]
MLFLOWS = [f"CREATE TABLE {name} (x)" for name in ("experiments", "runs", "metrics")]


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (NEWER, "of a newer Optuna .*schema v9.0.0.a of Optuna 9.1.0; Optuna .*pip install --upgrade optuna"),
        (OLDER, "of an older Optuna .*schema v2.6.0.a of Optuna 2.7.0; .*`optuna storage upgrade --storage sqlite"),
        (MLFLOWS, "is MLflow's own database; create a database of its own"),
    ],
)
def test_a_database_of_another_schema_is_named_and_untouched(tmp_path: Path, harm: list[str], says: str) -> None:
    url = made(tmp_path / "x.db")
    before = change(tmp_path / "x.db", *harm)
    assert re.search(says, refused(url))
    assert (tmp_path / "x.db").read_bytes() == before


def test_a_database_of_something_else_is_untouched(tmp_path: Path) -> None:
    before = change(tmp_path / "x.db", "CREATE TABLE songs (x)", "CREATE TABLE alembic_version (version_num)")
    assert "is not Optuna's database (it has the tables songs)" in refused(sqlite_url(tmp_path / "x.db"))
    assert (tmp_path / "x.db").read_bytes() == before
    (tmp_path / "y.db").write_bytes(b"no database " * 100)
    assert "it is untouched" in refused(sqlite_url(tmp_path / "y.db"))


@pytest.mark.slow
def test_mlflows_own_database_is_told_by_what_it_is(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    mlflow.MlflowClient(sqlite_url(tmp_path / "mlflow.db")).search_experiments()
    before = (tmp_path / "mlflow.db").read_bytes()
    assert "is MLflow's own database" in refused(sqlite_url(tmp_path / "mlflow.db"))
    assert (tmp_path / "mlflow.db").read_bytes() == before


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = made(tmp_path / "x.db")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write whatever its mode
    assert "cannot be written" in refused(url)


@pytest.mark.slow
def test_what_postgresql_refuses_is_told_with_its_remedy(server: Server) -> None:
    url = server.database()
    database = url.rpartition("/")[2]
    assert "***" in refused(server.url(database, password="sesame"))
    assert "password" in refused(server.url(database, password="sesame"))
    assert "createdb" in refused(server.url("nowhere"))
    server.execute("CREATE ROLE guest LOGIN PASSWORD 'sesame'")
    assert "GRANT" in refused(server.url(database, "guest", "sesame"))
    server.execute("CREATE TABLE songs (x int)", database)
    assert "it has the tables songs" in refused(url)
    fresh = server.database()
    check_storage(fresh)
    check_storage(fresh)
    server.execute("UPDATE alembic_version SET version_num = 'v9.0.0.a'", fresh.rpartition("/")[2])
    assert "of a newer Optuna" in refused(fresh)


@pytest.mark.slow
def test_a_statement_that_waits_for_ever_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that waits for a lock of a machine that has lost its network."""
    url = server.database()
    check_storage(url)
    monkeypatch.setattr(trial_storage, "TIMEOUT_SECONDS", 1)
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as other:
        other.exec_driver_sql("LOCK TABLE studies")
        with pytest.raises(optuna.exceptions.StorageInternalError):
            optuna.create_study(study_name="x", storage=trial_storage.open_storage(url))
    engine.dispose()


@pytest.mark.slow
def test_a_pooler_that_takes_no_startup_parameters_is_served_without(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    look, asked = trial_storage.content_of, []

    def refusing(url: str, arguments: dict[str, Any]) -> Any:
        asked.append("options" in arguments["connect_args"])
        if asked[-1]:
            raise sqlalchemy.exc.OperationalError("", {}, Exception("FATAL: unsupported startup parameter: options"))
        return look(url, arguments)

    monkeypatch.setattr(trial_storage, "content_of", refusing)
    check_storage(server.database())
    assert asked == [True, False]


@pytest.mark.slow
def test_folders_that_begin_at_once_in_an_empty_database_all_get_it(server: Server, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for url in (server.database(), sqlite_url(tmp_path / "x.db")):
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(check_storage, [url] * 6))
        assert optuna.get_all_study_names(url) == []


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://fila:sesame@host/x", "postgresql://fila:***@host/x"),
        ("postgresql://fila:se@s/ame@host/x", "postgresql://fila:***@host/x"),
        ("postgresql://fila@host/x?sslpassword=sesame&a=b", "postgresql://fila@host/x?sslpassword=***&a=b"),
        ("postgresql://fila@host/x", "postgresql://fila@host/x"),
        ("http://host:5000/a", "http://host:5000/a"),
        ("sqlite:////a:b@c/x.db", "sqlite:////a:b@c/x.db"),
        ("host", "host"),
    ],
)
def test_passwords_are_hidden(uri: str, shown: str) -> None:
    assert masked(uri) == shown
    assert Address("--x", uri, "").hide(f"could not parse {uri}") == f"could not parse {shown}"


def test_a_password_is_hidden_in_what_a_driver_says() -> None:
    said = Address("--x", "postgresql://fila:s%40same@host/x", "").hide("no user with s@same, s%40same; same")
    assert said == "no user with ***, ***; same"


@pytest.mark.parametrize("key", ["", " ", " x", "x\n", "a\x00b", "x" * 201])
def test_a_key_that_is_no_name_is_refused(key: str) -> None:
    with pytest.raises(FilaError, match="--sweep-key = "):
        check_key(key)
