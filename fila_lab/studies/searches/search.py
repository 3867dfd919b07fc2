"""One search: Optuna asked and told in batches, replayed from the folder of results.

Every start begins the search anew from its seed and tells it what is already in the folder. The same seed and the same history give the
same questions, so a search goes on bit for bit where it stopped, whatever was killed; a database carried over from the killed run could not
promise that, because a sampler's random state is not in it. Trials of a batch are asked together and told together, in the order of their
numbers: which of them ends first changes nothing.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import optuna

from fila_lab.config import Sweep, Tuning
from fila_lab.config.distributions import distribution, scalar
from fila_lab.config.search import Objective
from fila_lab.config.space import EDGE, Choices, Dimension, Parameters, Range, choice_text, is_active
from fila_lab.config.space_points import grid_points, middle

State = Literal["running", "complete", "pruned", "failed", "impossible"]
_STATES = {
    "complete": optuna.trial.TrialState.COMPLETE,
    "pruned": optuna.trial.TrialState.PRUNED,
    "impossible": optuna.trial.TrialState.PRUNED,
    "failed": optuna.trial.TrialState.FAIL,
}


@dataclass
class Trial:
    """One asked trial."""

    number: int
    batch: int
    parameters: Parameters
    """Dotted path -> value as a study file would give it, of the fields that are searched under its other values."""
    cells: tuple[str, ...] = ()
    """Ids."""
    state: State = "running"
    reason: str = ""
    """Why it is pruned, failed or impossible."""
    values: tuple[float, ...] | None = None
    """One an objective, in their order; of a pruned trial None."""
    intermediate: dict[int, float] = field(default_factory=dict)
    """Step -> validation, of its first cell, up to where it was stopped."""

    @property
    def value(self) -> float | None:
        """Of the only objective, or the first."""
        return self.values[0] if self.values is not None else None

    def to_dict(self) -> dict[str, Any]:
        """As `trials.json` keeps it."""
        return {
            "number": self.number,
            "batch": self.batch,
            "state": self.state,
            "reason": self.reason,
            "parameters": self.parameters,
            "values": None if self.values is None else list(self.values),
            "intermediate": {str(step): value for step, value in self.intermediate.items()},
            "cells": list(self.cells),
        }


def at_edge(parameters: Parameters, space: dict[str, Dimension]) -> tuple[str, ...]:
    """The parameters whose value lies within EDGE of an end of its range, on the range's own scale."""
    found = []
    for path, one in space.items():
        if isinstance(one, Range) and path in parameters and not EDGE < one.share(parameters[path]) < 1 - EDGE:
            found.append(path)
    return tuple(found)


def make_sampler(search: Tuning | Sweep) -> optuna.samplers.BaseSampler:
    """The sampler of a search; a grid's points are enqueued, so that its sampler is never asked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # arguments are recorded with Optuna's version
        return _make(search, search.sampler_arguments)


def _make(search: Tuning | Sweep, arguments: dict[str, Any]) -> optuna.samplers.BaseSampler:
    if search.sampler_name == "tpe":
        return optuna.samplers.TPESampler(**arguments)
    if search.sampler_name == "nsga2":
        return optuna.samplers.NSGAIISampler(**arguments)
    if search.sampler_name == "cmaes":
        independent = optuna.samplers.RandomSampler(seed=search.seed)
        return optuna.samplers.CmaEsSampler(**arguments, independent_sampler=independent, warn_independent_sampling=False)
    return optuna.samplers.RandomSampler(**arguments)


class Search:
    """Asks trials in batches and is told what they came to. `trials` are all that were asked, in order."""

    def __init__(self, search: Tuning | Sweep, objectives: Iterable[Objective], name: str) -> None:
        self.config = search
        self.objectives = tuple(objectives)
        self.name = name
        self.trials: list[Trial] = []
        self.space = search.dimensions
        self.distributions = {path: distribution(path, one) for path, one in self.space.items()}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        directions = [objective.direction for objective in self.objectives]
        self._study = optuna.create_study(study_name=name, directions=directions, sampler=make_sampler(search))
        self._asked: dict[int, optuna.trial.Trial] = {}
        self._batches = 0
        self._front: list[Trial] = []
        self._complete: set[str] = set()
        """Parameters of complete trials, as text."""
        self._most = search.trials
        if search.sampler_name == "grid":
            points = grid_points(self.space, search.trials)
            self._most = len(points)
        else:
            start = middle(self.space)
            points = [start] if start is not None else []
        for point in points:
            self._study.enqueue_trial({path: self._inside(path, value) for path, value in point.items()})

    def _inside(self, path: str, value: Any) -> Any:
        return scalar(value) if isinstance(self.space[path], Choices) else value

    @property
    def most(self) -> int:
        """How many trials it asks for in all."""
        return self._most

    def ask(self) -> list[Trial]:
        """The next batch, once the last one is told; empty at the end."""
        count = min(self.config.batch, self._most - len(self.trials))
        asked = [self._ask(self._batches) for _ in range(count)]
        self._batches += 1
        return asked

    def _ask(self, batch: int) -> Trial:
        asked = self._study.ask()
        parameters: Parameters = {}
        for path, one in self.space.items():
            if is_active(one, parameters):
                parameters[path] = self._suggest(asked, path, one)
        trial = Trial(asked.number, batch, parameters)
        self._asked[trial.number] = asked
        self.trials.append(trial)
        return trial

    def _suggest(self, asked: optuna.trial.Trial, path: str, one: Dimension) -> Any:
        if isinstance(one, Choices):
            given = [scalar(value) for value in one.values]
            return one.values[given.index(asked.suggest_categorical(path, given))]
        if one.whole(path):
            return asked.suggest_int(path, int(one.low), int(one.high), step=int(one.step or 1), log=one.log)
        return float(asked.suggest_float(path, one.low, one.high, step=one.step, log=one.log))

    def tell(self, trial: Trial) -> None:
        """Record what a trial came to: its state, values and intermediate values. One whose values are not finite has failed."""
        if trial.values is not None and not all(map(math.isfinite, trial.values)):
            trial.state, trial.values, trial.reason = "failed", None, "a value is not finite"
        asked = self._asked.pop(trial.number)
        if len(self.objectives) == 1:
            for step, value in trial.intermediate.items():
                asked.report(value, step)
        self._study.tell(asked, trial.values if trial.state == "complete" else None, state=_STATES[trial.state])
        if trial.state == "complete" and (text := choice_text(trial.parameters)) not in self._complete:
            self._complete.add(text)
            if not any(self._better(other, trial) for other in self._front):
                self._front = [other for other in self._front if not self._better(trial, other)] + [trial]

    @property
    def told(self) -> list[Trial]:
        """Trials that are told."""
        return [trial for trial in self.trials if trial.state != "running"]

    @property
    def ended(self) -> bool:
        """Whether all trials are asked and told."""
        return len(self.trials) == self._most and not self._asked

    @property
    def front(self) -> list[Trial]:
        """Of one objective the best trial, the earlier one of equals; of several all complete trials that no other is better than, by their
        numbers. Trials of equal parameters count once."""
        return self._front[:1] if len(self.objectives) == 1 else list(self._front)

    def _better(self, one: Trial, other: Trial) -> bool:
        """Whether a trial is at least as good in all objectives, and better in one."""
        assert one.values is not None
        assert other.values is not None
        signs = [1 if objective.direction == "maximize" else -1 for objective in self.objectives]
        differences = [sign * (a - b) for sign, a, b in zip(signs, one.values, other.values, strict=True)]
        return min(differences) >= 0 and max(differences) > 0
