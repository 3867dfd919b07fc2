"""A thin study of three arms on the fake cell, and a way to run it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import fake_cell
import pytest
from rich.console import Console

from fila_lab.studies import ResultStore, run_study

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
ENGINES = pytest.mark.parametrize("engine", ["inline", "process", pytest.param("ray", marks=pytest.mark.slow)])
"""What every engine must do; `ray` on a Ray of the test session's own."""


class Bench:
    """A study file and its output folder."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "thin.yaml"
        self.file.write_text(STUDY, encoding="utf-8")
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


def quality(store: ResultStore) -> dict[str, Any]:
    """All that a cell's result says, times apart."""
    return {cell_id: (result.metrics, result.validation, result.curve, result.status) for cell_id, result in store.results().items()}
