"""Fixtures around the thin study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from thin_study import Bench

from fila_lab.studies import runner


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
