"""Fixtures around the thin study."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import postgres
import pytest
from thin_study import Bench

from fila_lab.studies import runner
from fila_lab.studies.engines import cluster
from fila_lab.studies.mirror import database as mirror_database


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def settled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """One code hash for all runs of a test, even while somebody edits the package."""
    monkeypatch.setattr(runner, "code_hash", lambda *_: "code")


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The lines that cells left when they started."""
    path = tmp_path / "cells.log"
    monkeypatch.setenv("FAKE_LOG", str(path))
    return lambda: path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.fixture
def quick_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder where syncing costs nothing, if the system has one: databases sync after every statement."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def ray_here() -> Iterator[str]:
    """A small Ray of the session's own, which this process has joined; its address, for drivers in other processes."""
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'fila_lab[ray]'")
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=80 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="warning",
    )
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture(autouse=True)
def engine_is_there(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray for the tests that ask for the engine `ray`; what steers fake cells goes to its nodes."""
    monkeypatch.setattr(cluster, "PASSED_ON", (*cluster.PASSED_ON, "FAKE_"))
    if getattr(request.node, "callspec", None) is not None and request.node.callspec.params.get("engine") == "ray":
        request.getfixturevalue("ray_here")


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL server; skips where none is installed."""
    pytest.importorskip("psycopg", reason="the driver is not installed; the extra `postgres` brings it")
    binaries = postgres.binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed here; e.g. `apt-get install postgresql`")
    with postgres.running(binaries) as found:
        yield found


@pytest.fixture(scope="session")
def made_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database as MLflow makes it, which takes seconds."""
    path = tmp_path_factory.mktemp("made") / "mlflow.db"
    mirror_database._make(path)
    return path


@pytest.fixture
def quick_database(made_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New databases are copies of that one."""
    monkeypatch.setattr(mirror_database, "_make", lambda path: shutil.copy(made_database, path))
