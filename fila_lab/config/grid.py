"""Crossed factors of a study: a grid of levels that expands into named arms."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from fila_lab.config.base import Strict, did_you_mean

Factors = dict[str, dict[str, str]]
"""Arm -> factor -> level."""


class Grid(Strict):
    """Every combination of levels is an arm, named by its levels joined with `-`, e.g. `concat-last-k2`.

    A factor is a list of values, then its name is the dotted path they are set at; or a mapping from level to overrides, then a level may
    set several fields (a fusion with its own learning rate, say).
    """

    factors: dict[str, dict[str, dict[str, Any]]] = Field(min_length=1, description="a list of values, or level -> overrides")
    leave_out: tuple[dict[str, tuple[str, ...]], ...] = Field(
        default=(), description="combinations that cannot be: each entry names levels of some factors, one or a list"
    )

    @field_validator("factors", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """A list of values becomes levels named by their values."""
        if not isinstance(value, Mapping):
            return value
        return {factor: _levels(str(factor), levels) if isinstance(levels, list | tuple) else levels for factor, levels in value.items()}

    @field_validator("leave_out", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """One level stands for a list of one; levels are names, so `k: 2` is level '2'."""
        if not isinstance(value, list | tuple):
            return value
        return [
            {key: [str(level) for level in (levels if isinstance(levels, list | tuple) else [levels])] for key, levels in entry.items()}
            if isinstance(entry, Mapping)
            else entry
            for entry in value
        ]

    @model_validator(mode="after")
    def _check(self) -> Grid:
        for factor, levels in self.factors.items():
            if len(levels) < 2:
                raise ValueError(f"factors.{factor} has {len(levels)} level; a factor needs two, or belongs into `set`")
        for entry in self.leave_out:
            for factor, left in entry.items():
                if factor not in self.factors:
                    raise ValueError(f"leave_out: {_unknown('factor', factor, self.factors)}")
                for level in left:
                    if level not in self.factors[factor]:
                        raise ValueError(f"leave_out: {factor}: {_unknown('level', level, self.factors[factor])}")
        if not any(True for _ in self.combinations()):
            raise ValueError("leave_out leaves no combination; remove an entry")
        return self

    def combinations(self) -> Iterator[dict[str, str]]:
        """Factor -> level of every combination that is not left out, the last factor fastest."""
        for levels in itertools.product(*self.factors.values()):
            chosen = dict(zip(self.factors, levels, strict=True))
            if not any(all(chosen[factor] in left for factor, left in entry.items()) for entry in self.leave_out):
                yield chosen

    def overrides(self, chosen: Mapping[str, str]) -> dict[str, Any]:
        """What the levels of a combination set together, later factors last."""
        merged: dict[str, Any] = {}
        for factor, level in chosen.items():
            merged |= self.factors[factor][level]
        return merged


def expand(content: Any) -> Any:
    """A study's raw content with its grid's arms beside the declared ones, and `factors` saying which arm has which levels.

    An arm declared under a combination's name adds to it: label, role, match, further overrides. A grid that is not valid is left for the
    model to refuse, field by field.
    """
    if not isinstance(content, Mapping) or not content.get("grid"):
        return content
    try:
        grid = content["grid"] if isinstance(content["grid"], Grid) else Grid.model_validate(content["grid"])
    except ValidationError:
        return content
    if content.get("factors"):
        raise ValueError("factors and grid are both given; a grid says its arms' levels itself, so leave out factors")
    if not isinstance(content.get("arms") or {}, Mapping):
        return content
    declared = dict(content.get("arms") or {})
    arms, factors = {}, {}
    for chosen in grid.combinations():
        name = "-".join(chosen.values())
        if name in factors:
            raise ValueError(f"grid: two combinations are named {name!r}; name their levels differently")
        arms[name] = _with_levels(declared.pop(name, None) or {}, grid.overrides(chosen))
        factors[name] = chosen
    return {**content, "arms": declared | arms, "factors": factors}


def _with_levels(own: Any, levels: Mapping[str, Any]) -> Any:
    """An arm as it is declared, over what its levels set; what is no arm is left for the model to refuse."""
    own = own.model_dump(exclude_unset=True) if isinstance(own, Strict) else own
    if not isinstance(own, Mapping) or not isinstance(own.get("set") or {}, Mapping):
        return own
    return {**own, "set": {**levels, **(own.get("set") or {})}}


def check_factors(factors: Factors, arms: Mapping[str, Any]) -> None:
    """ValueError unless every arm is known, has a level of every factor, and no two share all their levels."""
    names = next(iter(factors.values()), {})
    seen: dict[tuple[str, ...], str] = {}
    for arm, levels in factors.items():
        if arm not in arms:
            raise ValueError(f"factors: {_unknown('arm', arm, arms)}")
        if set(levels) != set(names):
            raise ValueError(
                f"factors.{arm} has {', '.join(levels) or 'no level'}, others {', '.join(names)}; give every arm the same factors"
            )
        key = tuple(levels[name] for name in names)
        if key in seen:
            raise ValueError(f"factors.{arm} has the levels of {seen[key]!r}; arms of a crossing differ in at least one level")
        seen[key] = arm


def _levels(factor: str, values: list[Any] | tuple[Any, ...]) -> dict[str, dict[str, Any]]:
    named: dict[str, dict[str, Any]] = {}
    for value in values:
        if isinstance(value, list | tuple | Mapping):
            raise ValueError(f"{factor}: {value} has no name of its own; write the factor as a mapping, level: {{path: value}}")
        if str(value) in named:
            raise ValueError(f"{factor}: level {value} stands there twice; remove one")
        named[str(value)] = {factor: value}
    return named


def _unknown(kind: str, word: str, known: Mapping[str, Any]) -> str:
    return f"unknown {kind} {word!r}{did_you_mean(word, known)}; {kind}s are {', '.join(known)}"
