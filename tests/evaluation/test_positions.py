"""Where tokens lie: against brute force over pixels, on pages of the suite."""

from __future__ import annotations

import numpy as np
import pytest

from fila_lab.config import resolve_run
from fila_lab.data.seam import SeamSuite
from fila_lab.evaluation.positions import token_positions
from fila_lab.imaging import Geometry

CONFIG = resolve_run("mini", {"data.seam.tasks": {"reading": 1.0}})
SUITE = SeamSuite(CONFIG.data.seam, CONFIG.geometry)


@pytest.mark.parametrize("index", range(4))
def test_every_token_knows_its_place_its_seam_its_target_and_its_content(index: int) -> None:
    item = SUITE.item("val", index)
    geometry = Geometry.of(*item.image.size, CONFIG.geometry)
    frame = token_positions(item, geometry)
    width, height = (side // 14 for side in geometry.canvas)
    assert len(frame) == width * height
    assert sorted(zip(frame["row"], frame["col"], strict=True)) == [(y, x) for y in range(height) for x in range(width)]
    assert (frame["tile"] == frame["row"] // 3 * (width // 3) + frame["col"] // 3).all()
    x, y = 14 * frame["col"].to_numpy() + 7, 14 * frame["row"].to_numpy() + 7
    seams = [abs(x - s) for s in range(42, 14 * width, 42)] + [abs(y - s) for s in range(42, 14 * height, 42)]
    np.testing.assert_allclose(frame["seam_patches"], np.min(seams, axis=0) / 14)
    scale = geometry.canvas[0] / item.image.width
    x0, y0, x1, y1 = (side * scale for side in item.target_box)
    inside = (x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)
    assert ((frame["target_patches"] == 0) == inside).all()
    nearest = np.hypot(x - np.clip(x, x0, x1), y - np.clip(y, y0, y1)) / 14
    np.testing.assert_allclose(frame["target_patches"], nearest, atol=1e-9)
    glyph = item.glyphs[0]
    centre = (glyph.box[0] + glyph.box[2]) * scale / 2, (glyph.box[1] + glyph.box[3]) * scale / 2
    here = frame[(frame["col"] == centre[0] // 14) & (frame["row"] == centre[1] // 14)]
    assert here["content"].isin({g.role for g in item.glyphs}).all()
    ground = set(frame["content"]) - {g.role for g in item.glyphs}
    assert ground <= {"paper" if item.image_id.startswith("paper") else "photo"}
