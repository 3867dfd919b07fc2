"""What the run of a cell shows: its parameters, its values with their times, its manifest."""

from __future__ import annotations

import calendar
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from fila_lab.studies.mirror.runs import VALUE_LENGTH, Value, safe_name
from fila_lab.studies.result import CellResult


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and text values, cut at the length that MLflow takes."""
    for key, value in tree.items():
        if type(value) is dict and value:  # `isinstance` of an abstract type takes as long as all the rest
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)[:VALUE_LENGTH]


def parameters(cell: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    """The configuration, flat."""
    return {safe_name(name): value for name, value in flatten({"arm": cell["arm"], **config})}


def run_name(cell: Mapping[str, Any]) -> str:
    """What the run is called."""
    trial = f" trial {cell['trial']}" if cell["trial"] is not None else ""
    return f"{cell['arm']} seed {cell['seed']}{trial}"


def values(result: CellResult, manifest: Mapping[str, Any], ended: int) -> Iterator[Value]:
    """All that a cell measured: its curve with the times of its points, where the manifest has them, and the rest at its end."""
    groups = {"": result.metrics, "validation/": result.validation, "timing/": result.timing}
    for prefix, found in groups.items():
        yield from (Value(safe_name(f"{prefix}{name}"), value, ended) for name, value in found.items() if value is not None)
    made = manifest.get("curve_times") or {}
    logged, validated = (_times(made.get(name), len(result.curve), ended) for name in ("loss", "validation"))
    for place, point in enumerate(result.curve):
        series = {
            "loss": (point.loss, logged),
            "learning_rate": (point.learning_rate, logged),
            "validation": (point.validation, validated),
            "validation_loss": (point.validation_loss, validated),
        }
        yield from (Value(f"curve/{name}", value, times[place], point.step) for name, (value, times) in series.items() if value is not None)


def _times(seconds: Any, count: int, otherwise: int) -> list[int]:
    if not isinstance(seconds, list) or len(seconds) != count:
        return [otherwise] * count
    return [int(value * 1000) if isinstance(value, int | float) else otherwise for value in seconds]


def manifest_tag(manifest: Mapping[str, Any]) -> str:
    """The manifest as one tag; what does not fit is left out from the end."""
    kept = {name: value for name, value in manifest.items() if name != "curve_times"}
    while len(text := json.dumps(kept)) > VALUE_LENGTH:
        kept.popitem()
    return text


def milliseconds(text: Any) -> int:
    """Milliseconds since 1970 of a manifest's time; now where it has none."""
    try:
        return calendar.timegm(time.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ")) * 1000
    except ValueError:
        return int(time.time() * 1000)
