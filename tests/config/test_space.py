"""The space of a search: its grammar, its size, its combinations, and what it is refused for."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from fila_lab.config import ConfigError
from fila_lab.config.space import Choices, Range, is_active, parse_space, takes_whole, values_of
from fila_lab.config.space_points import check_fields, combinations, examples, grid_points, middle, space_size

HEADS = {"if": {"fusion.name": ["cross_attention", "bidirectional"]}, "choices": [1, 2, 4]}
SPACE: dict[str, Any] = {
    "fusion.name": ["concat", "cross_attention", "bidirectional"],
    "fusion.depth": ["last", [[3, 12], [4, 20]]],
    "fusion.heads": HEADS,
    "geometry.detail_cells": {"if": {"fusion.heads": 4}, "low": 2, "high": 6, "step": 2},
}


def every(space: dict[str, Any]) -> list[dict[str, Any]]:
    dimensions = parse_space(space)
    values = {path: values_of(path, one) for path, one in dimensions.items()}
    return list(combinations(dimensions, {path: one for path, one in values.items() if one is not None}))


def test_the_grammar() -> None:
    made = parse_space({**SPACE, "train.weight_decay": {"low": 0, "high": 0.1}, "train.steps": {"low": 10, "high": 1000, "log": True}})
    assert made["fusion.depth"] == Choices(("last", [[3, 12], [4, 20]]))
    assert made["fusion.heads"].condition == {"fusion.name": ("cross_attention", "bidirectional")}
    assert made["geometry.detail_cells"] == Range(2, 6, 2, False, {"fusion.heads": (4,)})
    assert made["train.weight_decay"] == Range(0, 0.1), "zero is allowed on a linear scale"
    assert made["train.steps"] == Range(10, 1000, log=True)
    pair = parse_space({"train.learning_rate": [1e-4, 1e-2]}, pairs_are_ranges=True)["train.learning_rate"]
    assert pair == Range(1e-4, 1e-2, log=True, fractions=True)
    assert parse_space({"train.learning_rate": [1e-4, 1e-2]})["train.learning_rate"] == Choices((1e-4, 1e-2))


def test_combinations_are_all_active_ones_each_once() -> None:
    found = every(SPACE)
    assert len(found) == space_size(parse_space(SPACE)) == 2 * (1 + 2 * (2 + 3))
    assert len({str(one) for one in found}) == len(found)
    for one in found:
        for path, dimension in parse_space(SPACE).items():
            assert (path in one) == is_active(dimension, one)
    assert grid_points(parse_space(SPACE), 1000) == found
    assert grid_points(parse_space(SPACE), 5) == found[:5]
    assert space_size(parse_space({**SPACE, "train.weight_decay": {"low": 0, "high": 1}})) == math.inf


def test_a_grid_gives_ranges_as_many_points_as_it_takes() -> None:
    space = parse_space({"fusion.name": ["none", "concat"], "train.weight_decay": {"low": 0, "high": 0.4}})
    points = grid_points(space, 10)
    assert sorted({point["train.weight_decay"] for point in points}) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert [point["train.weight_decay"] for point in points[:2]] == pytest.approx([0.2, 0.2]), "from the middle outwards"


@pytest.mark.parametrize(("path", "whole"), [
    ("train.steps", True), ("geometry.whole_image", True), ("train.weight_decay", False), ("data.seam.tasks.reading", False),
    ("fusion.depth", None), ("fusion.name", None), ("fusion.gate", None), ("train.nothing", None), ("geometry.tiling.overlap", True),
])  # fmt: skip
def test_a_range_is_of_whole_numbers_where_the_field_is(path: str, whole: bool | None) -> None:
    assert takes_whole(path) is whole


def test_the_middle_of_ranges_lies_on_their_own_scale() -> None:
    space = {"train.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "train.weight_decay": {"low": 0.0, "high": 0.2}}
    steps = {"train.steps": {"low": 100, "high": 300, "step": 50}}
    assert middle(parse_space({**space, **steps})) == pytest.approx(
        {"train.learning_rate": 1e-3, "train.weight_decay": 0.1, "train.steps": 200}
    )
    assert middle(parse_space({**space, "fusion.name": ["none", "concat"]})) is None


def test_values_of_a_range_are_not_made_before_they_are_asked_for() -> None:
    steps, decay = {"low": 1, "high": 2**31 - 1}, {"low": 0, "high": 1, "step": 1e-9}
    space = parse_space({"train.steps": steps, "train.weight_decay": decay})
    assert space_size(space) == (2**31 - 1) * (10**9 + 1)
    assert middle(space) == pytest.approx({"train.steps": 2**30, "train.weight_decay": 0.5})
    assert [point["train.weight_decay"] for point in grid_points(space, 3)] == pytest.approx([0, 1e-9, 2e-9])
    fine = values_of("train.weight_decay", space["train.weight_decay"])
    assert fine is not None
    assert list(fine[-2:]) == pytest.approx([1 - 1e-9, 1])


def test_of_two_values_that_are_as_near_the_middle_is_the_lower_one() -> None:
    space = {"train.steps": {"low": 1, "high": 4}, "train.weight_decay": {"low": 0, "high": 0.3, "step": 0.1}}
    assert middle(parse_space(space)) == pytest.approx({"train.steps": 2, "train.weight_decay": 0.1})


def test_examples_are_every_choice_and_both_ends() -> None:
    assert examples(parse_space({"train.steps": {"low": 10, "high": 90}, "fusion.name": ["none"]})) == {
        "train.steps": (10, 90),
        "fusion.name": ("none",),
    }


@pytest.mark.parametrize(("space", "words"), [
    ({}, "is empty; name at least one field"),
    ({"fusion.name": []}, "fusion.name = []: there is nothing to choose from"),
    ({"fusion.name": "concat"}, 'fusion.name = "concat": give a list of values'),
    ({"fusion.name": ["a", "b", "a"]}, 'fusion.name = ["a", "b", "a"]: "a" stands there twice'),
    ({"fusion.depth": [[[3, 2]], [[3, 2]]]}, "[[3, 2]] stands there twice"),
    ({"train.steps": {"low": 5}}, "high is missing; give low and high"),
    ({"train.steps": {"low": 5, "high": 5}}, "low = 5 is not below high = 5; swap them"),
    ({"train.steps": {"low": 9, "high": 5}}, "low = 9 is not below high = 5"),
    ({"train.steps": {"low": "5", "high": 9}}, "low = '5' is no number"),
    ({"train.steps": {"low": True, "high": 9}}, "low = True is no number"),
    ({"train.steps": {"low": 1, "high": float("inf")}}, "high = inf is no number"),
    ({"train.steps": {"low": 1, "high": 10**400}}, "high = 1000"),
    ({"train.weight_decay": {"low": 0, "high": 1, "step": 1e-12}}, "step = 1e-12 makes 1e+12 values, more than 2147483647"),
    ({"train.weight_decay": {"low": 0, "high": 1e300, "step": 1e-300}}, "step = 1e-300 makes inf values"),
    ({"train.weight_decay": {"low": 0, "high": 1, "log": True}}, "a log scale begins above zero, not at low = 0"),
    ({"train.weight_decay": {"low": 1, "high": 2, "log": "yes"}}, "log = 'yes'; give true or false"),
    ({"train.steps": {"low": 2, "high": 9, "step": 3}}, "step = 3 does not lead from low to high; choose a step that fits, or high = 8"),
    ({"train.steps": {"low": 2, "high": 9, "step": 0}}, "step = 0 is not above zero"),
    ({"train.steps": {"low": 2, "high": 4, "step": 1, "log": True}}, "step and log are both given"),
    ({"train.steps": {"low": 2, "high": 4, "stepp": 1}}, "unknown key 'stepp' (did you mean 'step'?); the keys are if, low, high"),
    ({"train.steps": {"choices": 3}}, "choices is no list"),
    ({"fusion.heads": HEADS, "fusion.name": ["cross_attention", "bidirectional"]}, "move fusion.name above fusion.heads"),
    ({"fusion.heads": HEADS}, "fusion.name is not searched above fusion.heads; a condition names a field above it, and there is none"),
    ({"fusion.name": ["a"], "x": {"if": {"fusion.nam": "a"}, "choices": [1]}}, "(did you mean 'fusion.name'?); there are fusion.name"),
    ({"fusion.name": ["concat"], "x": {"if": {"fusion.name": "conct"}, "choices": [1]}}, "\"conct\" is none of the values of fusion.name"),
    ({"train.steps": {"low": 1, "high": 2}, "x": {"if": {"train.steps": 1}, "choices": [1]}}, "train.steps is searched over a range"),
    ({"fusion.name": ["a"], "x": {"if": "a", "choices": [1]}}, "give a mapping of fields to values"),
    ({"fusion.name": ["a"], "x": {"if": {"fusion.name": []}, "choices": [1]}}, "has no value; the field would never be searched"),
])  # fmt: skip
def test_what_is_no_space_is_refused(space: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        parse_space(space)
    assert words in str(error.value)


@pytest.mark.parametrize(("space", "words"), [
    ({"fusion.nam": ["none"]}, "sweep.space: unknown key 'fusion.nam' (did you mean 'name'?)"),
    ({"fusion.nam": {"low": 1, "high": 2}}, "sweep.space: unknown key 'fusion.nam' (did you mean 'name'?)"),
    ({"seed": [1, 2]}, "sweep.space.seed: the seed of a run is not searched; list seeds in run_seeds"),
    ({"preset": ["mini", "base"]}, "sweep.space.preset: the preset of a run is not searched"),
    ({"train.steps": {"low": 1.5, "high": 2}}, "sweep.space.train.steps = {low: 1.5, high: 2}: train.steps takes whole numbers"),
    ({"train.steps": {"low": 1, "high": 2, "step": 0.5}}, "train.steps takes whole numbers; give whole ends, and a whole step"),
    ({"fusion.name": {"low": 1, "high": 2}}, "fusion.name takes no numbers in between; list its values instead"),
    ({"geometry.tiling": [{"overlap": 1}], "geometry.tiling.overlap": [0, 1]}, "sweep.space: geometry.tiling.overlap is set twice"),
])  # fmt: skip
def test_what_is_no_field_of_a_run_is_refused(space: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_fields(parse_space(space), "sweep.space")
    assert words in str(error.value)


def test_conditions_hold_together() -> None:
    space = parse_space({"a": [1, 2], "b": [[1], [2, 3]], "c": {"if": {"a": [1], "b": [2, 3]}, "choices": [True, None]}})
    active = [one for one in combinations(space, {path: values_of(path, d) or () for path, d in space.items()}) if "c" in one]
    assert [tuple(one.values()) for one in active] == list(itertools.product([1], [[2, 3]], [True, None])), "a list may be a value itself"
