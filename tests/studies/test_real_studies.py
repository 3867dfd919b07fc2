"""The studies of experiments/real at `base` and `paper`: planned as far as that goes without their data, and their page's figures held."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fila_lab.config import StudyConfig, load_study
from fila_lab.config.power import seeds_needed
from fila_lab.config.stage_runs import stages_of
from fila_lab.cost.closed.memory import sharing_strategies
from fila_lab.cost.closed.pages import page_training_flops
from fila_lab.studies.arms import resolve_arm

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how_to" / "real_models.md").read_text(encoding="utf-8")
ROWS = {"align": 558_000, "instruct": 665_000}
PEAK = 989e12
"""Of an H100 or H200 in bfloat16, FLOP/s."""
REACHED = {"fusion_at_base": 0.12, "fusion_at_paper": 0.25}
"""The share of it that training steps of these sizes were measured at (experiments/results/gpu)."""


@pytest.fixture(params=["fusion_at_base", "fusion_at_paper"])
def study(request: pytest.FixtureRequest) -> StudyConfig:
    return load_study(ROOT / "experiments" / "real" / f"{request.param}.yaml")


def test_every_arm_trains_in_two_stages_of_llavas_batches_and_its_verdict_can_be_reached(study: StudyConfig) -> None:
    for budget in study.budgets:
        for arm in study.arms:
            align, instruct = stages_of(resolve_arm(study, budget, arm, 0)[0])
            rows = [stage.run.train.batch_size * stage.run.train.accumulate for stage in (align, instruct)]
            assert rows == [256, 128]
            assert align.run.data.train != instruct.run.data.train
    for family in study.families.values():
        assert seeds_needed(len(family.contrasts)) <= len(study.budgets["full"].seeds)


def test_memory_and_hours_are_what_the_page_says(study: StudyConfig) -> None:
    """A row of its table: `| study | ... | GiB a device | EFLOP a cell | hours a cell |`, the largest arm's."""
    memory, flops, hours = 0.0, 0.0, 0.0
    for arm in study.arms:
        run = resolve_arm(study, "full", arm, 0)[0]
        held = list(sharing_strategies(run, run.runtime.devices).values())[-1]
        memory = max(memory, sum(part.total for part in held.values()) / 2**30)
        own = sum(ROWS[stage.name] * page_training_flops(stage.run) for stage in stages_of(run))
        flops = max(flops, own)
        hours = max(hours, own / (PEAK * REACHED[study.name] * run.runtime.devices) / 3600)
    row = re.search(rf"\| `{study.name}` \|.*\| (\d+) \| (\d+(?:\.\d+)?) \| (\d+) \|\n", PAGE)
    assert row is not None
    assert [float(number) for number in row.groups()] == [round(memory), float(f"{flops / 1e18:.3g}"), round(hours)]
