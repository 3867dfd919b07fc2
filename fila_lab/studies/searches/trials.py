"""A search's trial as cells, and as an arm: what is searched, laid over the arm that is searched. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fila_lab.config import Arm, RunConfig, StudyConfig, Sweep
from fila_lab.config.overrides import overlaid
from fila_lab.config.space import Parameters, values_text
from fila_lab.config.study import FRONT
from fila_lab.studies.arms import Overrides, baseline, resolve_arm


def swept_arm(study: StudyConfig, sweep: Sweep) -> str:
    """The arm whose overrides a sweep's trials are laid over."""
    return sweep.arm or baseline(study)


def trial_name(number: int) -> str:
    """The arm that a trial of the front becomes."""
    return f"trial-{number}"


def with_trials(study: StudyConfig, sweep: Sweep, trials: Mapping[str, Parameters]) -> StudyConfig:
    """The study with trials as further arms: the swept arm's overrides, its committed winners, and the trial's parameters over them."""
    base = swept_arm(study, sweep)
    below = overlaid(study.arms[base].set, study.winners.get(base, {}), RunConfig)
    arms = {
        name: Arm(label=values_text(parameters), role=FRONT, set=overlaid(below, parameters, RunConfig), match=study.arms[base].match)
        for name, parameters in trials.items()
    }
    return study.model_copy(update={"arms": {**study.arms, **arms}})


def sweep_run(
    study: StudyConfig,
    budget: str,
    sweep: Sweep,
    number: int,
    parameters: Parameters,
    overrides: Overrides | None = None,
    step_seconds: Mapping[str, float] | None = None,
) -> RunConfig:
    """The run of a sweep's trial, with the first of its seeds.

    Raises:
        ConfigError: its parameters cannot go together.
    """
    name = trial_name(number)
    one = with_trials(study, sweep, {name: parameters})
    return resolve_arm(one, budget, name, sweep.seeds[0], overrides, {}, step_seconds, sweep.set)[0]


def tuning_run(
    study: StudyConfig,
    budget: str,
    arm: str,
    parameters: Mapping[str, Any],
    overrides: Overrides | None = None,
    step_seconds: Mapping[str, float] | None = None,
) -> RunConfig:
    """The run of a tuning trial of an arm, with the first of its seeds.

    Raises:
        ConfigError: its parameters cannot go together, or with the arm.
    """
    assert study.tuning is not None
    return resolve_arm(study, budget, arm, study.tuning.seeds[0], overrides, parameters, step_seconds, study.tuning.set)[0]
