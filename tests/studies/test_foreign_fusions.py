"""What a fusion of another package costs is unknown wherever it would be said or used, never counted as one of ours."""

from __future__ import annotations

import importlib.metadata
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from fila_lab.cli.cost import _closed_form
from fila_lab.cli.text import plan_text
from fila_lab.config import ConfigError, StudyConfig, resolve_run
from fila_lab.cost.table import closed_forms, training_forms
from fila_lab.studies.estimate import estimate
from fila_lab.studies.plan import make_plan

NAME = "bilinear_pooling"
RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that announces a fusion."""
    point = importlib.metadata.EntryPoint(NAME, "nowhere:to_be_imported", "fila_lab.fusions")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point])


def study(baseline: str = "concat", **fields: Any) -> StudyConfig:
    arms = {"own": {"role": "baseline", "set": {"fusion.name": baseline}}, "other": {"set": {"fusion.name": NAME}}}
    plain: dict[str, Any] = {"name": "foreign", "question": "?", "set": RANDOM, "arms": arms, "margin": 0.02}
    families = {"all": {"contrasts": [["other", "own"]]}}
    return StudyConfig.model_validate({**plain, "families": families, "budgets": {"small": {"seeds": [0, 1]}}, **fields})


def test_plan_and_cost_say_unknown() -> None:
    plan = make_plan(study())
    text = plan_text(plan, estimate(plan), Path("out"))
    line = next(line for line in text.splitlines() if line.startswith("other "))
    assert line.split()[-2:] == ["unknown", "unknown"]
    assert "(other) are guessed at as concat" in text
    said = _closed_form({"concat": resolve_run("mini"), NAME: resolve_run("mini", {"fusion.name": NAME})})
    ours, theirs = said.splitlines()[-2:]
    assert "unknown" not in ours
    assert theirs.count("unknown") == 4  # the fusion, parameters, FLOPs, training FLOPs


@pytest.mark.parametrize("baseline", ["concat", "none"])
def test_equal_flops_is_refused(baseline: str) -> None:
    with pytest.raises(ConfigError, match=rf"no closed form counts fusion\.name = '{NAME}'.*equalise: steps or time"):
        make_plan(study(baseline, equalise="flops"))


@pytest.mark.parametrize("quantity", ["parameters", "flops"])
def test_matching_to_it_is_refused(quantity: str) -> None:
    arms = {"own": {"set": {"fusion.name": "concat"}, "match": {quantity: "other"}}, "other": {"set": {"fusion.name": NAME}}}
    with pytest.raises(ConfigError, match=f"no closed form counts fusion.name = '{NAME}'"):
        make_plan(study(arms=arms))


def test_a_measured_table_has_no_closed_form_for_it() -> None:
    for name, known in (("concat", True), (NAME, False)):
        config = resolve_run("mini", {"fusion.name": name})
        closed, training = closed_forms(config), training_forms(config)
        fusions = [part for part in closed if part.startswith("fusion point")]
        assert fusions
        for part in fusions:
            assert math.isfinite(closed[part].flops) is known
            assert math.isfinite(training[part]) is known


def test_its_reach_and_options_are_asked_of_it_at_planning(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is imported for that alone, and only where one of them is set."""
    assert resolve_run("mini", {"fusion.name": NAME}).fusion.options == {}
    with pytest.raises(ConfigError, match="'nowhere:to_be_imported' does not load"):
        resolve_run("mini", {"fusion.name": NAME, "fusion.reach": "tile"})

    class Settings(BaseModel):
        model_config = ConfigDict(extra="forbid")
        rank: int = 4

    class Strategy:
        reaches, options = True, Settings

    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda _: Strategy)
    fine = resolve_run("mini", {"fusion.name": NAME, "fusion.reach": "tile", "fusion.options.rank": 8})
    assert fine.fusion.options == {"rank": 8}
    with pytest.raises(ConfigError, match=r"fusion\.options: unknown key 'rnak' \(did you mean 'rank'\?\)"):
        resolve_run("mini", {"fusion.name": NAME, "fusion.options.rnak": 8})
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda _: lambda spec: None)
    for field, value in (("fusion.reach", "tile"), ("fusion.options.rank", 8)):
        with pytest.raises(ConfigError, match=f"{field[:13].rstrip('.')}.* fusion.name = '{NAME}'"):
            resolve_run("mini", {"fusion.name": NAME, field: value})
