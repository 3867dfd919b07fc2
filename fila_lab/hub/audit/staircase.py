"""The text height at which a model reads most targets but not all: a staircase over blocks of items.

An up-down method (Levitt 1971, doi 10.1121/1.1912375): smaller text after a block that is mostly right, larger text after one that is not,
in steps that halve at each turn. It settles where either is equally likely, near TARGET of what is left above chance: far enough from the
floor and from the ceiling for a gap to be seen on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

BLOCK = 8
"""Items of one height that are asked together."""
TARGET = 0.65
"""Share above chance, of what there is above it, that a block has to reach for the text to become smaller."""
TURNS = 6
"""Turns at the smallest step after which the height stands: the mean of those heights."""
AT_END = 3
"""Blocks at the greatest (smallest) height that ask for more (less) before the staircase ends there."""
MOST_BLOCKS = 40
RATIO = 1.12
"""Neighbouring heights differ by this factor, and by at least a px."""
FIRST_STEP = 4
"""Heights that are passed over at first."""


@dataclass(frozen=True)
class Settled:
    """What a staircase found. `tried`: height -> (right, asked); `end`: `smallest` or `tallest` where it stopped at an end, else ""."""

    height: int
    tried: dict[int, tuple[int, int]]
    end: str


def heights(smallest: int, tallest: int) -> list[int]:
    """The heights of a staircase, px, ascending."""
    found = [smallest]
    while found[-1] < tallest:
        found.append(min(tallest, max(found[-1] + 1, round(found[-1] * RATIO))))
    return found


def passes(chance: float) -> int:
    """How many of a block's items have to be right for the text to become smaller."""
    return math.ceil(BLOCK * (chance + (1 - chance) * TARGET))


def settle(ask: Callable[[int], int], ladder: list[int], chance: float) -> Settled:
    """Go up and down the ladder of heights; `ask(height)`: how many of a fresh block of items are right."""
    wanted, last = passes(chance), len(ladder) - 1
    place, step, came = last, FIRST_STEP, 0
    tried: dict[int, tuple[int, int]] = {}
    turns: list[int] = []
    at_end = 0
    for _ in range(MOST_BLOCKS):
        number = ask(ladder[place])
        known, asked = tried.get(ladder[place], (0, 0))
        tried[ladder[place]] = (known + number, asked + BLOCK)
        way = -1 if number >= wanted else 1
        if came and way != came:
            turns += [place] if step == 1 else []
            step = max(1, step // 2)
        came = way
        to = min(max(place + way * step, 0), last)
        at_end = at_end + 1 if to == place else 0
        if at_end == AT_END:
            return Settled(ladder[place], tried, "tallest" if way > 0 else "smallest")
        if len(turns) == TURNS:
            break
        place = to
    mean = sum(turns) / len(turns) if turns else place
    return Settled(ladder[round(mean)], tried, "")
