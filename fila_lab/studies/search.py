"""One arm's search: Optuna asked and told, replayed from the folder of results.

Every start begins the search anew from its seed and tells it the values that are already in the folder. The same seed and the same
history give the same questions, so a search goes on bit for bit where it stopped, whatever was killed; a database carried over from
the killed run could not promise that, because a sampler's random state is not in it.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution

from fila_lab.config.study import Tuning

EDGE = 0.1
"""A winner within this share of its range's logarithm from an end is flagged: the range may be too narrow."""


def middle(space: dict[str, tuple[float, float]]) -> dict[str, float]:
    """The geometric middle of every range: the first trial of every arm."""
    return {path: math.sqrt(low * high) for path, (low, high) in space.items()}


def at_edge(parameters: dict[str, float], space: dict[str, tuple[float, float]]) -> tuple[str, ...]:
    """The parameters whose value lies within EDGE of an end of its range, on the log scale."""

    def share(path: str) -> float:
        low, high = space[path]
        return math.log(parameters[path] / low) / math.log(high / low)

    return tuple(path for path in space if not EDGE < share(path) < 1 - EDGE)


def grid_points(tuning: Tuning) -> list[dict[str, float]]:
    """`trials` points of a log-spaced grid, ends included, from the middle outwards."""
    per_axis = max(2, math.ceil(tuning.trials ** (1 / len(tuning.space))))
    axes = []
    for low, high in tuning.space.values():
        axes.append([(abs(2 * i / (per_axis - 1) - 1), low * (high / low) ** (i / (per_axis - 1))) for i in range(per_axis)])
    ordered = sorted(itertools.product(*axes), key=lambda point: (sum(away for away, _ in point), tuple(value for _, value in point)))
    return [dict(zip(tuning.space, (value for _, value in point), strict=True)) for point in ordered[: tuning.trials]]


def sampler_arguments(tuning: Tuning) -> dict[str, Any]:
    """Every argument that matters, named, because Optuna's defaults change between versions; recorded with the winners."""
    if tuning.sampler == "tpe":
        startup = max(2, tuning.trials // 3)
        return {
            "seed": tuning.seed,
            "n_startup_trials": startup,
            "n_ei_candidates": 24,
            "multivariate": True,
            "group": False,
            "constant_liar": False,
        }
    return {"seed": tuning.seed}


def make_sampler(tuning: Tuning) -> optuna.samplers.BaseSampler:
    """The sampler of the study; a grid's points are enqueued, so that its sampler is never asked."""
    arguments = sampler_arguments(tuning)
    return optuna.samplers.TPESampler(**arguments) if tuning.sampler == "tpe" else optuna.samplers.RandomSampler(**arguments)


@dataclass
class Trial:
    """One asked trial."""

    number: int
    parameters: dict[str, float]
    cell_id: str = ""
    value: float | None = None
    told: bool = False


@dataclass
class ArmSearch:
    """The search of one arm; `value` None tells a failed trial."""

    arm: str
    tuning: Tuning
    storage: optuna.storages.BaseStorage
    study_name: str
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        name = f"{self.study_name}/{self.arm}"
        if any(summary.study_name == name for summary in optuna.get_all_study_summaries(self.storage)):
            optuna.delete_study(study_name=name, storage=self.storage)
        self._study = optuna.create_study(storage=self.storage, study_name=name, direction="maximize", sampler=make_sampler(self.tuning))
        self._space: dict[str, BaseDistribution] = {
            path: FloatDistribution(low, high, log=True) for path, (low, high) in self.tuning.space.items()
        }
        for point in grid_points(self.tuning) if self.tuning.sampler == "grid" else [middle(self.tuning.space)]:
            self._study.enqueue_trial(point)

    def ask(self) -> Trial | None:
        """The next trial, once the last one is told; None when all have been asked."""
        if len(self.trials) >= self.tuning.trials:
            return None
        asked = self._study.ask(self._space)
        trial = Trial(asked.number, {path: float(asked.params[path]) for path in self._space})
        self.trials.append(trial)
        return trial

    def tell(self, trial: Trial, value: float | None) -> None:
        """Record the trial's value; a failed cell is a failed trial."""
        if value is not None and not math.isfinite(value):
            value = None
        trial.value, trial.told = value, True
        state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
        self._study.tell(trial.number, value, state=state)

    @property
    def winner(self) -> Trial | None:
        """The best trial, the earlier one of equals; None when none succeeded."""
        valued = [(trial.value, -trial.number, trial) for trial in self.trials if trial.value is not None]
        return max(valued, key=lambda entry: entry[:2])[2] if valued else None
