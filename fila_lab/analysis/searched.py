"""Values of searched fields, whatever they are: as cells of a frame, for people, and whether one lies at the edge of what was searched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fila_lab.config.cell_checks import finite
from fila_lab.config.space import EDGE, Dimension, Range, choice_text


def plain(value: Any) -> Any:
    """As a cell of a frame: numbers and words as they are, anything else as JSON."""
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else choice_text(value)


def shown(value: Any) -> str:
    """For people; a dash where there is none."""
    if value is None or value != value:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def value_at(config: Any, path: str) -> Any:
    """What stands at a dotted path of a config; None where nothing does."""
    for part in path.split("."):
        config = config.get(part) if isinstance(config, Mapping) else None
    return config


def searched_at(config: Any, path: str, one: Dimension) -> Any:
    """As a cell of a frame, of a config: a number of a range (NaN where there is none), a choice as `plain` gives it."""
    value = value_at(config, path)
    if not isinstance(one, Range):
        return plain(value)
    number = finite(value)
    return float("nan") if number is None else number


def at_edge(value: Any, one: Dimension) -> bool:
    """Whether a value lies at an end of its range, or outside; choices have no ends."""
    number = finite(value)
    if not isinstance(one, Range) or number is None:
        return False
    return not EDGE < (one.share(number) if number > 0 or not one.log else 0.0) < 1 - EDGE
