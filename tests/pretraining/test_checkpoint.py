"""A pretraining that was stopped goes on with the same call, and ends in the bits of one that was not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fila_lab.pretraining import checkpoint, look_up, towers
from fila_lab.pretraining.answers import pretrain_answers
from fila_lab.pretraining.checkpoint import Checkpoint
from fila_lab.pretraining.look_up import AnswerRecipe
from fila_lab.pretraining.towers import pretrain

STEPS = 5


class Stopped(Exception):
    """Instead of a kill."""


def stopping(at: int) -> Callable[[str, int, int], None]:
    """A progress that stops the pretraining after step `at`."""

    def progress(what: str, step: int, of: int) -> None:
        if what in ("pretrain vit", "pretrain convnext", "pretrain answers") and step == at:
            raise Stopped

    return progress


def counting(steps: list[int]) -> Callable[[str, int, int], None]:
    def progress(what: str, step: int, of: int) -> None:
        if what in ("pretrain vit", "pretrain convnext", "pretrain answers"):
            steps.append(step)

    return progress


def same_tensors(one: Path, other: Path) -> bool:
    """To the bit; the header's order is nobody's."""
    first, second = load_file(one), load_file(other)
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 2)
    recipes = {name: replace(recipe, batch_size=8, pages=6, validation_pages=5) for name, recipe in towers.RECIPES.items()}
    monkeypatch.setattr(towers, "RECIPES", recipes)
    monkeypatch.setattr(towers, "VALIDATION_BATCHES", 1)


@pytest.mark.parametrize("part", ["vit", "convnext"])
def test_a_tower_goes_on_where_it_stood(part: str, tmp_path: Path) -> None:
    pretrain(part, tmp_path / "whole", steps=STEPS)
    with pytest.raises(Stopped):
        pretrain(part, tmp_path / "stopped", steps=STEPS, progress=stopping(3))
    left: list[int] = []
    pretrain(part, tmp_path / "stopped", steps=STEPS, progress=counting(left))
    assert left == [3, 4, 5]
    names = [f"mini_{part}.json", f"mini_{part}.safetensors"]
    assert sorted(path.name for path in (tmp_path / "stopped").iterdir()) == names, "the checkpoint goes when the part has ended"
    assert same_tensors(tmp_path / "whole" / names[1], tmp_path / "stopped" / names[1])


@pytest.mark.slow
def test_an_answer_model_goes_on_where_it_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_up, "REPORT", 1)  # shares of tasks are set anew while it learns
    recipe = AnswerRecipe(
        steps=STEPS, batch_size=4, pages=60, unseen=20, projector_steps=2, dense_pages=5, held_out_pages=5, easy_share=0.2
    )
    pretrain_answers(tmp_path / "whole", recipe=recipe)
    with pytest.raises(Stopped):
        pretrain_answers(tmp_path / "stopped", recipe=recipe, progress=stopping(3))
    left: list[int] = []
    pretrain_answers(tmp_path / "stopped", recipe=recipe, progress=counting(left))
    assert left == [3, 4, 5]
    assert same_tensors(tmp_path / "whole" / "mini_answers.safetensors", tmp_path / "stopped" / "mini_answers.safetensors")


@pytest.mark.parametrize("damage", ["another command", "cut", "empty", "no checkpoint"])
def test_what_cannot_be_gone_on_with_is_said_and_starts_anew(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = Checkpoint(tmp_path / "mini_vit.safetensors", {"steps": 5})
    own.write(step=2, running=0.5)
    assert own.read() == {"step": 2, "running": 0.5}
    held = own.path.read_bytes()
    if damage == "another command":
        own = Checkpoint(own.weights, {"steps": 6})
    else:
        own.path.write_bytes({"cut": held[: len(held) // 2], "empty": b"", "no checkpoint": b"not one"}[damage])
    assert own.read() is None
    assert "starts anew" in caplog.text
    kept = {"another command": held, "cut": held[: len(held) // 2], "empty": b"", "no checkpoint": b"not one"}[damage]
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [kept], "hours of work, or somebody's file, are set aside"
