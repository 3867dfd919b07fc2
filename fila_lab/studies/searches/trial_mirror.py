"""Optuna's database as a mirror of a search, to be looked at while it runs: the search is an Optuna study, a trial its trial.

The truth is the folder of results: a search is replayed from it, and the database decides nothing. So a mirror may fail, be killed at
any moment, or begin late: shown again, it adds what is missing and takes up what was left running. It deletes nothing. Where the
trials that are stored are not those of the search, which was changed, they stay, and the mirror goes on in a study of its own.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from fila_lab.config.distributions import scalar
from fila_lab.config.search import Direction
from fila_lab.studies.searches.search import Trial

if TYPE_CHECKING:
    from fila_lab.studies.searches.trial_database import TrialDatabase

SHOWN = "fila_lab_trials"
"""The attribute of a study that holds the digest of its trials, once the search has ended."""
CELLS, BATCH, REASON = "cells", "batch", "reason"
"""Attributes of a trial."""
STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "impossible": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


@dataclass
class _Stored:
    """What the database holds of a trial."""

    state: TrialState
    parameters: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    cells: list[str]
    values: list[float] | None
    steps: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, trial: FrozenTrial) -> _Stored:
        cells = list(trial.user_attrs.get(CELLS, ()))
        return cls(trial.state, trial.params, trial.distributions, cells, trial.values, dict(trial.intermediate_values))


class TrialMirror:
    """The mirror of one search. `show` a trial whenever something of it is new, any number of times, and `finish` at the end."""

    def __init__(
        self, database: TrialDatabase, name: str, objectives: Mapping[str, Direction], distributions: Mapping[str, BaseDistribution]
    ) -> None:
        """
        Args:
            database: where.
            name: of the Optuna study.
            objectives: name -> `maximize` or `minimize`.
            distributions: dotted path -> how it is searched; choices that are no scalars are JSON text.

        Raises:
            FilaError: the name is taken by somebody else, or the user's database cannot be used.
        """
        self.name = name
        self._database = database
        self._objectives = dict(objectives)
        self._distributions = dict(distributions)
        self._trials: dict[int, Trial] = {}
        self._study: optuna.Study | None = None
        self._stored: list[_Stored] | None = None
        database.insist(self._connect)

    def show(self, trial: Trial) -> None:
        """Show a trial as it is now. A failure is one warning and ends nothing."""
        self._trials[trial.number] = trial
        missed = self._study is None
        if not self._database.attempt(lambda: self._show(self._ordered() if missed else [trial])):
            self._study = None

    def finish(self) -> None:
        """The search has ended and all its trials were shown: complete what a failure left out, and leave nothing running."""
        if not self._database.attempt(self._finish, again=True):
            self._study = None

    def holds(self, trials: Iterable[Trial]) -> bool:
        """Whether a search that has ended is shown completely, so that nothing need be shown again."""
        shown: list[Any] = []
        self._database.attempt(lambda: shown.append(self._connect().user_attrs.get(SHOWN)))
        return shown == [self._digest(trials)]

    # Trials --------------------------------------------------------------------------------------------------------

    def _show(self, trials: Iterable[Trial]) -> None:
        for trial in trials:
            if trial.number < len(self._held) and not self._renew(trial):
                self._move_on()
                self._show(self._ordered())
                return
        while (following := self._trials.get(len(self._held))) is not None:  # Optuna numbers trials in the order of adding
            self._add(following)

    def _ordered(self) -> list[Trial]:
        return [self._trials[number] for number in sorted(self._trials)]

    def _finish(self) -> None:
        self._show(self._ordered())
        study = self._connect()
        for other in self._database.studies(self.name):
            self._end(other, self._trials if other.study_name == study.study_name else ())
        study.set_user_attr(SHOWN, self._digest(self._trials.values()))

    def _add(self, trial: Trial) -> None:
        attributes = {CELLS: list(trial.cells), BATCH: trial.batch} | ({REASON: trial.reason} if trial.reason else {})
        added = optuna.trial.create_trial(
            state=_state(trial),
            values=self._values(trial),
            params=_parameters(trial),
            distributions=self._searched(trial),
            user_attrs=attributes,
            intermediate_values=self._steps(trial),
        )
        self._connect().add_trial(added)
        self._held.append(_Stored.of(added))

    def _renew(self, trial: Trial) -> bool:
        """Bring a stored trial up to date; False where another trial is stored in its place."""
        stored, state = self._held[trial.number], _state(trial)
        if not self._fits(stored, trial):
            return False
        new = {step: value for step, value in self._steps(trial).items() if step not in stored.steps or stored.steps[step] != value}
        if stored.state != TrialState.RUNNING or not (new or state != TrialState.RUNNING):
            return True
        study, storage = self._connect(), self._database.storage
        number = storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(study.study_name), trial.number)
        if storage.get_trial_user_attrs(number).get(CELLS) != list(trial.cells):  # somebody has added trials of his own
            return False
        for step, value in new.items():
            storage.set_trial_intermediate_value(number, step, value)
            stored.steps[step] = value
        if state != TrialState.RUNNING:
            if trial.reason:
                storage.set_trial_user_attr(number, REASON, trial.reason)
            study.tell(trial.number, self._values(trial) if state == TrialState.COMPLETE else None, state=state)
            stored.state, stored.values = state, self._values(trial)
        return True

    def _end(self, study: optuna.Study, kept: Collection[int]) -> None:
        """Tell what was left running by a search that goes on without it."""
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number not in kept and CELLS in trial.user_attrs:
                study.tell(trial.number, state=TrialState.FAIL)

    def _fits(self, stored: _Stored, trial: Trial) -> bool:
        """Whether this is the trial that is stored, as it is or further on."""
        same = stored.distributions == self._searched(trial) and stored.cells == list(trial.cells)
        if not same or _texts(stored.parameters) != _texts(_parameters(trial)):
            return False
        state = _state(trial)
        if TrialState.RUNNING in (stored.state, state):
            return True
        if stored.state != state or (state == TrialState.COMPLETE and stored.values != self._values(trial)):
            return False
        return all(stored.steps.get(step) == value for step, value in self._steps(trial).items() if not math.isnan(value))

    def _searched(self, trial: Trial) -> dict[str, BaseDistribution]:
        return {path: self._distributions[path] for path in trial.parameters}

    def _steps(self, trial: Trial) -> dict[int, float]:
        """Validations by step, of which Optuna knows where there is one objective."""
        return {int(step): float(value) for step, value in trial.intermediate.items()} if len(self._objectives) == 1 else {}

    def _values(self, trial: Trial) -> list[float] | None:
        """As Optuna has them: a pruned trial's value is its last validation."""
        if _state(trial) == TrialState.COMPLETE:
            return [float(value) for value in trial.values or ()]
        steps = self._steps(trial)
        if _state(trial) != TrialState.PRUNED or not steps or math.isnan(last := steps[max(steps)]):
            return None
        return [last]

    def _digest(self, trials: Iterable[Trial]) -> str:
        ordered = sorted(trials, key=lambda trial: trial.number)
        content = [self._objectives, [[one.number, one.state, one.parameters, one.cells, self._values(one)] for one in ordered]]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]

    # The study -----------------------------------------------------------------------------------------------------

    def _connect(self) -> optuna.Study:
        """The study that is written to: the latest of this folder's that fits, a new one where there is none."""
        if self._study is None:
            self._choose(self._database.studies(self.name))
        assert self._study is not None
        return self._study

    def _move_on(self) -> None:
        """Leave a study that holds other trials for one that holds those shown so far, or a new one."""
        left = self._connect().study_name
        self._choose(study for study in self._database.studies(self.name) if study.study_name != left)

    def _choose(self, studies: Iterable[optuna.Study]) -> None:
        for study in reversed(list(studies)):
            if [direction.name.lower() for direction in study.directions] != list(self._objectives.values()):
                continue
            self._study, self._stored = study, None
            if all(self._fits(self._held[number], trial) for number, trial in self._trials.items() if number < len(self._held)):
                return
        self._study, self._stored = self._database.make(self.name, self._objectives), []

    @property
    def _held(self) -> list[_Stored]:
        """The trials that are stored; read when they are first asked for."""
        if self._stored is None:
            self._stored = [_Stored.of(trial) for trial in self._connect().get_trials(deepcopy=False)]
        return self._stored


def _state(trial: Trial) -> TrialState:
    unfit = trial.state == "complete" and not (trial.values and all(map(math.isfinite, trial.values)))
    return TrialState.FAIL if unfit else STATES[trial.state]


def _parameters(trial: Trial) -> dict[str, Any]:
    return {path: scalar(value) for path, value in trial.parameters.items()}


def _texts(parameters: Mapping[str, Any]) -> dict[str, str]:
    """By text two values are one, `1` and `True` are not."""
    return {path: repr(value) for path, value in parameters.items()}
