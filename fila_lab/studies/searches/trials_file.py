"""`sweep/trials.json`: what a sweep is, its trials, and the front they came to. Read without Optuna and without torch."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fila_lab.config import Sweep
from fila_lab.config.json_files import parse_json, read_json
from fila_lab.config.pruners import pruner_arguments
from fila_lab.config.space import Parameters
from fila_lab.studies.arms import resolve_arm
from fila_lab.studies.plan import Plan
from fila_lab.studies.searches.trials import swept_arm

FOLDER, TRIALS = "sweep", "trials.json"
Front = dict[str, Parameters]
"""Arm -> the parameters of the trial it is."""


def read_front(root: Path, plan: Plan) -> Front | None:
    """The frozen front of a folder, if its sweep has ended and was this very search: the arms that the study does not declare itself."""
    try:
        content = read_json(root / FOLDER / TRIALS)
        same = content["search"] == describe(plan) and content["complete"] is True
        trials = {trial["number"]: dict(trial["parameters"]) for trial in content["trials"]}
        front = {str(name): trials[number] for name, number in content["arms"].items() if name not in plan.study.arms}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return front if same else None


def describe(plan: Plan) -> dict[str, Any]:
    """All that determines a plan's sweep, as it is recorded beside its trials."""
    sweep = plan.search
    assert isinstance(sweep, Sweep)
    arm = swept_arm(plan.study, sweep)
    run, _ = resolve_arm(plan.study, plan.budget, arm, sweep.seeds[0], plan.overrides, {}, plan.step_seconds, sweep.set)
    content = {
        "arm": arm,
        "space": sweep.space,
        "objectives": sweep.objectives,
        "trials": sweep.trials,
        "batch": sweep.batch,
        "sampler": sweep.sampler_name,
        "sampler_arguments": sweep.sampler_arguments,
        "pruner": sweep.pruner.name if sweep.pruned else None,
        "pruner_arguments": pruner_arguments(sweep.pruner, run.train.steps, run.train.validate_every),
        "seed": sweep.seed,
        "run_seeds": sweep.run_seeds,
        "set": sweep.set,
        "optuna": version("optuna"),
    }
    return dict(parse_json(json.dumps(content)))
