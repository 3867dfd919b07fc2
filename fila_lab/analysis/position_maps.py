"""Accuracy as a map over canvas positions: where on the canvas a target's middle lay, and what share of the answers was right.

A seam's price shows as a dark line along it, a bias of slices as a cross (LLaVA-UHD v3's pilot study draws its errors so); a patch border's
does not, for targets lie anywhere towards patches.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fila_lab.analysis.escape import plot_text
from fila_lab.analysis.style import RC
from fila_lab.config.data import CENTRE

FIELDS_A_TILE = 4
"""Fields of a map along a tile's side, at most: a middle lies in one."""
FEW = 5
"""Answers below which a field says nothing."""
KEYS = ["canvas", "row", "col"]


def position_map(answers: pd.DataFrame, tile: int, patch: int) -> pd.DataFrame:
    """One row a field of the canvas in which middles lie: canvas, row, col, `accuracy`, `answers`, `low` and `high` (Wilson's 95 %
    interval); and of the canvas, `fields` a tile's side, `rows` and `cols` of them.

    answers: columns target_x, target_y (canvas px), canvas (`84x42`) and correct, one row an answer. Seams run between fields.
    """
    fields = max(count for count in range(1, FIELDS_A_TILE + 1) if (tile // patch) % count == 0)
    side = tile / fields
    shape = answers["canvas"].astype(str).str.partition(" ")[0]  # `84x42 on ...` where the tiling has canvases of its own
    col, row = (np.floor(answers[name].to_numpy(float) / side).astype(int) for name in CENTRE)
    frame = pd.DataFrame({"canvas": shape.to_numpy(), "row": row, "col": col, "correct": answers["correct"].to_numpy(float)})
    table = frame.groupby(KEYS)["correct"].agg(accuracy="mean", answers="size").reset_index()
    low, high = _wilson(table["accuracy"].to_numpy(), table["answers"].to_numpy())
    across, down = ([int(int(name.split("x")[axis]) // side) for name in table["canvas"]] for axis in (0, 1))
    return table.assign(low=low, high=high, fields=fields, rows=down, cols=across)


def _wilson(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of the 95 % interval of shares of so many."""
    square = 1.959964**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = np.sqrt(square * (share * (1 - share) / count + square / (4 * count**2))) / (1 + square / count)
    return middle - half, middle + half


TITLE_CHARACTERS = 22
"""Of a line over a panel: longer labels would run into their neighbours'."""


def map_figure(maps: Mapping[str, pd.DataFrame]) -> Figure:
    """Label -> frame of `position_map`, a panel each, a row a canvas; seams in red; fields with few answers are left white."""
    canvases = sorted({str(name) for table in maps.values() for name in table["canvas"]})
    with matplotlib.rc_context(RC | {"axes.grid": False}):
        figure = Figure(figsize=(1.9 * len(maps) + 1.4, 2.0 * len(canvases) + 0.5), layout="constrained")
        panels = figure.subplots(len(canvases), len(maps), squeeze=False)
        for column, (label, table) in enumerate(maps.items()):
            for row, canvas in enumerate(canvases):
                panel, own = panels[row, column], table[table["canvas"] == canvas]
                panel.set_xticks([])
                panel.set_yticks([])
                if row == 0:
                    panel.set_title(fill(plot_text(label), TITLE_CHARACTERS), fontsize=8)
                if column == 0:
                    panel.set_ylabel(canvas)
                if own.empty:
                    continue
                fields, high, wide = (int(own[name].iloc[0]) for name in ("fields", "rows", "cols"))
                shown = own["accuracy"].where(own["answers"] >= FEW) * 100
                grid = np.full((high, wide), np.nan)
                grid[own["row"], own["col"]] = shown
                image = panel.imshow(grid, cmap="viridis", vmin=0, vmax=100)
                for x in range(fields, wide, fields):
                    panel.axvline(x - 0.5, color="#d01e1e", lw=1.2)
                for y in range(fields, high, fields):
                    panel.axhline(y - 0.5, color="#d01e1e", lw=1.2)
        figure.colorbar(image, ax=list(panels.ravel()), shrink=0.8, label="percent right")
    return figure
