"""Points in several objectives against definitions: pairs for dominance, inclusion and exclusion for volumes, all resamples."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fila_lab.analysis import front

DIRECTIONS = ("maximize", "minimize")


def points(width: int, most: int = 7) -> st.SearchStrategy[list[tuple[int, ...]]]:
    """Whole numbers from a small range, so that ties and equal points are common."""
    return st.lists(st.tuples(*[st.integers(0, 4)] * width), min_size=1, max_size=most)


def cases(most: int = 7) -> st.SearchStrategy[tuple[list[tuple[int, ...]], tuple[str, ...]]]:
    return st.integers(1, 4).flatmap(lambda width: st.tuples(points(width, most), st.tuples(*[st.sampled_from(DIRECTIONS)] * width)))


def better(a: float, b: float, direction: str) -> bool:
    return a > b if direction == "maximize" else a < b


def dominates(a: Any, b: Any, directions: tuple[str, ...]) -> bool:
    at_least = all(not better(y, x, d) for x, y, d in zip(a, b, directions, strict=True))
    return at_least and any(better(x, y, d) for x, y, d in zip(a, b, directions, strict=True))


def union_of_boxes(values: Any, directions: tuple[str, ...], reference: Any) -> float:
    """Inclusion and exclusion over all sets of points."""
    gains = [[(v - r) if d == "maximize" else (r - v) for v, r, d in zip(point, reference, directions, strict=True)] for point in values]
    gains = [gain for gain in gains if min(gain) > 0]
    total = 0.0
    for size in range(1, len(gains) + 1):
        for group in itertools.combinations(gains, size):
            total += (-1) ** (size + 1) * float(np.prod(np.min(group, axis=0)))
    return total


@settings(max_examples=60, deadline=None)
@given(cases(most=12))
def test_a_point_is_on_the_front_when_no_other_dominates_it(case: Any) -> None:
    values, directions = case
    expected = [not any(dominates(other, point, directions) for other in values) for point in values]
    assert front.non_dominated(values, directions).tolist() == expected
    for point in values:
        assert front.dominators(values, directions, point).tolist() == [dominates(other, point, directions) for other in values]


@settings(max_examples=60, deadline=None)
@given(cases())
def test_hypervolume_is_the_union_of_the_boxes(case: Any) -> None:
    values, directions = case
    reference = front.reference_point(values, directions)
    worst = [min(column) if d == "maximize" else max(column) for column, d in zip(zip(*values, strict=True), directions, strict=True)]
    assert all(better(w, r, d) for w, r, d in zip(worst, reference, directions, strict=True)), "every point adds something"
    volume = front.hypervolume(values, directions, reference)
    assert volume == pytest.approx(union_of_boxes(values, directions, reference))
    on_front = front.non_dominated(values, directions)
    assert volume == pytest.approx(front.hypervolume(np.array(values)[on_front], directions, reference)), "dominated points add nothing"
    assert 0 < volume <= front.box(values, directions, reference) * (1 + 1e-12)
    nearer = [(r + w) / 2 if d == "maximize" else w for r, w, d in zip(reference, worst, directions, strict=True)]
    assert front.hypervolume(values, directions, nearer) == pytest.approx(union_of_boxes(values, directions, nearer)), "on the border"


@settings(max_examples=40, deadline=None)
@given(cases())
def test_the_history_is_the_hypervolume_of_each_beginning(case: Any) -> None:
    values, directions = case
    reference = front.reference_point(values, directions)
    expected = [front.hypervolume(values[:end], directions, reference) for end in range(1, len(values) + 1)]
    assert front.hypervolume_history(values, directions, reference) == pytest.approx(expected)


def test_many_points_in_four_objectives_agree_with_random_points() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((40, 4))
    volume = front.hypervolume(values, ("minimize",) * 4, (1.0,) * 4)
    drawn = rng.random((40_000, 4))
    inside = np.any(np.all(drawn[:, None] >= values[None], axis=2), axis=1)
    assert volume == pytest.approx(inside.mean(), abs=4 * inside.std() / 200)


def test_what_is_no_finite_number_is_on_no_front() -> None:
    values = [(0.5, 1.0), (float("nan"), 0.0), (0.9, float("inf")), (0.4, 2.0)]
    assert front.non_dominated(values, ("maximize", "minimize")).tolist() == [True, False, False, False]
    assert front.dominators(values, ("maximize", "minimize"), (0.45, 3.0)).tolist() == [True, False, False, False]
    assert front.hypervolume_history(values, ("maximize", "minimize"), (0.0, 3.0)) == pytest.approx([1.0, 1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="no point has only finite values"):
        front.reference_point([(float("nan"),)], ("maximize",))
    with pytest.raises(ValueError, match="neither 'maximize' nor 'minimize'"):
        front.non_dominated(values, ("up", "minimize"))


def test_the_shortfall_is_what_a_point_lacks_in_the_first_objective() -> None:
    values = [(0.9, 10.0), (0.7, 5.0)]
    assert front.shortfall(values, ("maximize", "minimize"), (0.6, 12.0)) == pytest.approx(0.3)
    assert front.shortfall(values, ("maximize", "minimize"), (0.6, 6.0)) == pytest.approx(0.1)
    assert front.shortfall(values, ("maximize", "minimize"), (0.6, 4.0)) == 0
    assert front.shortfall([(10.0, 0.9)], ("minimize", "maximize"), (12.0, 0.6)) == pytest.approx(2.0)


def test_shares_are_those_of_every_resample_of_the_seeds() -> None:
    seeds = np.array([[0.60, 0.71, 0.65], [0.66, 0.64, 0.68], [0.50, 0.52, 0.51], [0.65, 0.66, 0.66]])
    costs = np.array([2.0, 2.0, 1.0, 3.0])
    directions = ("maximize", "minimize")
    resamples = list(itertools.product(range(3), repeat=3))
    expected = np.zeros(4)
    for drawn in resamples:
        values = [(float(own[list(drawn)].mean()), cost) for own, cost in zip(seeds, costs, strict=True)]
        # Means of the same numbers in another order differ in their last bit.
        values = [(round(mean, 12), cost) for mean, cost in values]
        expected += [not any(dominates(other, point, directions) for other in values) for point in values]
    weights = [np.bincount(drawn, minlength=3) for drawn in resamples]
    means = front.mean_draws(seeds, weights)
    draws = np.stack([means, np.broadcast_to(costs, means.shape)], axis=2)
    assert front.front_shares(draws, directions) == pytest.approx(expected / len(resamples))
    assert 0 < expected[0] < len(resamples)
    assert expected[2] == len(resamples)


def test_rounds_are_drawn_side_by_side() -> None:
    rounds = np.add.outer([0.0, 0.5], [1.0, 2.0, 9.0, 4.0, 5.0])
    drawn = front.median_draws(rounds, 200, np.random.default_rng(0))
    assert drawn.shape == (200, 2)
    assert (drawn[:, 1] - drawn[:, 0]) == pytest.approx(0.5)
    assert len(set(drawn[:, 0])) > 1
    assert drawn[:, 0].mean() == pytest.approx(np.median(rounds[0]), abs=0.8)
