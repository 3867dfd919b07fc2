"""A cell that a search stops ends at that very step, whatever interrupts it, and is what an undisturbed cell was up to there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from test_resume import cut_off
from tiny_run import tiny

from fila_lab.config import RunConfig
from fila_lab.studies.result import CellResult
from fila_lab.training import run_cell
from fila_lab.training.checkpoints import FOLDER

CONFIG: dict[str, Any] = {
    "fusion__name": "addition",
    "train__steps": 7,
    "train__validate_every": 2,
    "train__log_every": 3,
    "data__val_items": 10,
}


@dataclass
class StopAt:
    """Stops at a step, and remembers what it was asked."""

    step: int
    asked: list[tuple[int, float]] = field(default_factory=list)

    def __call__(self, step: int, value: float) -> bool:
        self.asked.append((step, value))
        return step >= self.step


def run(config: RunConfig, workdir: Path, cache_dir: Path, **options: Any) -> dict[str, Any]:
    return run_cell(config, workdir=workdir, cache_dir=cache_dir, test=False, **options).result


def told(result: dict[str, Any]) -> dict[str, Any]:
    """All but times."""
    return {name: value for name, value in result.items() if name != "timing"}


@pytest.fixture(scope="module")
def whole(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tiny(**CONFIG), tmp_path_factory.mktemp("whole"), cache_dir)


@pytest.fixture(scope="module")
def stopped(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tiny(**CONFIG), tmp_path_factory.mktemp("stopped"), cache_dir, stop=StopAt(4))


def test_a_stopped_cell_is_the_beginning_of_a_whole_one(whole: dict[str, Any], stopped: dict[str, Any]) -> None:
    assert stopped["status"] == "pruned"
    assert stopped["curve"] == [point for point in whole["curve"] if point["step"] <= 4]
    assert stopped["pruned"] == {"step": 4, "value": stopped["curve"][-1]["validation"]}
    assert not any(stopped[name] for name in ("metrics", "validation", "benchmarks", "answers", "failure"))
    assert "pruned" not in whole
    assert CellResult.model_validate({**stopped, "id": "a"}).dump() == {**stopped, "id": "a"}


@pytest.mark.slow
def test_a_rule_that_never_stops_changes_nothing_and_is_asked_after_every_validation(
    whole: dict[str, Any], cache_dir: Path, tmp_path: Path
) -> None:
    never = StopAt(100)
    assert told(run(tiny(**CONFIG), tmp_path, cache_dir, stop=never)) == told(whole)
    assert never.asked == [(point["step"], point["validation"]) for point in whole["curve"] if point["validation"] is not None]


@pytest.mark.slow
def test_no_step_is_trained_beyond_the_stop(cache_dir: Path, tmp_path: Path) -> None:
    """The weights that a checkpoint keeps are those of the step, bit for bit."""
    config, kept = tiny(**CONFIG, runtime__checkpoint_minutes=1e-9), {}
    for name, step, stop in (("stopped", 4, StopAt(4)), ("cut", 4, None)):
        if stop is None:
            cut_off(config, tmp_path / name, cache_dir, "on_validation_end", step)
        else:
            run(config, tmp_path / name, cache_dir, stop=stop)
        kept[name] = torch.load(tmp_path / name / FOLDER / "last.ckpt", weights_only=True)
    assert kept["stopped"]["global_step"] == kept["cut"]["global_step"] == 4
    assert all(torch.equal(value, kept["cut"]["state_dict"][name]) for name, value in kept["stopped"]["state_dict"].items())


HOOKS = [("on_train_batch_end", 3), ("on_train_batch_end", 4), ("on_validation_end", 4), ("on_train_end", 4)]


@pytest.mark.slow
@pytest.mark.parametrize(("hook", "step"), HOOKS)
def test_a_stopped_cell_that_was_killed_ends_as_if_it_had_not_been(
    hook: str, step: int, cache_dir: Path, tmp_path: Path, stopped: dict[str, Any]
) -> None:
    """Before the stop, at it, and after it but before there was a result."""
    cut_off(tiny(**CONFIG), tmp_path, cache_dir, hook, step, test=False, stop=StopAt(4))
    again = StopAt(4)
    assert told(run(tiny(**CONFIG), tmp_path, cache_dir, stop=again)) == told(stopped)
    assert [step for step, _ in again.asked] == [2, 4]


@pytest.mark.slow
@pytest.mark.parametrize(("hook", "step"), [("on_train_batch_end", 6), ("on_train_end", 7)])
def test_a_checkpoint_beyond_the_stop_makes_no_difference(
    hook: str, step: int, cache_dir: Path, tmp_path: Path, stopped: dict[str, Any]
) -> None:
    """Left by a search that had another rule."""
    cut_off(tiny(**CONFIG), tmp_path, cache_dir, hook, step)
    assert told(run(tiny(**CONFIG), tmp_path, cache_dir, stop=StopAt(4))) == told(stopped)


@pytest.mark.slow
def test_every_rank_stops_at_the_same_step(cache_dir: Path, tmp_path: Path) -> None:
    result = run(tiny(**CONFIG, runtime__devices=2), tmp_path, cache_dir, stop=StopAt(4))
    assert result["status"] == "pruned"
    assert [point["step"] for point in result["curve"]] == [2, 3, 4]
