"""The page's first figure: every contrast a line with its interval, in percent of a common axis, so that a page draws it at any width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from fila_lab.analysis.answer import control_families
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.style import number, rows_of, scale_of, with_bounds


@dataclass(frozen=True)
class Line:
    """A contrast. Places are percent of the axis; `left` and `width` of its interval are None where there is none."""

    a: str
    b: str
    verdict: str
    size: str
    mark: str
    numbers: str
    mean: float
    left: float | None
    width: float | None


@dataclass(frozen=True)
class Forest:
    """`families`: (name, lines); `zero`, and `band` (left, width), the margin, in percent of the axis; `ticks`: (place, text)."""

    families: list[tuple[str, list[Line]]]
    zero: float
    band: tuple[float, float]
    ticks: list[tuple[float, str]]
    unit: str
    left_out: list[str]


def forest_of(findings: Findings) -> Forest | None:
    """The contrasts by family, families of controls left out where there are others. None where there is no contrast, or where metrics
    are of different units and have no axis in common."""
    table = findings.verdicts
    if table.empty or len({scale_of(metric) for metric in table["metric"]}) > 1:
        return None
    apart = control_families(findings)
    shown = table if set(apart) == set(table["family"]) else table[~table["family"].isin(apart)]
    scale = scale_of(findings.metric)
    margin = findings.folder.study.margin * scale
    ends = np.concatenate([[-margin, margin], *(shown[name].dropna().to_numpy(float) * scale for name in ("difference", "low", "high"))])
    low, high = float(ends.min()), float(ends.max())
    low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    def line(r: Any) -> Line:
        known = r.low == r.low
        left = place(r.low * scale) if known else None
        width = round(place(r.high * scale) - place(r.low * scale), 2) if known else None
        text = with_bounds(r.difference * scale, r.low * scale, r.high * scale)
        return Line(r.a, r.b, r.verdict, r.size, r.mark, text, place(r.difference * scale), left, width)

    families = [(str(name), [line(r) for r in rows_of(own)]) for name, own in shown.groupby("family", sort=False)]
    ticks = [(place(tick), number(tick, 1 if high - low < 5 else 0, sign=True)) for tick in MaxNLocator(5).tick_values(low, high)]
    unit = "points" if scale == 100 else ""
    inside = [(at, text) for at, text in ticks if 1 <= at <= 99]
    band = (place(-margin), round(place(margin) - place(-margin), 2))
    return Forest(families, place(0.0), band, inside, unit, apart if len(shown) < len(table) else [])
