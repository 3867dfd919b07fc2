"""The table of a study's cells, `cells.parquet`: a row a cell, readable by pandas alone.

Columns: id, arm, seed, phase, trial, status (done, failed, pruned, damaged, missing), problem (why it is damaged), schema (of the result);
`metrics/<name>`, `validation/<name>`, `timing/<part>` (null where a cell has none, NaN where its value was not finite); `curve/<field>`,
lists of a value a logged step; `manifest/<field>`, where that is text; as JSON `config:json`, `failure:json`, what else a result holds
(`benchmarks:json`, ...; `pruned:json` where some cell was) and `manifest/<field>:json`; the columns of the cell's predictions, or why there
are none. What is written as a result is read back as an equal one.
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
RARE = ("pruned",)
"""Parts that the results of other cells do not have; tables without such a cell have no column of it."""
DAMAGED, MISSING = "damaged", "missing"
JSON = ":json"
"""Ends the name of a column whose text is JSON."""


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

    columns: dict[str, pa.Array] = {}

    def add(name: str, values: Iterable[Any], kind: pa.DataType) -> None:
        columns[name] = pa.array(list(values), kind)

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
        told = [point[name] for curve in curves for point in curve if point.get(name) is not None]
        whole, words = (all(isinstance(value, kind) for value in told) for kind in (int, str))
        kind = pa.list_(pa.int64() if whole else pa.string() if words else pa.float64())
        there = (any(name in point for point in curve) for curve in curves)
        series = ([point.get(name) for point in curve] if known else None for curve, known in zip(curves, there, strict=True))
        add(f"curve/{name}", series, kind)
    for name in _keys(row.manifest for row in rows):
        if all(isinstance(row.manifest.get(name, ""), str) for row in rows) and not name.endswith(JSON):
            add(f"manifest/{name}", (row.manifest.get(name) for row in rows), pa.string())
        else:
            texts = (json.dumps(row.manifest[name]) if name in row.manifest else None for row in rows)
            add(f"manifest/{name}{JSON}", texts, pa.string())
    for name in ("config", "failure", *FURTHER, *RARE):
        if name not in RARE or any(name in result for result in results):
            add(f"{name}{JSON}", (json.dumps(each[name]) if each.get(name) is not None else None for each in results), pa.string())
    add("prediction_columns", (row.prediction_columns for row in rows), pa.list_(pa.string()))
    add("prediction_problem", (row.prediction_problem for row in rows), pa.string())
    pq.write_table(pa.table(columns), path, compression="zstd", compression_level=19)


def read_cell_table(path: Path) -> list[CellRow]:
    """Read cells.parquet.

    Raises:
        OSError, ValueError, KeyError, TypeError: it is damaged (pyarrow's own errors derive from these).
    """
    import pyarrow.parquet as pq

    return [_row(values) for values in pq.read_table(path).to_pylist()]


def _row(values: Mapping[str, Any]) -> CellRow:
    def read(name: str) -> Any:
        return parse_json(values[name]) if name.endswith(JSON) and values[name] is not None else values[name]

    def part(prefix: str) -> dict[str, Any]:
        there = (name for name in values if name.startswith(prefix) and values[name] is not None)
        return {name.removeprefix(prefix).removesuffix(JSON): read(name) for name in there}

    status = values["status"]
    result: dict[str, Any] | None = None
    if status not in (DAMAGED, MISSING):
        numbers = {name: {key: None if _is_nan(value) else value for key, value in part(f"{name}/").items()} for name in NUMBERS}
        curve = part("curve/")
        points = [dict(zip(curve, point, strict=True)) for point in zip(*curve.values(), strict=True)]
        result = {"schema": values["schema"], "id": values["id"], "status": status, "config": read(f"config{JSON}")}
        result |= {"metrics": numbers["metrics"], "validation": numbers["validation"], "curve": points, "timing": numbers["timing"]}
        result["failure"] = read(f"failure{JSON}")
        result |= {name: read(f"{name}{JSON}") for name in (*FURTHER, *RARE) if values.get(f"{name}{JSON}") is not None}
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
