"""The recipes of public models: each resolves, has the figures that its source gives, and is planned as far as that goes here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fila_lab.config import ConfigError, FilaError, resolve_run
from fila_lab.config.stage_runs import Stage, stages_of
from fila_lab.config.study import StudyConfig
from fila_lab.studies.plan import make_plan

RECIPES = Path(__file__).parents[2] / "experiments" / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
SMALL: dict[str, Any] = {
    **{f"{tower}.weights": "random" for tower in ("vit", "convnext", "language")},
    "language.tokenizer": "characters",
    "language.template": "bare",
    "language.max_tokens": None,
    "data.train": {"suite": "seam"},
}


def rows(stage: Stage) -> int:
    return stage.run.train.batch_size * stage.run.train.accumulate


def test_there_is_a_recipe_for_each_of_these_models() -> None:
    assert NAMES == ["llava15", "llava_hr", "llava_next", "mini_gemini"]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_two_epochs_over_two_mixes(name: str) -> None:
    run = resolve_run(str(RECIPES / f"{name}.yaml"))
    align, instruct = stages_of(run)
    assert (align.name, instruct.name, align.epochs, instruct.epochs) == ("align", "instruct", 1.0, 1.0)
    assert align.run.data.train != instruct.run.data.train == run.data.train
    for stage in (align, instruct):
        train = stage.run.train
        assert (train.weight_decay, train.warmup, train.schedule) == (0.0, 0.03, "cosine")
    assert (align.run.language.template, set(align.trains.values())) == ("plain", {1e-3})
    assert (align.run.language.trainable, instruct.run.language.trainable) == (False, True)
    if name != "llava_next":  # whose scripts leave the number of devices open
        assert (rows(align), rows(instruct), instruct.trains["language"]) == (256, 128, 2e-5)


def test_what_each_model_does_otherwise() -> None:
    runs = {name: resolve_run(str(RECIPES / f"{name}.yaml")) for name in NAMES}
    stages = {name: stages_of(run) for name, run in runs.items()}
    assert stages["llava_next"][1].trains["vit"] == 2e-6
    assert {name: (run.vit.trainable, run.convnext.trainable) for name, run in runs.items()} == {
        "llava15": (False, False),
        "llava_hr": (True, True),
        "llava_next": (True, False),
        "mini_gemini": (False, False),
    }
    assert "fusion" in stages["mini_gemini"][0].trains
    assert "fusion" not in stages["llava_hr"][0].trains
    assert (stages["llava_hr"][0].run.language.max_tokens, stages["llava_hr"][1].run.language.max_tokens) == (2048, 2496)
    assert stages["llava_hr"][1].run.train.accumulate == 2
    assert (runs["llava_hr"].geometry.whole_image, runs["mini_gemini"].geometry.detail_cells) == (1024, 24)


def study(name: str, overrides: dict[str, Any]) -> StudyConfig:
    arms = {"own": {"role": "baseline"}, "concat": {"set": {"fusion.name": "concat", "fusion.depth": "multi"}}}
    content: dict[str, Any] = {"name": name, "question": "does it plan?", "preset": str(RECIPES / f"{name}.yaml"), "set": overrides}
    budgets = {"small": {"seeds": [0, 1]}}
    family = {"fusion": {"contrasts": [["concat", "own"]]}}
    return StudyConfig.model_validate(content | {"arms": arms, "families": family, "budgets": budgets, "margin": 0.03})


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_planned_as_far_as_it_goes_here(name: str) -> None:
    """As it is it lacks weights or files, by name; with random towers on generated items it has its cells."""
    with pytest.raises((ConfigError, FilaError), match=r"weights|path|tokenizer"):
        make_plan(study(name, {}))
    stages = [stage.model_dump(mode="json") for stage in resolve_run(str(RECIPES / f"{name}.yaml")).train.stages or ()]
    seam = [{key: value for key, value in stage.items() if key not in ("data", "template", "max_tokens")} for stage in stages]
    plan = make_plan(study(name, SMALL | {"train.stages": seam}))
    assert len(plan.cells) == 4
    assert len({cell.id for cell in plan.cells}) == 4
