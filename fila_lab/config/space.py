"""The space of a search: which fields of a run are searched, over what, and under which condition. Torch-free.

A field stands by its dotted path over a list of values, `{low, high, step | log}`, or either of them under an `if` on fields above it:
`{if: {fusion.name: cross_attention}, choices: [1, 2, 4]}`.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin, overload

from pydantic import BaseModel

from fila_lab.config.base import MOST, did_you_mean
from fila_lab.config.overrides import model_of
from fila_lab.config.run import RunConfig

Condition = Mapping[str, tuple[Any, ...]]
"""Path of a field above -> the values of it under which a field is searched; all of them must hold."""
Parameters = dict[str, Any]
"""Dotted path -> value as a study file would give it, of one trial: only the fields that are searched under its other values."""

EDGE = 0.1
"""A chosen value within this share of its range from an end is flagged: the range may be too narrow."""


@dataclass(frozen=True)
class Choices:
    """A field that takes one of some values."""

    values: tuple[Any, ...]
    condition: Condition = field(default_factory=dict)


@dataclass(frozen=True)
class Steps(Sequence[float]):
    """`length` numbers from `low` on, `step` apart."""

    low: float
    step: float
    length: int

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, number: int) -> float: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[float]: ...
    def __getitem__(self, number: int | slice) -> float | Sequence[float]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(self.length))]
        return self.low + range(self.length)[number] * self.step


@dataclass(frozen=True)
class Range:
    """A number between two ends. Whole numbers where the field takes no others, then `step` is 1 unless it is given; but with `fractions`
    any number, whatever the field: a list of two numbers has always meant that."""

    low: float
    high: float
    step: float | None = None
    log: bool = False
    condition: Condition = field(default_factory=dict)
    fractions: bool = False

    def whole(self, path: str) -> bool:
        """Whether it has whole numbers alone, of the field at `path`."""
        return not self.fractions and bool(takes_whole(path))

    def share(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1, on the range's own scale."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low) if value > 0 else 0.0
        return (value - self.low) / (self.high - self.low)

    def at(self, share: float) -> float:
        """The value at a share of the range, 0 to 1, on its own scale."""
        value = self.low * (self.high / self.low) ** share if self.log else self.low + share * (self.high - self.low)
        return min(max(value, self.low), self.high)  # rounding may lead beyond an end

    def points(self, whole: bool) -> Sequence[float] | None:
        """All its values, ascending; None where they cannot be counted. None is made before it is asked for: there may be 10^9."""
        step = self.step or (1 if whole else None)
        if step is None:
            return None
        count = round((self.high - self.low) / step) + 1  # a step leads from low to high
        return range(int(self.low), int(self.low) + count * int(step), int(step)) if whole else Steps(self.low, step, count)


Dimension = Choices | Range
Space = Mapping[str, Dimension]


def parse_space(content: Mapping[str, Any], pairs_are_ranges: bool = False) -> dict[str, Dimension]:
    """The dimensions of a space as a study file gives it, in its order.

    pairs_are_ranges: a list of two numbers is a range on a log scale, which `check_fields` looks at.

    Raises:
        ValueError: naming the field, its value and a remedy.
    """
    if not content:
        raise ValueError(" is empty; name at least one field, e.g. train.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}")
    found: dict[str, Dimension] = {}
    for path, raw in content.items():
        found[path] = _dimension(path, raw, pairs_are_ranges, list(content), found)
    return found


def _dimension(path: str, raw: Any, pairs_are_ranges: bool, order: list[str], above: Space) -> Dimension:
    shown = f"{path} = {_text(raw)}"
    if isinstance(raw, list | tuple):
        if pairs_are_ranges and is_pair(raw):
            return Range(float(raw[0]), float(raw[1]), log=True, fractions=True)
        return Choices(_values(shown, raw))
    if not isinstance(raw, Mapping):
        raise ValueError(f"{shown}: give a list of values, or {{low: ..., high: ...}} with step or log: true")
    known = ("if", "choices") if "choices" in raw else ("if", "low", "high", "step", "log")
    for key in raw:
        if key not in known:
            raise ValueError(f"{shown}: unknown key {key!r}{did_you_mean(str(key), known)}; the keys are {', '.join(known)}")
    condition = _condition(path, raw["if"], order, above) if "if" in raw else {}
    if "choices" in raw:
        if not isinstance(raw["choices"], list | tuple):
            raise ValueError(f"{shown}: choices is no list; give e.g. choices: [1, 2, 4]")
        return Choices(_values(shown, raw["choices"]), condition)
    return _range(shown, raw, condition)


def _values(shown: str, raw: list[Any] | tuple[Any, ...]) -> tuple[Any, ...]:
    if not raw:
        raise ValueError(f"{shown}: there is nothing to choose from; list at least one value, or leave the field out")
    texts = [choice_text(value) for value in raw]
    for number, value in enumerate(raw):
        if texts[number] in texts[:number] or value in raw[:number]:
            raise ValueError(f"{shown}: {texts[number]} stands there twice; list each value once")
    return tuple(raw)


def _range(shown: str, raw: Mapping[str, Any], condition: Condition) -> Range:
    for key in ("low", "high"):
        if key not in raw:
            raise ValueError(f"{shown}: {key} is missing; give low and high, or a list of values")
    low, high, step, log = raw["low"], raw["high"], raw.get("step"), raw.get("log", False)
    for key, value in (("low", low), ("high", high), *([("step", step)] if step is not None else [])):
        if not _is_number(value):
            raise ValueError(f"{shown}: {key} = {repr(value)[:80]} is no number; give one, or a list of values")
    if not isinstance(log, bool):
        raise ValueError(f"{shown}: log = {log!r}; give true or false")
    if not low < high:
        raise ValueError(f"{shown}: low = {low:g} is not below high = {high:g}; swap them, or fix the value in sweep.set")
    if log and low <= 0:
        raise ValueError(f"{shown}: a log scale begins above zero, not at low = {low:g}; raise low, or leave log out")
    if step is None:
        return Range(low, high, None, log, condition)
    if log:
        raise ValueError(f"{shown}: step and log are both given; leave one of them out")
    if step <= 0:
        raise ValueError(f"{shown}: step = {step:g} is not above zero; give a positive step")
    steps = (high - low) / step
    if steps > MOST:
        raise ValueError(f"{shown}: step = {step:g} makes {steps:.3g} values, more than {MOST}; choose a larger step, or leave it out")
    if abs(steps - round(steps)) > 1e-6 or round(steps) < 1:
        near = low + max(1, round(steps)) * step
        raise ValueError(f"{shown}: step = {step:g} does not lead from low to high; choose a step that fits, or high = {near:g}")
    return Range(low, high, step, log, condition)


def _condition(path: str, raw: Any, order: list[str], above: Space) -> Condition:
    shown = f"{path}.if = {_text(raw)}"
    if not isinstance(raw, Mapping) or not raw:
        raise ValueError(f"{shown}: give a mapping of fields to values, e.g. if: {{fusion.name: cross_attention}}")
    found: dict[str, tuple[Any, ...]] = {}
    for other, wanted in raw.items():
        if other not in above:
            remedy = (
                f"move {other} above {path}"
                if other in order and other != path
                else f"a condition names a field above it{_near(other, above)}"
            )
            raise ValueError(f"{shown}: {other} is not searched above {path}; {remedy}")
        one = above[other]
        if isinstance(one, Range):
            raise ValueError(f"{shown}: {other} is searched over a range; a condition needs a list of values there")
        known = [choice_text(value) for value in one.values]
        # A list stands for several values, unless it is itself one of the field's.
        values = list(wanted) if isinstance(wanted, list | tuple) and choice_text(wanted) not in known else [wanted]
        for value in values:
            if choice_text(value) not in known:
                near = did_you_mean(value, one.values) if isinstance(value, str) and all(isinstance(v, str) for v in one.values) else ""
                raise ValueError(f"{shown}: {_text(value)} is none of the values of {other}{near}; choose {', '.join(known)}")
        if not values:
            raise ValueError(f"{shown}: {other} has no value; the field would never be searched")
        found[other] = tuple(values)
    return found


def _near(other: str, above: Space) -> str:
    return f"{did_you_mean(other, above)}; there are {', '.join(above)}" if above else ", and there is none"


def is_pair(value: Any) -> bool:
    """Whether this is a list of two numbers."""
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    """Whether this is a finite number, of a size that a float can have."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def choice_text(value: Any) -> str:
    """A value as JSON: two values are one where their texts are, lists and tuples alike."""
    return json.dumps(value, sort_keys=True, default=str)


