"""Patterns of parameter names in training stages, held against the names of the run's parameters. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from fila_lab.config.base import ConfigError
from fila_lab.config.parameter_names import Known, parameter_names
from fila_lab.config.run import RunConfig
from fila_lab.config.stages import Part, is_pattern


def check_patterns(config: RunConfig) -> None:
    """Refuse a pattern that no parameter of the run can match, and two entries of one stage that name the same one, as far as names are
    known without the model: of others they are compared when it is built.

    Raises:
        ConfigError: stage, entry, and what parameters are called.
    """
    for number, stage in enumerate(config.train.stages or ()):
        if not any(map(is_pattern, stage.trains)):
            continue
        field, parts = f"train.stages.{number}", parameter_names(config)
        for entry in filter(is_pattern, stage.trains):
            if not any(_may_name(entry, known) for known in parts.values()):
                raise unmatched(field, entry, next((name for known in parts.values() for name in known.sure), ""))
        _check_apart(field, parts, stage.trains)


def unmatched(field: str, entry: str, known: str) -> ConfigError:
    """What is said of a pattern that names none. known: what one is called."""
    return ConfigError(f"{field}.trains: no parameter is called {entry!r}; they are called like {known!r}")


def named_twice(field: str, name: str, one: str, other: str) -> ConfigError:
    """What is said of a parameter that two entries name."""
    return ConfigError(f"{field}.trains: {name} is named by {one!r} and by {other!r}; name each parameter once")


def may_begin(pattern: str, prefix: str) -> bool:
    """Whether a name that begins so may match a pattern of fnmatch: a part of the pattern, from its start, then matches the beginning."""
    return any(fnmatchcase(prefix, pattern[:end]) for end in range(len(pattern) + 1))


def _may_name(entry: str, known: Known) -> bool:
    return any(fnmatchcase(name, entry) for name in (*known.sure, *known.perhaps)) or any(may_begin(entry, name) for name in known.below)


def _check_apart(field: str, parts: Mapping[Part, Known], trains: tuple[str, ...]) -> None:
    for part, known in parts.items():
        for name in known.sure:
            naming = [entry for entry in trains if (fnmatchcase(name, entry) if is_pattern(entry) else entry == part)]
            if len(naming) > 1:
                raise named_twice(field, name, *naming[:2])
