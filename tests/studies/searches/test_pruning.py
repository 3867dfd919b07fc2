"""A stop rule decides as Optuna's own pruner does in a live study that knows the same trials, and depends on nothing else."""

from __future__ import annotations

import math
import pickle
import random
import time
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial
from pydantic import TypeAdapter

from fila_lab.config.pruners import AnyPruner, Pruner, pruner_arguments
from fila_lab.studies.searches.pruning import StopRule, make_pruner

EVERY, STEPS = 10, 90
SEARCH = "a sweep"
Curve = list[tuple[int, float]]

PRUNERS = [
    "none",
    {"name": "threshold", "lower": 0.3, "n_warmup_steps": 30},
    {"name": "median", "n_startup_trials": 2},
    {"name": "median", "n_startup_trials": 0, "n_warmup_steps": 25, "interval_steps": 20, "n_min_trials": 3},
    {"name": "percentile", "percentile": 60.0, "n_startup_trials": 1},
    "successive_halving",
    {"name": "successive_halving", "min_resource": 15, "reduction_factor": 2, "min_early_stopping_rate": 1, "bootstrap_count": 2},
    "hyperband",
    {"name": "hyperband", "min_resource": 5, "reduction_factor": 2},
]


def parse(given: Any) -> AnyPruner:
    return TypeAdapter(Pruner).validate_python(given)


def rule(pruner: AnyPruner, number: int, history: list[FrozenTrial], direction: Any = "maximize") -> StopRule:
    return StopRule(pruner.name, pruner_arguments(pruner, STEPS, EVERY), direction, SEARCH, number, STEPS, tuple(history))


def stopped_live(trial: optuna.Trial, curve: Curve) -> int | None:
    """Where a live trial is stopped; at its end there is nothing left to stop."""
    for step, value in curve:
        trial.report(value, step)
        if step < STEPS and trial.should_prune():
            return step
    return None


