"""When a trial is stopped early: Optuna's pruners, asked about one trial that knows what was told before it began.

A live Optuna study lets trials that run side by side judge each other, so that who is stopped depends on which was faster. A stop rule
holds the history as it stood when the trial was asked; what it decides follows from that and from the trial's own curve, whenever and
wherever the cell runs, and again when the search is replayed from the folder.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import optuna
from optuna.pruners import BasePruner
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

_OF_COMPLETE = frozenset({"median", "percentile"})
"""Pruners that compare with the curves of complete trials."""
_OF_RUNGS = frozenset({"successive_halving", "hyperband"})
"""Pruners that compare with what trials had at the steps of earlier decisions, which they note in the trials' attributes."""


def make_pruner(name: str, arguments: Mapping[str, Any]) -> BasePruner:
    """Optuna's pruner of that name (`config.pruners`), with all of its arguments."""
    made: dict[str, type[BasePruner]] = {
        "none": optuna.pruners.NopPruner,
        "median": optuna.pruners.MedianPruner,
        "percentile": optuna.pruners.PercentilePruner,
        "threshold": optuna.pruners.ThresholdPruner,
        "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
        "hyperband": optuna.pruners.HyperbandPruner,
    }
    return made[name](**arguments)


@dataclass(frozen=True)
class StopRule:
    """Called after each validation of a trial's cell, in their order, with (training step, validation): whether to stop there.

    A step that is not beyond the last one begins the curve anew, so that one rule can judge a curve again. At the trial's last step
    nothing is left to stop.

    Args:
        pruner, arguments: of `make_pruner`.
        direction: `maximize` where a greater validation is better.
        search: the name of the search; hyperband shares trials out by it and by their numbers.
        number: the trial's.
        steps: its training steps.
        history: what earlier trials left behind (`told`), as it stood when the trial was asked.
    """

    pruner: str
    arguments: Mapping[str, Any]
    direction: Literal["maximize", "minimize"]
    search: str
    number: int
    steps: int
    history: tuple[FrozenTrial, ...] = field(default=(), repr=False)
    _live: list[_Live] = field(default_factory=list, init=False, repr=False, compare=False)
    """The curve under way, if there is one."""

    def __call__(self, step: int, value: float) -> bool:
        if not self._live or self._live[0].last >= step:
            self._live[:] = [_Live(self)]
        return self._live[0].report(step, value)

    def stopped(self, curve: Iterable[tuple[int, float]]) -> int | None:
        """The step at which a curve of (step, validation) is stopped; None where it goes on to its end."""
        live = _Live(self)
        return next((step for step, value in curve if live.report(step, value)), None)

    def told(self, curve: Iterable[tuple[int, float]], *, complete: bool) -> FrozenTrial | None:
        """What the trial leaves behind for those that are asked after it; None where that cannot matter to them.

        curve: its (step, validation), up to where it was stopped or failed. complete: whether it trained to its end, and has a value.
        """
        if self.pruner in _OF_COMPLETE:
            return _trial(self.number, TrialState.COMPLETE, dict(curve), {}) if complete else None
        if self.pruner not in _OF_RUNGS:
            return None
        live = _Live(self)
        for step, value in curve:
            if live.report(step, value):
                break
        return _trial(self.number, TrialState.COMPLETE if complete else TrialState.PRUNED, {}, live.attributes) if live.attributes else None

    def __getstate__(self) -> dict[str, Any]:
        """With the history as bare numbers, a tenth of what Optuna's trials take to travel; a curve under way stays here."""
        bare = [(trial.number, trial.state.value, trial.intermediate_values, trial.system_attrs) for trial in self.history]
        return self.__dict__ | {"history": bare, "_live": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        history = tuple(_trial(number, TrialState(kind), values, attributes) for number, kind, values, attributes in state["history"])
        self.__dict__.update(state, history=history)


@dataclass(frozen=True)
class LastRule:
    """The rule of a cell that several trials ask for: it is stopped where the last of theirs stops it."""

    rules: tuple[StopRule | LastRule, ...]
    _curve: list[tuple[int, float]] = field(default_factory=list, init=False, repr=False, compare=False)

    def __call__(self, step: int, value: float) -> bool:
        if self._curve and self._curve[-1][0] >= step:
            self._curve.clear()
        self._curve.append((step, value))
        return self.stopped(self._curve) is not None

    def stopped(self, curve: Iterable[tuple[int, float]]) -> int | None:
        """As `StopRule.stopped`."""
        points = list(curve)
        steps = [rule.stopped(points) for rule in self.rules]
        return None if None in steps else max(step for step in steps if step is not None)


class _Live:
    """A trial under way, and its pruner."""

    def __init__(self, rule: StopRule) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # a worker would say that it has made a study
        self.last, self.end = -1, rule.steps
        self._pruner = make_pruner(rule.pruner, rule.arguments)
        self._storage = _Told(rule.history, _trial(rule.number, TrialState.RUNNING, {}, {}, rule.number))
        self._study = optuna.create_study(
            storage=self._storage,
            sampler=optuna.samplers.RandomSampler(seed=0),  # never asked
            pruner=self._pruner,
            study_name=rule.search,
            direction=rule.direction,
        )

    def report(self, step: int, value: float) -> bool:
        """Whether the trial stops at this step."""
        self.last = step
        own = self._storage.own
        own.intermediate_values[step] = value
        return step < self.end and bool(self._pruner.prune(self._study, own))

    @property
    def attributes(self) -> dict[str, Any]:
        """What the pruner has noted of the trial."""
        return dict(self._storage.own.system_attrs)


class _Told(InMemoryStorage):
    """A history that is read as it stands, and one trial beside it. Adding the trials one by one would copy each of them."""

    def __init__(self, history: tuple[FrozenTrial, ...], own: FrozenTrial) -> None:
        super().__init__()
        self.history, self.own = history, own

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """See `BaseStorage.get_all_trials`."""
        found = [trial for trial in (*self.history, self.own) if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See `BaseStorage.set_trial_system_attr`: a list of trials that was read before does not change."""
        assert trial_id == self.own.number
        self.own = copy.copy(self.own)
        self.own.system_attrs = {**self.own.system_attrs, key: value}


def _trial(number: int, state: TrialState, values: dict[int, float], attributes: dict[str, Any], trial_id: int = -1) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        state=state,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs=attributes,
        intermediate_values=values,
        trial_id=trial_id,
    )