def values_text(parameters: Mapping[str, Any]) -> str:
    """Values of searched fields in short: each behind the last key of its path, that left out where it is `name`."""
    told = []
    for path, value in parameters.items():
        text = value if isinstance(value, str) else f"{value:.3g}" if isinstance(value, float) else choice_text(value)
        key = path.rpartition(".")[2]
        told.append(text if key == "name" else f"{key} {text}")
    return ", ".join(told)


def _text(value: Any) -> str:
    text = choice_text(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def is_active(dimension: Dimension, chosen: Mapping[str, Any]) -> bool:
    """Whether a field is searched, given the values of those above it."""
    return all(
        path in chosen and choice_text(chosen[path]) in [choice_text(value) for value in values]
        for path, values in dimension.condition.items()
    )


def takes_whole(path: str) -> bool | None:
    """Whether the field of a run takes whole numbers alone; None where it takes no numbers, or is no field."""
    annotation: Any = RunConfig
    for part in path.split("."):
        model = model_of(annotation)
        if model is not None:
            if part not in model.model_fields:
                return None
            annotation = model.model_fields[part].annotation
        elif get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        else:
            return None
    kinds = set(_plain(annotation))
    return None if not kinds & {int, float} else float not in kinds


def _plain(annotation: Any) -> Iterator[Any]:
    """The classes that an annotation's values may have, those of lists apart."""
    if get_origin(annotation) in (tuple, list, dict):
        return
    if isinstance(annotation, type) and not issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _plain(part)


def values_of(path: str, dimension: Dimension) -> Sequence[Any] | None:
    """All values a field can take; None where they cannot be counted."""
    return dimension.values if isinstance(dimension, Choices) else dimension.points(dimension.whole(path))
