"""A study's position maps: a figure, and the maps as numbers."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from fila_lab.analysis.findings import Findings
from fila_lab.analysis.position_maps import FEW, map_figure, position_map
from fila_lab.analysis.style import number
from fila_lab.analysis.tables import Table
from fila_lab.config.data import CENTRE

PANELS = 8
"""Arms that are drawn, at most: the first of the study."""


def positions_plot(findings: Findings) -> Figure | None:
    """Every arm's map, over all places and seeds. None where items do not say where their target lies."""
    maps = findings.once(study_maps)
    return map_figure({findings.folder.label(arm): table for arm, table in list(maps.items())[:PANELS]}) if maps else None


def study_maps(findings: Findings) -> dict[str, pd.DataFrame]:
    """Arm -> frame of `position_map`; empty where items do not say where their target lies."""
    predictions = findings.predictions
    if predictions is None or not {*CENTRE, "canvas"} <= set(predictions.columns):
        return {}
    there = predictions[predictions[CENTRE[0]].notna()]
    config = next((cell.result or {}).get("config") or cell.config for cell in findings.folder.main)
    tile, patch = (int(config["geometry"][name]) for name in ("tile", "patch"))
    return {arm: position_map(own, tile, patch) for arm in findings.folder.arms if len(own := there[there["arm"] == arm])}


def position_tables(findings: Findings) -> dict[str, Table]:
    """`positions`: the maps as numbers, and of each arm the worst and the best field that have enough answers."""
    data, rows = [], []
    for arm, table in findings.once(study_maps).items():
        data.append(table.assign(arm=arm))
        sure = table[table["answers"] >= FEW].sort_values("accuracy")
        if sure.empty:
            continue
        row = {"arm": findings.folder.label(arm), "fields": str(len(sure))}
        for title, at in (("worst", sure.iloc[0]), ("best", sure.iloc[-1])):
            where = f"row {at['row']}, column {at['col']} of {at['canvas']}"
            bounds = f"[{number(at['low'] * 100)}, {number(at['high'] * 100)}]"
            row |= {title: f"{number(at['accuracy'] * 100)} {bounds}, {where}"}
        rows.append(row)
    caption = "Accuracy by where on the canvas the middle of the target lies, percent, all tasks, places and seeds together [Wilson's "
    caption += "95 %, of answers as if they were independent, and of the extreme fields of many: neither is a finding by itself]. "
    caption += f"{findings.measured_on}"
    shown = pd.DataFrame(rows)
    return {"positions": Table("positions", caption, pd.concat(data, ignore_index=True), shown)} if rows else {}


POSITION_CAPTIONS: dict[str, tuple[Callable[[Findings], Figure | None], str]] = {
    "positions": (
        positions_plot,
        "Accuracy over the canvas: where the middle of the target lies, all tasks, places and seeds together. Seams in red.",
    ),
}
