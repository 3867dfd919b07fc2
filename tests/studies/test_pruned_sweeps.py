"""A pruned sweep is a function of its study file: whatever is killed, and whoever else asked for the same cells."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from sweep_study import found, write
from thin_study import Bench

PRUNERS: list[Any] = [
    {"name": "median", "n_startup_trials": 2},
    {"name": "successive_halving", "reduction_factor": 2},
    {"name": "hyperband", "reduction_factor": 2},
]
SHORT = {"train.steps": 8, "train.validate_every": 1}


def swept(bench: Bench, pruner: Any, **sweep: Any) -> Bench:
    plain = {"objectives": ["exact/reading"], "sampler": "random", "trials": 16, "batch": 4, "set": SHORT, "confirm": None}
    return write(bench, pruner=pruner, **{**plain, **sweep})


def outcome(bench: Bench) -> tuple[Any, Any]:
    """The trials, and what every cell that a trial has says of itself."""
    content = found(bench.out)
    cells = {cell for trial in content["trials"] for cell in trial["cells"]}
    said = {}
    for cell_id, result in bench.store.results(cells).items():
        said[cell_id] = (result.status, result.validation, result.curve, result.pruned)
    return content, said


def begun(folder: Path) -> int:
    path = folder / "log"
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


@pytest.mark.parametrize("pruner", PRUNERS, ids=lambda pruner: str(pruner["name"]))
def test_equal_trials_are_told_alike_at_every_start(pruner: Any, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that ask for one cell may have rules that stop it at different steps, or not at all."""
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    space = {"fusion.name": ["none", "concat"], "train.learning_rate": [1e-3, 2e-3]}
    swept(bench, pruner, space=space, trials=24).run(budget="swept")
    first, ran = outcome(bench), begun(tmp_path)
    bench.run(budget="swept")
    assert begun(tmp_path) == ran
    assert outcome(bench) == first
    chance = random.Random(0)
    for cell in sorted(first[1]):
        if chance.random() < 0.5:
            shutil.rmtree(bench.store.folder(cell))
    bench.run(budget="swept")
    assert outcome(bench)[0] == first[0]
