"""The search for a text height, on readers whose chance of being right at each height is known."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from fila_lab.hub.audit.staircase import AT_END, BLOCK, heights, passes, settle

LADDER = heights(4, 56)


def reader(right: Callable[[int], float], seed: int) -> Callable[[int], int]:
    draw = np.random.default_rng(seed)
    return lambda height: int(draw.binomial(BLOCK, right(height)))


def rising(middle: float, chance: float = 0.0) -> Callable[[int], float]:
    """Chance below, nearly always right above, half way at `middle`; from a quarter to three quarters within a third of it."""
    return lambda height: chance + (0.97 - chance) / (1 + np.exp(-3.3 * np.log(height / middle) / np.log(4 / 3)))


def test_heights_ascend_by_a_tenth_or_a_pixel_from_end_to_end() -> None:
    assert LADDER[:5] == [4, 5, 6, 7, 8]
    assert LADDER[-1] == 56
    assert all(a < b <= max(a + 1, 1.13 * a + 0.5) for a, b in pairwise(LADDER))
    assert heights(4, 4) == [4]


@pytest.mark.parametrize("chance", [0.01, 0.2, 0.5])
@pytest.mark.parametrize("middle", [8, 14, 30])
def test_it_settles_where_a_reader_is_right_mostly_but_not_always(chance: float, middle: float) -> None:
    curve = rising(middle, chance)
    found = [settle(reader(curve, seed), LADDER, chance) for seed in range(40)]
    above = np.array([(curve(one.height) - chance) / (1 - chance) for one in found])
    assert 0.5 < above.mean() < 0.85
    assert np.mean((above > 0.3) & (above < 0.95)) > (0.8 if chance == 0.5 else 0.9)  # guesses that are right add noise
    assert {one.end for one in found} == {""}
    assert np.mean([len(one.tried) for one in found]) < 15


def test_what_was_tried_is_counted() -> None:
    asked: list[int] = []

    def ask(height: int) -> int:
        asked.append(height)
        return BLOCK if height > 10 else 0

    found = settle(ask, LADDER, 0.0)
    assert {height: total // BLOCK for height, (_, total) in found.tried.items()} == {height: asked.count(height) for height in asked}
    assert all((right == total) == (height > 10) for height, (right, total) in found.tried.items())
    assert abs(found.height - 10.5) <= 1


def test_who_cannot_read_is_asked_at_the_greatest_height_alone() -> None:
    found = settle(lambda height: 0, LADDER, 0.01)
    assert (found.height, found.end) == (56, "tallest")
    assert found.tried == {56: (0, AT_END * BLOCK)}


def test_who_always_reads_ends_at_the_smallest_height() -> None:
    found = settle(lambda height: BLOCK, LADDER, 0.01)
    assert (found.height, found.end) == (4, "smallest")


def test_one_height_alone() -> None:
    assert settle(lambda height: 0, [9], 0.0).end == "tallest"
    assert settle(lambda height: BLOCK, [9], 0.0).end == "smallest"


def test_a_guess_that_is_often_right_has_to_be_right_more_often() -> None:
    assert [passes(chance) for chance in (0.0, 0.25, 0.5)] == [6, 6, 7]
