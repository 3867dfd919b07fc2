"""The benchmarks of `mini` training run, on a small scale, and say for every target whether it is reached."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_run import TINY

from benchmarks import mini_no_cache, mini_training


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini_training, "POOLS", TINY)


@pytest.mark.usefixtures("small")
@pytest.mark.slow
def test_training_is_measured_against_a_bare_loop_input_against_memory_and_a_cell_by_part(cache_dir: Path) -> None:
    found = mini_training.measure(cache_dir, ("none", "concat"), steps=3, rounds=1, cell_steps=2)
    assert found["arms"]["none"]["share_of_none"]["median"] == 1
    assert all(values["step_over_bare"]["median"] > 0 for values in found["arms"].values())
    assert found["input"]["concat"]["over_ram"]["median"] > 0
    cell = found["cell"]
    work = sum(cell["timing"][part] for part in ("train_steps", "validation_steps", "evaluate_steps"))
    assert work + sum(cell["outside_seconds"].values()) == pytest.approx(cell["timing"]["total"], abs=0.01)
    text = "\n".join(mini_training.lines(found))
    assert text.count("reached") + text.count("MISSED") == 6


@pytest.mark.usefixtures("small")
def test_the_cache_is_measured_against_maps_made_in_every_step(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        mini_no_cache, "image_seconds", lambda *_: {phase: {"cache": 1.0, "no_cache": 2.0} for phase in ("train", "evaluate")}
    )
    found = mini_no_cache.measure(cache_dir)
    assert 1.9 < found["speed_up"] <= 2
    assert f"{found['speed_up']:.2f}x" in "\n".join(mini_no_cache.lines(found))
