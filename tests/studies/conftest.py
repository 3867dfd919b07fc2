"""A thin study of three arms on the fake cell, and a way to run it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_cell
import pytest
from rich.console import Console

from fila_lab.studies import ResultStore, run_study, runner

STUDY = """
name: thin
question: does it run?
set: {vit.weights: random, convnext.weights: random, language.weights: random}
arms:
  none: {role: baseline, set: {fusion.name: none}}
  concat: {set: {fusion.name: concat}}
  addition: {set: {fusion.name: addition}}
families: {fusion: {contrasts: [[concat, none], [addition, none]]}}
margin: 0.03
budgets:
  small: {seeds: [0, 1], set: {train.steps: 7}}
  full: {seeds: [0, 1], tune: true}
tuning: {space: {train.learning_rate: [1.0e-4, 1.0e-2]}, trials: 4}
"""

CELL = "fake_cell:run_cell"


class Bench:
    """A study file and its output folder."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "thin.yaml"
        self.file.write_text(STUDY)
        self.out = folder / "out"
        self.said = io.StringIO()

    def run(self, **options: Any) -> Path:
        """Run the study; what it says is kept in `said`."""
        settings = {"out": self.out, "engine": "inline", "tracking": False, "cell_function": CELL, "prepare_function": None}
        console = Console(file=self.said, width=200)
        return run_study(self.file, **{**settings, "measure": fake_cell.measure, "console": console, **options})

    @property
    def store(self) -> ResultStore:
        return ResultStore(self.out)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def settled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """One code hash for all runs of a test, even while somebody edits the package."""
    monkeypatch.setattr(runner, "code_hash", lambda: "code")


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The lines that cells left when they started."""
    path = tmp_path / "cells.log"
    monkeypatch.setenv("FAKE_LOG", str(path))
    return lambda: path.read_text().splitlines() if path.exists() else []


def quality(store: ResultStore) -> dict[str, Any]:
    """All that a cell's result says, times apart."""
    return {cell_id: (result.metrics, result.validation, result.curve, result.status) for cell_id, result in store.results().items()}
