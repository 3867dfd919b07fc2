"""The shipped studies of why fusion works, what removing it costs, and alignment: arms differ in what is asked, and seeds suffice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fila_lab.config import RunConfig, StudyConfig, load_study
from fila_lab.config.power import seeds_needed
from fila_lab.studies.plan import Plan, make_plan

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}


def plan(name: str, budget: str = "full") -> Plan:
    return make_plan(load_study(EXPERIMENTS / f"{name}.yaml"), budget, RANDOM)


def differing(first: RunConfig, second: RunConfig) -> dict[str, Any]:
    """Fusion fields in which two runs differ; nothing else may."""
    a, b = (config.model_dump(mode="json") for config in (first, second))
    assert {room: value for room, value in a.items() if room != "fusion"} == {room: value for room, value in b.items() if room != "fusion"}
    return {name: value for name, value in b["fusion"].items() if value != a["fusion"].get(name)}


@pytest.mark.parametrize("name", ["why_it_works", "remove_fusion", "alignment"])
def test_the_full_budget_can_judge_every_declared_comparison(name: str) -> None:
    full, small = plan(name), plan(name, "small")
    assert full.families == {family: declared.comparisons for family, declared in full.study.families.items()} == small.families
    assert all(len(full.seeds) >= seeds_needed(len(comparisons)) for comparisons in full.families.values())
    assert set(full.study.winners) == set(full.arms)


def test_the_four_arms_of_why_it_works_are_the_2x2() -> None:
    runs = {cell.arm: cell.config for cell in plan("why_it_works").cells if cell.seed == 0}
    whole = runs["high_canvas"]
    assert differing(whole, runs["high_tile"]) == {"detail_context": "tile"}
    assert differing(whole, runs["low_canvas"]) == {"detail_resolution": "canvas"}
    assert differing(whole, runs["low_tile"]) == {"detail_context": "tile", "detail_resolution": "canvas"}


def test_alignment_has_every_distance_in_training_in_evaluation_and_in_both() -> None:
    runs = {cell.arm: cell.config for cell in plan("alignment").cells if cell.seed == 0}
    shifts = {}
    for arm, run in runs.items():
        if run.fusion.control == "shifted":
            evaluated = run.fusion.shift if run.fusion.eval_shift is None else run.fusion.eval_shift
            shifts[arm] = (run.fusion.shift, evaluated)
    assert sorted(shifts.values()) == [(0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 2)]
    others = {run.fusion.control for arm, run in runs.items() if arm not in shifts}
    assert others == {None, "shuffled", "random_window", "foreign", "random_weights"}


def test_context_is_a_family_of_twins() -> None:
    """As docs/explanation/rivals.md declares it: an arm and its twin differ in reach alone, whatever else the study's budget sets."""
    page = (Path(__file__).parents[2] / "docs" / "explanation" / "rivals.md").read_text(encoding="utf-8")
    declared = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    study = StudyConfig.model_validate(
        {"name": "twins", "question": "?", "set": RANDOM, "margin": 0.02, "budgets": {"small": {"seeds": [0, 1]}}, **declared}
    )
    runs = {cell.arm: cell.config for cell in make_plan(study).cells if cell.seed == 0}
    for arm, twin in study.families["context"].contrasts:
        assert differing(runs[arm], runs[twin]) == {"reach": "tile"}
