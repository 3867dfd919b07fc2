"""Where the tokens of a page lie: their centres, the distance to the nearest seam and to the target, and what they show."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fila_lab.data.seam import SeamItem
from fila_lab.imaging import Geometry

COLUMNS = ("tile", "row", "col", "seam_patches", "target_patches", "content")


def token_positions(item: SeamItem, geometry: Geometry) -> pd.DataFrame:
    """One row a token of the canvas, tile by tile in raster order (the overview's tokens have no place of their own and are left out).

    tile: its number; row, col: the token's on the canvas; seam_patches: patches from its centre to the nearest seam, NaN on a canvas
    without one; target_patches: to the target's plate, 0 inside; content: the role of a glyph in its patch (code, key, panel, ...), else
    the page's ground, `paper` or `photo`. Tiles stand side by side: overlapping ones would share tokens' places.
    """
    grid, patch = geometry.grid, geometry.patch
    tile, row, col = (axis.ravel() for axis in np.mgrid[: geometry.tiles, :grid, :grid])
    row, col = row + tile // geometry.cols * grid, col + tile % geometry.cols * grid
    x, y = col + 0.5, row + 0.5
    distances = [abs(centre - seam / patch) for centre, seams in ((x, geometry.seams_x), (y, geometry.seams_y)) for seam in seams]
    x0, y0, x1, y1 = (side / patch for side in geometry.to_canvas(item.target_box))
    outside = np.hypot(np.maximum(np.maximum(x0 - x, x - x1), 0), np.maximum(np.maximum(y0 - y, y - y1), 0))
    ground = "paper" if item.image_id.startswith("paper") else "photo"
    content = np.full((geometry.tiles, grid, grid), ground, object)
    for glyph in item.glyphs:
        for place in geometry.tokens_of(glyph.box):
            content[place] = glyph.role
    seam = np.min(distances, axis=0) if distances else np.full(len(x), np.nan)
    return pd.DataFrame(dict(zip(COLUMNS, (tile, row, col, seam, outside, content.ravel()), strict=True)))
