"""The points of a search's space: how many there are, all of them, some that stand for all, its middle, and a grid. Torch-free."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fila_lab.config.base import ConfigError
from fila_lab.config.overrides import flat_overrides
from fila_lab.config.run import RunConfig
from fila_lab.config.space import Choices, Dimension, Parameters, Range, Space, is_active, takes_whole, values_of


def space_size(space: Space) -> float:
    """How many trials differ; infinite where some field takes any number between two ends."""
    return _count(list(space.items()), {}, {other for one in space.values() for other in one.condition})


def _count(left: list[tuple[str, Dimension]], chosen: dict[str, Any], asked: set[str]) -> float:
    if not left:
        return 1
    (path, dimension), *rest = left
    if not is_active(dimension, chosen):
        return _count(rest, chosen, asked)
    values = values_of(path, dimension)
    if path in asked:
        assert values is not None
        return sum(_count(rest, {**chosen, path: value}, asked) for value in values)
    return (math.inf if values is None else len(values)) * _count(rest, chosen, asked)


def combinations(space: Space, values: Mapping[str, Sequence[Any]]) -> Iterator[Parameters]:
    """Every combination of `values` (one entry a field of the space), the last field fastest, each once: a field that is not searched
    under the values above it is left out."""
    return _combine(list(space.items()), {}, values)


def _combine(left: list[tuple[str, Dimension]], chosen: Parameters, values: Mapping[str, Sequence[Any]]) -> Iterator[Parameters]:
    if not left:
        yield chosen
        return
    (path, dimension), *rest = left
    if not is_active(dimension, chosen):
        yield from _combine(rest, chosen, values)
        return
    for value in values[path]:
        yield from _combine(rest, {**chosen, path: value}, values)


def examples(space: Space) -> dict[str, tuple[Any, ...]]:
    """A few values of each field that stand for all: every choice, both ends of a range."""
    return {path: one.values if isinstance(one, Choices) else _ends(path, one) for path, one in space.items()}


def _ends(path: str, one: Range) -> tuple[float, ...]:
    return (int(one.low), int(one.high)) if one.whole(path) else (float(one.low), float(one.high))


def middle(space: Space) -> Parameters | None:
    """The middle of every range on its own scale; None where some field has choices, which have no middle, or a condition."""
    found: Parameters = {}
    for path, one in space.items():
        if not isinstance(one, Range) or one.condition:
            return None
        values = one.points(one.whole(path))
        centre = math.sqrt(one.low * one.high) if one.log else (one.low + one.high) / 2
        found[path] = centre if values is None else _nearest(values, centre)
    return found


def _nearest(values: Sequence[float], wanted: float) -> float:
    """Of ascending values the nearest; of two the lower one."""
    place = bisect.bisect_left(values, wanted)
    return min(values[max(0, place - 1) : place + 1], key=lambda value: abs(value - wanted))


def grid_size(space: Space, trials: int) -> int:
    """How many combinations `grid_points` looks through, at most."""
    free = [path for path, one in space.items() if values_of(path, one) is None]
    others = math.prod(len(values) for path, one in space.items() if (values := values_of(path, one)) is not None)
    return others * _axis(trials, others, len(free)) ** len(free) if free else min(trials, others)


def _axis(trials: int, others: int, free: int) -> int:
    """How many points a range of any number gets."""
    return max(2, math.ceil((trials / others) ** (1 / free)))


def grid_points(space: Space, trials: int) -> list[Parameters]:
    """All combinations, each once, at most `trials` of them. Ranges that take any number get equally many points, ends included, as many
    as it takes to come to `trials`; these run from the middle outwards."""
    free = [path for path, one in space.items() if values_of(path, one) is None]
    fixed = {path: values for path, one in space.items() if (values := values_of(path, one)) is not None}
    count = _axis(trials, math.prod(len(values) for values in fixed.values()), len(free)) if free else 0
    axes = {path: tuple(_point(space[path], number, count) for number in range(count)) for path in free}
    away = {path: {value: abs(2 * number / (count - 1) - 1) for number, value in enumerate(axes[path])} for path in free}

    def distance(point: Parameters) -> float:
        return sum(away[path][point[path]] for path in free if path in point)

    every = combinations(space, {**fixed, **axes})
    return sorted(every, key=distance)[:trials] if free else list(itertools.islice(every, trials))


def _point(one: Dimension, number: int, count: int) -> float:
    assert isinstance(one, Range)
    return one.at(number / (count - 1))


def check_fields(space: Space, where: str) -> None:
    """Refuse what is no field, a seed, a range of what takes no numbers or no fractions, and one field that two entries set. Whether a
    field takes a range of `fractions` is seen when it is tried.

    Raises:
        ConfigError: `where` the space stands, the field, its value, and a remedy.
    """
    for path, one in space.items():
        if path == "seed" or path == "preset":
            remedy = "list seeds in run_seeds and in the budgets" if path == "seed" else "name it as the study's preset"
            raise ConfigError(f"{where}.{path}: the {path} of a run is not searched; {remedy}")
        if not isinstance(one, Range):
            continue
        if one.fractions:
            if not 0 < one.low < one.high:
                raise ConfigError(f"{where}.{path} = [{one.low:g}, {one.high:g}]: give 0 < low < high (the search is on a log scale)")
            continue
        whole, shown = takes_whole(path), f"{where}.{path} = {{low: {one.low:g}, high: {one.high:g}}}"
        if whole is None:
            flat_overrides({path: one.low}, RunConfig, where)  # an unknown field is told as such
            raise ConfigError(f"{shown}: {path} takes no numbers in between; list its values instead")
        if whole and any(not float(number).is_integer() for number in (one.low, one.high, one.step or 1)):
            raise ConfigError(f"{shown}: {path} takes whole numbers; give whole ends, and a whole step")
    several = {path: values for path, values in examples(space).items() if not _any_number(space[path])}
    for path, values in several.items():
        others = {other: own[0] for other, own in several.items() if other != path}
        for value in values:
            flat_overrides({**others, path: value}, RunConfig, where)


def _any_number(one: Dimension) -> bool:
    return isinstance(one, Range) and one.fractions
