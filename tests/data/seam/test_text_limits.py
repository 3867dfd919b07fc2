"""Text heights and page scales at their ends: whatever they are, a page is drawn, or refused with a remedy."""

from __future__ import annotations

import numpy as np
import pytest

from fila_lab.config import ConfigError, FilaError, resolve_run
from fila_lab.config.data import SEAM_TASKS, SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.data.seam import code_blocks, content, page_setup
from fila_lab.data.seam.suite import SeamSuite
from fila_lab.data.seam.symbolic import symbolic_page
from fila_lab.data.seam.tasks import document, get_task, table

USUAL = (10.0, 14.0)
HEIGHTS = [(USUAL, below) for below in (None, (0.1, 0.2), (0.6, 0.9), (3.0, 3.8), (9.9, 9.99))]
HEIGHTS += [(text, None) for text in ((0.1, 0.1), (0.5, 0.6), (2.2, 2.2), (3.0, 41.0), (41.0, 42.0))]
PAGES = [(3, {}, None), (3, {"page_scale": 3}, None), (3, {}, 14), (3, {}, 3), (2, {}, None), (1, {"page_scale": 2}, None)]
"""Tokens a tile side, fields of the suite, page px a ViT patch where they are not the suite's."""


def suite(grid: int, patch: int | None = None, **fields: object) -> SeamSuite:
    side = 14 * grid
    geometry = GeometryConfig(tile=side, patch=14, canvases=((side, 2 * side), (2 * side, 2 * side), (side, 3 * side)), detail_cells=grid)
    return SeamSuite(SeamConfig.model_validate({"photo_share": 0, **fields}), geometry, patch)


def below(heights: tuple[float, float] | None) -> dict[str, object]:
    return {} if heights is None else {"below_height": heights, "below_share": 1.0}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are given up sooner."""
    for module in (code_blocks, document, page_setup, table):
        monkeypatch.setattr(module, "TRIES", 10)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("task", SEAM_TASKS)
def test_a_page_is_drawn_or_refused(task: str) -> None:
    """No height that rounds to nothing, no range that ends before it begins, no block without a place ends in an error of a library."""
    drawn = set()
    for grid, fields, patch in PAGES:
        for text, low in HEIGHTS:
            try:
                draft, glyphs = suite(grid, patch, tasks={task: 1}, text_height=text, **below(low), **fields).unpainted("test", 0)
            except FilaError as error:
                assert "; choose" in error.args[0] or "; add" in error.args[0]  # noqa: PT017
            else:
                assert draft.answer
                assert all(x0 < x1 and y0 < y1 for x0, y0, x1, y1 in (glyph.box for glyph in glyphs))
                drawn.add((grid, bool(fields), patch, text, low))
    assert {(3, *page, USUAL, None) for page in ((False, None), (True, None), (False, 14))} <= drawn
    assert (3, False, None, USUAL, (9.9, 9.99)) in drawn
    assert not {(3, False, None, USUAL, (0.1, 0.2)), (3, False, None, (0.1, 0.1), None)} & drawn
    if get_task(task).fine_print:
        assert (3, False, None, USUAL, (3.0, 3.8)) in drawn, "7 page px: there is ink"


@pytest.mark.parametrize("field", ["text_height", "below_height"])
def test_text_without_a_page_px_is_refused_before_anything_is_drawn(field: str) -> None:
    fields = {f"data.seam.{field}": [0.2, 0.3]} | ({"data.seam.below_share": 0.5} if field == "below_height" else {})
    wanted = rf"data.seam.{field} = \[0.2, 0.3\]: letters so low leave no ink with 2.29 page px a canvas px; choose more than 0.219"
    with pytest.raises(ConfigError, match=wanted):
        resolve_run("mini", {"data.seam.page_scale": 1, "data.seam.sizes": {}, **fields})


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_as_many_blocks_as_there_are_keys_and_no_more(split: str) -> None:
    most = content.most_keys(split)
    drawn = content.draw_keys(np.random.default_rng(0), split, most)
    assert len(set(drawn)) == most
    with pytest.raises(FilaError, match=f"split {split} has only {most} keys"):
        content.draw_keys(np.random.default_rng(0), split, most + 1)


def test_pages_without_pixels_are_refused_where_nothing_fits() -> None:
    """Tall text on canvases one tile high, and canvases of which none is small enough."""
    generator = np.random.default_rng(0)
    for height, canvases, message in (
        (41.0, ((84, 42),), "nothing can be drawn that fits on canvases of two tiles of 42 px"),
        (10.0, ((126, 126),), "have canvases of two tiles of 42 px along the longer side, and none is"),
    ):
        geometry = GeometryConfig(tile=42, patch=14, canvases=canvases, detail_cells=3)
        with pytest.raises(FilaError, match=message):
            symbolic_page(generator, SeamConfig(tasks={"reading": 1}, text_height=(height, height)), geometry)
