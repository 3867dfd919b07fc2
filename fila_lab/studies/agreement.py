"""Two results of one cell, side by side: whether they are equal to the last bit, and how large the difference is where they are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fila_lab.config.cell_checks import VALIDATION_LOSS
from fila_lab.studies.result import CellResult

if TYPE_CHECKING:
    import pandas as pd

FIGURES = ("metrics", "validation", "benchmarks", "answers", "set_aside")
"""Parts of a result that are numbers by name; how long things took is none."""
SHOWN = 3
"""Examples of a part."""
LONGEST = 120
"""Characters of an example's value."""
Number = int | float
Flat = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """What differs in one part of a result; `size` is the largest difference of two numbers, None where something else differs."""

    part: str
    differing: int
    of: int
    size: float | None
    examples: tuple[str, ...]

    def __str__(self) -> str:
        size = "" if self.size is None else f", by {self.size:.3g} at most"
        return f"{self.part}: {self.differing} of {self.of} differ{size} ({'; '.join(self.examples)})"


def differences(stored: CellResult, fresh: CellResult) -> list[Difference]:
    """What differs between two results, part by part; empty where they are equal to the last bit."""
    found = []
    if stored.status != fresh.status:
        found.append(_difference("status", {"status": stored.status}, {"status": fresh.status}))
    if stored.failure is not None or fresh.failure is not None:
        told = [{"kind": each.failure.kind} if each.failure is not None else {} for each in (stored, fresh)]
        found.append(_difference("failure", told[0], told[1]))
    one, other = stored.dump(), fresh.dump()
    found.append(_difference("pruned", one.get("pruned") or {}, other.get("pruned") or {}))
    recorded = [part for part in FIGURES if part != "answers" or (one[part] and other[part])]  # older results do not count answers
    found += [_difference(part, dict(_flat(one[part])), dict(_flat(other[part]))) for part in recorded]
    curves = one["curve"], other["curve"]
    recorded_loss = all(any(VALIDATION_LOSS in point for point in points) for points in curves)  # older results do not
    out = {"step"} if recorded_loss else {"step", VALIDATION_LOSS}
    found.append(_difference("curve", *(_curve(points, out) for points in curves)))
    return [difference for difference in found if difference is not None]


def differing_predictions(stored: pd.DataFrame | None, fresh: pd.DataFrame | None) -> Difference | None:
    """What differs between two tables of predictions, row by row; columns that only one of them has are named."""
    if stored is None or fresh is None:
        kept = {"table": stored is not None}, {"table": fresh is not None}
        return _difference("predictions", *kept)
    columns = [name for name in stored.columns if name in fresh.columns]
    odd = sorted(set(stored.columns) ^ set(fresh.columns))
    keys = [name for name in ("task", "item_id", "place", "image_id") if name in columns]
    rows = [_rows(frame, keys, columns) for frame in (stored, fresh)]
    found = _difference("predictions", *rows)
    if odd and found is not None:
        return Difference(found.part, found.differing, found.of, found.size, (*found.examples, f"columns of one alone: {', '.join(odd)}"))
    return found


def _rows(frame: pd.DataFrame, keys: Sequence[str], columns: list[str]) -> Flat:
    """Name of a row -> its values; a name that comes again is counted."""
    values = {name: [_plain(value) for value in frame[name]] for name in columns}
    seen: Counter[str] = Counter()
    rows: Flat = {}
    for number in range(len(frame)):
        name = " ".join(str(values[key][number]) for key in keys) or "row"
        seen[name] += 1
        rows[name if seen[name] == 1 else f"{name} ({seen[name]})"] = {key: values[key][number] for key in columns if key not in keys}
    return rows


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and value != value:
        return None
    return list(value) if isinstance(value, tuple) else value


def _curve(points: list[dict[str, Any]], out: Collection[str]) -> Flat:
    return {f"step {point['step']} {name}": value for point in points for name, value in point.items() if name not in out}


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name} ")
        else:
            yield f"{above}{name}", value


def _difference(part: str, one: Flat, other: Flat) -> Difference | None:
    names = list(dict.fromkeys([*one, *other]))
    missing = object()
    odd = [name for name in names if one.get(name, missing) != other.get(name, missing)]
    if not odd:
        return None
    sizes = [size for name in odd if (size := _size(one.get(name), other.get(name))) is not None]
    worst = sorted(odd, key=lambda name: -(_size(one.get(name), other.get(name)) or 0.0))[:SHOWN]
    examples = tuple(f"{name}: {_told(one, other, name)} -> {_told(other, one, name)}" for name in worst)
    return Difference(part, len(odd), len(names), max(sizes, default=None), examples)


def _size(one: Any, other: Any) -> float | None:
    numbers = all(isinstance(value, Number) and not isinstance(value, bool) for value in (one, other))
    return abs(one - other) if numbers else None


def _told(values: Flat, beside: Flat, name: str) -> str:
    """A value in words; of a row, what it has otherwise than the row beside it."""
    if name not in values:
        return "nothing"
    value, other = values[name], beside.get(name)
    if isinstance(value, dict) and isinstance(other, dict):
        value = ", ".join(f"{key} {item!r}" for key, item in value.items() if other.get(key) != item)
        return value[:LONGEST]
    return f"{value!r}"[:LONGEST]
