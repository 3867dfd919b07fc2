"""Benchmarks' own figures, arm by arm, and the rows that no arm was shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fila_lab.analysis.findings import Findings
from fila_lab.analysis.statistics import paired_interval
from fila_lab.analysis.tables import Table


def benchmark_tables(findings: Findings) -> dict[str, Table]:
    """`benchmarks`: what aggregates made of the answers to each test that has more than a mean; `set_aside`: rows that were not used.
    Each only where there is something to show."""
    return {table.name: table for table in (_figures(findings), _set_aside(findings)) if not table.shown.empty}


def _figures(findings: Findings) -> Table:
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for cell in findings.folder.main:
        for benchmark, figures in _of(cell.result, "benchmarks").items():
            for name, value in figures.items():
                if name != "n" and isinstance(value, int | float):
                    values.setdefault((benchmark, name), {}).setdefault(cell.arm, []).append(float(value))
    data, rows = [], []
    for (benchmark, name), arms in values.items():
        row = {"benchmark": benchmark, "figure": name}
        for arm in findings.folder.arms:
            if arm not in arms:
                continue
            interval = paired_interval(arms[arm])
            data.append({"benchmark": benchmark, "figure": name, "arm": arm, "n": interval.n, "mean": interval.mean, "half": interval.half})
            row[arm] = _text(interval.mean) + (f" ± {_text(interval.half)}" if interval.n > 1 else "")
        rows.append(row)
    caption = "Benchmarks' own figures, as their definitions make them: mean ± half of the 95 % t interval over seeds; neither tested nor "
    if any("discrepancy/" in name for _, name in values):
        caption += "declared. A discrepancy says nothing without the level beside it: a model that is wrong everywhere has none. "
    else:
        caption += "declared. "
    caption += findings.measured_on
    return Table("benchmarks", caption, pd.DataFrame(data), pd.DataFrame(rows).fillna(""))


def _set_aside(findings: Findings) -> Table:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for cell in findings.folder.main:
        for pool, reasons in _of(cell.result, "set_aside").items():
            for reason, told in reasons.items():
                row = rows.setdefault((pool, reason), {"where": pool, "reason": reason, "rows": 0, "the first": told["first"]})
                row["rows"] = max(row["rows"], told["rows"])
    data = pd.DataFrame(rows.values())
    return Table("set_aside", "Rows that could not be used, the most of any cell.", data, data.astype(str))


def _of(result: Mapping[str, Any] | None, part: str) -> Mapping[str, Any]:
    return (result or {}).get(part) or {}


def _text(value: float) -> str:
    """A share with four places; points and hits are greater than 1."""
    return f"{value:.4f}" if abs(value) <= 1 else f"{value:.2f}"
