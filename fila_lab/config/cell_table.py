"""The table of a study's cells, `cells.parquet`: a row a cell, readable by pandas alone.

Columns: id, arm, seed, phase, trial, status (done, failed, damaged, missing), problem (why it is damaged), schema (of the result);
`metrics/<name>`, `validation/<name>`, `timing/<part>` (null where a cell has none, NaN where its value was not finite); `curve/<field>`,
lists of a value a logged step; `manifest/<field>`; config, failure, what else a result holds and those fields of the manifest that are no
text as JSON; the columns of the cell's predictions, or why there are none. What is written as a result is read back as an equal one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fila_lab.config.json_files import parse_json

if TYPE_CHECKING:
    import pyarrow as pa

NUMBERS = ("metrics", "validation", "timing")
FURTHER = ("benchmarks", "answers", "set_aside")
"""Parts of a result that older ones and older tables do not have."""
DAMAGED, MISSING = "damaged", "missing"
JSON = {b"fila_lab": b"json"}
"""Marks a column whose text is JSON."""


@dataclass(frozen=True)
class CellRow:
    """What is kept of one cell."""

    id: str
    arm: str | None = None
    seed: int | None = None
    phase: str | None = None
    trial: int | None = None
    result: dict[str, Any] | None = None
    problem: str | None = None
    """Why there is a result that cannot be used."""
    manifest: dict[str, Any] = field(default_factory=dict)
    prediction_columns: tuple[str, ...] | None = None
    prediction_problem: str | None = None

    @property
    def status(self) -> str:
        return str(self.result["status"]) if self.result is not None else MISSING if self.problem is None else DAMAGED


def write_cell_table(path: Path, rows: Sequence[CellRow]) -> None:
    """Write cells.parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[pa.Field, pa.Array] = {}

    def add(name: str, values: Iterable[Any], kind: pa.DataType, json_text: bool = False) -> None:
        columns[pa.field(name, kind, metadata=JSON if json_text else None)] = pa.array(list(values), kind)

    for name in ("id", "arm", "phase", "status", "problem"):
        add(name, (getattr(row, name) for row in rows), pa.string())
    for name in ("seed", "trial"):
        add(name, (getattr(row, name) for row in rows), pa.int64())
    results = [row.result or {} for row in rows]
    add("schema", (result.get("schema") for result in results), pa.int64())
    for part in NUMBERS:
        values = [result.get(part) or {} for result in results]
        for name in _keys(values):
            add(f"{part}/{name}", (_number(each, name) for each in values), pa.float64())
    curves = [list(result.get("curve") or []) for result in results]
    for name in _keys(point for curve in curves for point in curve):
        whole = all(point.get(name) is None or isinstance(point[name], int) for curve in curves for point in curve)
        kind = pa.list_(pa.int64() if whole else pa.float64())
        add(f"curve/{name}", ([point.get(name) for point in curve] if curve else None for curve in curves), kind)
    for name in _keys(row.manifest for row in rows):
        values = [row.manifest.get(name) for row in rows]
        text = all(isinstance(row.manifest[name], str) for row in rows if name in row.manifest)
        shown = values if text else [json.dumps(row.manifest[name]) if name in row.manifest else None for row in rows]
        add(f"manifest/{name}", shown, pa.string(), json_text=not text)
    for name in ("config", "failure", *FURTHER):
        add(name, (json.dumps(each[name]) if each.get(name) is not None else None for each in results), pa.string(), json_text=True)
    add("prediction_columns", (row.prediction_columns for row in rows), pa.list_(pa.string()))
    add("prediction_problem", (row.prediction_problem for row in rows), pa.string())
    pq.write_table(pa.table(list(columns.values()), schema=pa.schema(list(columns))), path, compression="zstd", compression_level=19)


def read_cell_table(path: Path) -> list[CellRow]:
    """Read cells.parquet.

    Raises:
        OSError, ValueError, KeyError, TypeError: it is damaged (pyarrow's own errors derive from these).
    """
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    schema = table.schema
    decoded = {name for name in schema.names if (schema.field(name).metadata or {}).get(b"fila_lab") == JSON[b"fila_lab"]}
    return [_row(values, decoded) for values in table.to_pylist()]


def _row(values: Mapping[str, Any], decoded: set[str]) -> CellRow:
    def read(name: str) -> Any:
        return parse_json(values[name]) if name in decoded and values[name] is not None else values[name]

    def part(prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): read(name) for name in values if name.startswith(prefix) and values[name] is not None}

    status = values["status"]
    result: dict[str, Any] | None = None
    if status not in (DAMAGED, MISSING):
        numbers = {name: {key: None if _is_nan(value) else value for key, value in part(f"{name}/").items()} for name in NUMBERS}
        curve = part("curve/")
        points = [dict(zip(curve, point, strict=True)) for point in zip(*curve.values(), strict=True)]
        result = {"schema": values["schema"], "id": values["id"], "status": status, "config": read("config")}
        result |= {"metrics": numbers["metrics"], "validation": numbers["validation"], "curve": points, "timing": numbers["timing"]}
        result["failure"] = read("failure")
        result |= {name: read(name) for name in FURTHER if values.get(name) is not None}
    columns = values["prediction_columns"]
    return CellRow(
        id=values["id"],
        **{name: values[name] for name in ("arm", "seed", "phase", "trial", "problem", "prediction_problem")},
        result=result,
        manifest=part("manifest/"),
        prediction_columns=None if columns is None else tuple(columns),
    )


def _keys(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every key, in the order of first appearance."""
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def _number(values: Mapping[str, Any], name: str) -> float | None:
    """Null where there is none, NaN where the result says null."""
    if name not in values:
        return None
    return math.nan if values[name] is None else float(values[name])


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
