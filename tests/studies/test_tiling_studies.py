"""What the studies about tilings promise: equal FLOPs where they say so, the same items for every arm."""

from __future__ import annotations

from pathlib import Path

import pytest

from fila_lab.config import RunConfig, load_study
from fila_lab.cost.closed.pages import page_costs
from fila_lab.studies.identity import data_hash
from fila_lab.studies.plan import make_plan

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}


def configs(name: str) -> dict[str, RunConfig]:
    plan = make_plan(load_study(EXPERIMENTS / f"{name}.yaml"), "full", RANDOM)
    return {cell.arm: cell.config for cell in plan.cells if cell.seed == 0}


def flops(config: RunConfig) -> float:
    return sum(cost.flops for cost in page_costs(config).values())


@pytest.mark.parametrize(("level", "arms"), [("four_k4", "one_k8 nine_k1 nine_none"), ("four_k5", "one_k10 nine_k2 sixteen_none")])
def test_arms_of_a_level_cost_the_same_within_a_tenth(level: str, arms: str) -> None:
    runs = configs("branch_balance")
    for arm in arms.split():
        assert flops(runs[arm]) == pytest.approx(flops(runs[level]), rel=0.1)
    assert runs["sixteen_none"].geometry.vit_scale == 2


@pytest.mark.parametrize("name", ["aspect_ratio", "branch_balance"])
def test_every_arm_reads_the_same_items(name: str) -> None:
    assert len({data_hash(config) for config in configs(name).values()}) == 1


def test_arms_of_aspect_ratio_come_in_pairs_that_differ_in_the_fusion_only() -> None:
    runs = configs("aspect_ratio")
    for arm, config in runs.items():
        tiling, _, fusion = arm.rpartition("_")
        assert config.fusion.name == fusion
        assert config.geometry == runs[f"{tiling}_none"].geometry
