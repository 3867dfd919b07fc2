"""Fixtures around the thin study."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from thin_study import Bench

from fila_lab.studies import mirror_database, runner


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