VALUES = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.5, 1.0]), st.floats(0, 1), st.just(math.nan))
CURVES = st.lists(st.lists(VALUES, min_size=STEPS // EVERY, max_size=STEPS // EVERY), min_size=3, max_size=14)


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
@pytest.mark.parametrize("given_pruner", PRUNERS, ids=str)
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_decisions_are_those_of_the_live_pruner(given_pruner: Any, direction: Any) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = parse(given_pruner)
    arguments = pruner_arguments(pruner, STEPS, EVERY)

    @settings(max_examples=8, deadline=None, derandomize=True, database=None)
    @given(CURVES, st.sets(st.integers(0, 13)))
    def check(values: list[list[float]], failing: set[int]) -> None:
        live = optuna.create_study(
            study_name=SEARCH, direction=direction, pruner=make_pruner(pruner.name, arguments), sampler=optuna.samplers.RandomSampler(0)
        )
        history: list[FrozenTrial] = []
        for number, own in enumerate(values):
            curve = [(EVERY * (place + 1), value) for place, value in enumerate(own)]
            trial, asked = live.ask(), rule(pruner, number, history, direction)
            wanted = stopped_live(trial, curve)
            assert asked.stopped(curve) == wanted, (number, curve)
            curve = [point for point in curve if wanted is None or point[0] <= wanted]
            fails = number in failing and wanted is None
            complete = wanted is None and not fails
            live.tell(trial, own[-1] if complete and math.isfinite(own[-1]) else 0.5 if complete else None, state=_state(wanted, fails))
            if (left := asked.told(curve, complete=complete)) is not None:
                history.append(left)

    check()


def _state(stopped: int | None, fails: bool) -> optuna.trial.TrialState:
    states = optuna.trial.TrialState
    return states.PRUNED if stopped is not None else states.FAIL if fails else states.COMPLETE


def told(pruner: AnyPruner, trials: int, seed: int) -> list[FrozenTrial]:
    """The history of a search, batches of four."""
    chance, history = random.Random(seed), []
    for first in range(0, trials, 4):
        made = []
        for number in range(first, first + 4):
            asked = rule(pruner, number, history)
            curve = [(step, chance.random()) for step in range(EVERY, STEPS + 1, EVERY)]
            end = asked.stopped(curve)
            made.append(asked.told([point for point in curve if end is None or point[0] <= end], complete=end is None))
        history += [left for left in made if left is not None]
    return history


@pytest.mark.parametrize("given_pruner", PRUNERS, ids=str)
def test_a_rule_is_a_pure_function_that_travels(given_pruner: Any) -> None:
    """Asked step by step, over the whole curve, in another process, in the midst of a curve or a second time: the same decisions."""
    pruner = parse(given_pruner)
    history = told(pruner, 24, seed=1)
    before = [(trial.number, dict(trial.intermediate_values), dict(trial.system_attrs)) for trial in history]
    chance = random.Random(2)
    for number in range(24, 32):
        asked = rule(pruner, number, history)
        curve = [(step, 0.6 * chance.random()) for step in range(EVERY, STEPS + 1, EVERY)]
        wanted = asked.stopped(curve)
        for each in (asked, pickle.loads(pickle.dumps(asked))):
            for _ in range(2):
                assert next((step for step, value in curve if each(step, value)), None) == wanted
        asked(*curve[0])
        begun = pickle.loads(pickle.dumps(asked))
        assert begun == asked
        assert next((step for step, value in curve if begun(step, value)), None) == wanted
    assert [(trial.number, trial.intermediate_values, trial.system_attrs) for trial in history] == before


@pytest.mark.parametrize("given_pruner", ["median", "successive_halving", "hyperband"])
def test_trials_are_stopped_at_all(given_pruner: str) -> None:
    pruner = parse(given_pruner)
    history = told(pruner, 40, seed=3)
    worst = [(step, 0.0) for step in range(EVERY, STEPS + 1, EVERY)]
    best = [(step, 1.0) for step in range(EVERY, STEPS + 1, EVERY)]
    assert any(rule(pruner, number, history).stopped(worst) for number in range(40, 50))
    assert not any(rule(pruner, number, history).stopped(best) for number in range(40, 50))


def test_hyperband_shares_trials_out_by_number_and_name() -> None:
    pruner = parse("hyperband")
    history = told(pruner, 40, seed=3)
    middling = [(step, 0.55) for step in range(EVERY, STEPS + 1, EVERY)]
    assert len({rule(pruner, number, history).stopped(middling) for number in range(40, 60)}) > 1


def test_a_rule_says_nothing_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    assert rule(parse("median"), 0, []).stopped([(EVERY, 0.0)]) is None
    assert capfd.readouterr() == ("", "")


def test_an_end_is_no_place_to_stop() -> None:
    pruner = parse({"name": "threshold", "lower": 0.9})
    assert rule(pruner, 0, []).stopped([(STEPS, 0.0)]) is None
    assert rule(pruner, 0, []).stopped([(STEPS - 1, 0.0)]) == STEPS - 1


@pytest.mark.slow
@pytest.mark.parametrize("given_pruner", ["median", "successive_halving", "hyperband"])
def test_ten_thousand_told_trials_start_a_cell_within_half_a_second(given_pruner: str) -> None:
    pruner = parse(given_pruner)
    few = told(pruner, 40, seed=4)
    history = [FrozenTrial(**{**_parts(few[place % len(few)]), "number": place}) for place in range(10_000)]
    began = time.process_time()
    asked = pickle.loads(pickle.dumps(rule(pruner, 10_000, history)))
    asked.stopped([(step, 1.0) for step in range(EVERY, STEPS + 1, EVERY)])
    assert time.process_time() - began < 0.5


def _parts(trial: FrozenTrial) -> dict[str, Any]:
    names = ("state", "datetime_start", "datetime_complete", "params", "distributions", "user_attrs", "system_attrs", "intermediate_values")
    return {"value": None, "trial_id": -1} | {name: getattr(trial, name) for name in names}
