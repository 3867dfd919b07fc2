"""A recipe trained by itself: a study of one arm, so that it is planned, locked, recorded, resumed and reported as every other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fila_lab.config import Arm, Budget, ConfigError, RunConfig, StudyConfig, resolve_run
from fila_lab.config.metrics import COUNT, MEAN, metric_names, parse_metric
from fila_lab.studies.rows import further_scores

ARM = "run"
BUDGET = "train"
MARGIN = 0.02
"""Every study has one; a single arm is compared with nothing."""


def single_study(recipe: str, overrides: Mapping[str, Any], seed: int = 0) -> StudyConfig:
    """The study that trains a recipe (a preset's name, or a YAML file) with overrides and one seed. It is judged by the mean over tasks,
    or by the first score of what the run is tested on.

    Raises:
        ConfigError: what `resolve_run` refuses; data that cannot be opened; a run that is tested on nothing that has a score.
    """
    if "seed" in overrides:
        raise ConfigError(f"--set seed={overrides['seed']} is said by --seed; give --seed {overrides['seed']}")
    config = resolve_run(recipe, overrides, {"seed": seed})
    name = Path(recipe).stem
    return StudyConfig(
        name=name,
        question=f"What does {name} come to?",
        preset=recipe,
        arms={ARM: Arm(role="baseline", set=dict(overrides))},
        families={},
        metric=_metric(config),
        margin=MARGIN,
        budgets={BUDGET: Budget(seeds=(seed,), workers=1)},
    )


def _metric(config: RunConfig) -> str:
    """What a run is judged by where nobody says."""
    names = metric_names(config, further=further_scores(config, "test"))
    usable = [name for name in names if parse_metric(name).kind != COUNT]
    if not usable:
        tests = ", ".join(config.data.evaluate) or "empty"
        raise ConfigError(
            f"data.evaluate = {tests} gives no score to judge the run by; name a test with answers, e.g. --set "
            "data.evaluate={docvqa: {path: DocVQA}}"
        )
    return MEAN if MEAN in usable else usable[0]
