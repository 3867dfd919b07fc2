"""Pruners of a study file: what cannot work is one message before anything runs; what is left out is recorded with its value."""

from __future__ import annotations

import inspect
from typing import Any

import optuna
import pytest
from pydantic import TypeAdapter, ValidationError

from fila_lab.config import ConfigError
from fila_lab.config.pruners import PRUNERS, Pruner, pruner_arguments


def parse(given: Any) -> Any:
    return TypeAdapter(Pruner).validate_python(given)


def test_a_name_stands_for_its_defaults_and_null_for_none() -> None:
    assert parse("median") == parse({"name": "median"})
    assert parse(None) == parse("none")
    assert parse({"name": "median", "n_warmup_steps": 200}).n_warmup_steps == 200


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("none", optuna.pruners.NopPruner),
        ("median", optuna.pruners.MedianPruner),
        ("percentile", optuna.pruners.PercentilePruner),
        ("threshold", optuna.pruners.ThresholdPruner),
        ("successive_halving", optuna.pruners.SuccessiveHalvingPruner),
        ("hyperband", optuna.pruners.HyperbandPruner),
    ],
)
def test_every_argument_of_optunas_is_recorded_by_its_name(name: str, theirs: type) -> None:
    given = {"name": name} | ({"lower": 0.1} if name == "threshold" else {})
    arguments = pruner_arguments(parse(given), steps=600, validate_every=100)
    known = set() if name == "none" else set(inspect.signature(theirs).parameters)
    assert set(arguments) == known
    assert set(PRUNERS) >= {name}


def test_what_the_file_leaves_to_the_run_is_taken_from_its_steps() -> None:
    arguments = pruner_arguments(parse("hyperband"), steps=600, validate_every=100)
    assert (arguments["min_resource"], arguments["max_resource"]) == (100, 600)
    arguments = pruner_arguments(parse({"name": "hyperband", "min_resource": 50, "max_resource": 500}), steps=600, validate_every=100)
    assert (arguments["min_resource"], arguments["max_resource"]) == (50, 500)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("medain", r"unknown pruner 'medain' \(did you mean 'median'\?\); pruners are none, median"),
        ({"n_warmup_steps": 3}, "a pruner without a name"),
        (7, "7|dict"),
        ({"name": "median", "n_warmup_steps": -1}, "n_warmup_steps"),
        ({"name": "median", "n_warmup": 1}, "n_warmup"),
        ({"name": "median", "n_startup_trials": True}, "n_startup_trials"),
        ({"name": "percentile", "percentile": 101.0}, "percentile"),
        ({"name": "threshold"}, "neither is given; give `lower`"),
        ({"name": "threshold", "lower": 0.9, "upper": 0.1}, r"lower = 0\.9 is above upper = 0\.1; swap them"),
        ({"name": "hyperband", "reduction_factor": 1}, "reduction_factor"),
    ],
)
def test_what_is_no_pruner_is_refused_by_name(given: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        parse(given)


@pytest.mark.parametrize(
    ("given", "steps", "every", "said"),
    [
        ("median", 200, 250, r"train\.validate_every=250 of train\.steps=200 .*lower train\.validate_every"),
        ("median", 200, 200, "at the end only"),
        ({"name": "median", "n_warmup_steps": 200}, 200, 50, "n_warmup_steps=200, but a trial has train.steps=200"),
        ({"name": "hyperband", "min_resource": 300}, 200, 50, "min_resource=300"),
        ({"name": "hyperband", "min_resource": 100, "max_resource": 50}, 200, 50, "max_resource=50 is less than min_resource=100"),
    ],
)
def test_a_pruner_that_could_never_stop_is_refused(given: Any, steps: int, every: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        pruner_arguments(parse(given), steps, every)
    assert pruner_arguments(parse("none"), steps, every) == {}
