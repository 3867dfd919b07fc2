"""Searches for tests of their mirror: trials of every state, and what a database holds of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from fila_lab.studies.searches.search import Trial
from fila_lab.studies.searches.trial_mirror import TrialMirror

QUALITY = {"exact/reading": "maximize"}
BOTH = {"exact/reading": "maximize", "flops": "minimize"}
SPACE: dict[str, BaseDistribution] = {
    "fusion.name": CategoricalDistribution(["concat", "cross_attention"]),
    "fusion.depth": CategoricalDistribution(["last", "[[3, 12], [4, 20]]"]),
    "fusion.heads": IntDistribution(1, 4),
    "train.learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
}


def trials(count: int, objectives: int = 1, shift: float = 0.0) -> list[Trial]:
    """Ended trials of a search, in turn complete, pruned, failed, impossible; heads are searched for cross attention alone."""
    found = []
    for number in range(count):
        crossed = number % 2 == 1
        parameters: dict[str, Any] = {"fusion.name": "cross_attention" if crossed else "concat"}
        parameters["fusion.depth"] = [[3, 12], [4, 20]] if number % 3 == 0 else "last"
        parameters |= {"fusion.heads": 2} if crossed else {}
        parameters["train.learning_rate"] = 1e-3 + number * 1e-6 + shift
        trial = Trial(number, number // 4, parameters, (f"{number:016x}",), intermediate={100: 0.1, 200: 0.2 + number / 1000})
        match number % 4:
            case 0:
                trial.state, trial.values = "complete", (0.2 + number / 1000, 1e9 + number)[:objectives]
            case 1:
                trial.state, trial.reason = "pruned", "stopped at step 200"
            case 2:
                trial.state, trial.reason = "failed", "the loss is NaN"
                trial.intermediate = {100: float("nan")}
            case _:
                trial.state, trial.reason, trial.cells, trial.intermediate = "impossible", "fusion.heads = 2: no", (), {}
        found.append(trial)
    return found


def play(mirror: TrialMirror, search: list[Trial], batch: int = 4) -> None:
    """Show a search as it goes: asked in batches, its validations, told; then its end."""
    for start in range(0, len(search), batch):
        ended = search[start : start + batch]
        asked = [one if one.state == "impossible" else dataclasses.replace(one, state="running", reason="", values=None) for one in ended]
        seen: list[dict[int, float]] = [one.intermediate for one in asked]
        for one in asked:
            one.intermediate = {}
            mirror.show(one)
        for one, points in zip(asked, seen, strict=True):
            for step, value in points.items():
                one.intermediate[step] = value
                mirror.show(one)
        for one in ended:
            mirror.show(one)
    mirror.finish()


def reader(url: str) -> optuna.storages.RDBStorage:
    """A database of Optuna's, opened without the second that looking at its schema takes."""
    return optuna.storages.RDBStorage(url, skip_compatibility_check=True, skip_table_creation=True)


def names(url: str) -> list[str]:
    """The Optuna studies of a database."""
    return sorted(optuna.get_all_study_names(reader(url)))


def held(url: str, name: str) -> list[tuple]:
    """What an Optuna study holds, as anybody reads it; without its times."""
    study = optuna.load_study(study_name=name, storage=reader(url))
    rows = []
    for trial in study.get_trials(deepcopy=False):
        steps = {step: repr(value) for step, value in trial.intermediate_values.items()}
        rows.append((trial.number, trial.state.name, trial.params, trial.values, steps, trial.user_attrs))
    return rows


def expected(search: list[Trial], objectives: int = 1) -> list[tuple]:
    """What it should hold of a search that has ended."""
    states = {"complete": "COMPLETE", "pruned": "PRUNED", "impossible": "PRUNED", "failed": "FAIL"}
    rows = []
    for one in search:
        steps = one.intermediate if objectives == 1 else {}
        values = list(one.values) if one.values else [max(steps.items())[1]] if one.state == "pruned" and steps else None
        parameters = {
            path: value if isinstance(value, str | int | float) else "[[3, 12], [4, 20]]" for path, value in one.parameters.items()
        }
        attributes = {"cells": list(one.cells), "batch": one.batch} | ({"reason": one.reason} if one.reason else {})
        rows.append((one.number, states[one.state], parameters, values, {step: repr(value) for step, value in steps.items()}, attributes))
    return rows
