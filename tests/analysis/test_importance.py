"""Importance of searched fields: what drives the values stands out, and noise is seen to be noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fila_lab.analysis.importance import FEWEST, MOST, importances
from fila_lab.config.space import parse_space

SPACE = parse_space(
    {
        "fusion.name": ["none", "concat", "cross_attention"],
        "fusion.depth": ["last", [[3, 4]]],
        "fusion.heads": {"if": {"fusion.name": "cross_attention"}, "choices": [1, 2]},
        "train.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    }
)


def trials(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        own: dict[str, Any] = {"fusion.name": ("none", "concat", "cross_attention")[rng.integers(3)]}
        own["fusion.depth"] = ("last", [[3, 4]])[rng.integers(2)]
        if own["fusion.name"] == "cross_attention":
            own["fusion.heads"] = int(rng.integers(1, 3))
        found.append(own | {"train.learning_rate": float(10 ** rng.uniform(-4, -2))})
    return found


def test_the_field_that_drives_the_values_is_above_noise_and_the_others_are_not() -> None:
    parameters = trials(40)
    rng = np.random.default_rng(2)
    values = [float(own["fusion.name"] == "none") + 0.1 * rng.normal() for own in parameters]
    table = importances(parameters, values, SPACE, shuffles=1).set_index("parameter")
    assert list(table.index) == list(SPACE)
    assert table["importance"].max() == table["importance"].iloc[0] > 0.8
    assert table["above_noise"].tolist() == [True, False, False, False]
    assert table.at["fusion.heads", "trials"] == sum("fusion.heads" in own for own in parameters) < 40
    assert (table["shuffled_mean"] <= table["shuffled_most"]).all()


def test_nothing_is_said_of_few_trials_equal_values_and_fields_that_did_not_vary() -> None:
    few = importances(trials(FEWEST - 1), list(range(FEWEST - 1)), SPACE, shuffles=1)
    assert few["importance"].isna().all()
    assert not few["above_noise"].any()
    parameters = [own | {"fusion.depth": "last"} for own in trials(20)]
    assert importances(parameters, [0.5] * 20, SPACE, shuffles=1)["importance"].isna().all()
    table = importances(parameters, [own["train.learning_rate"] for own in parameters], SPACE, shuffles=1).set_index("parameter")
    assert table["importance"].isna().tolist() == [False, True, True, False]
    assert table["importance"].idxmax() == "train.learning_rate"


def test_a_field_that_is_active_under_a_condition_is_judged_where_it_is() -> None:
    parameters = trials(60)
    values = [float(own.get("fusion.heads", 1)) for own in parameters]
    table = importances(parameters, values, SPACE, shuffles=1).set_index("parameter")
    assert table.at["fusion.heads", "importance"] == pytest.approx(1, abs=0.2)
    assert table.at["fusion.heads", "above_noise"]


@pytest.mark.slow
def test_of_very_many_trials_some_are_drawn() -> None:
    parameters = trials(MOST + 50)
    values = [own["train.learning_rate"] for own in parameters]
    table = importances(parameters, values, SPACE, shuffles=1).set_index("parameter")
    assert table["trials"].max() == MOST
    assert table["importance"].idxmax() == "train.learning_rate"
