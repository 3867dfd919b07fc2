"""The seam suite's pages before one is drawn: their size, the canvases they are made for, and how often each. Torch-free."""

from __future__ import annotations

from functools import cache

from fila_lab.config.canvas_rules import choose_canvas
from fila_lab.config.data import SeamConfig
from fila_lab.config.geometry import GeometryConfig, Size
from fila_lab.config.run import RunConfig

PATCH = 32
"""Page px a ViT patch, at `data.seam.page_scale` 1."""


def page_size(config: RunConfig, canvas: Size) -> Size:
    """(width, height) in px of the suite's pages for one of `geometry.canvases`."""
    return _size(canvas, config.geometry, config.data.seam)


def page_canvases(geometry: GeometryConfig, seam: SeamConfig) -> list[Size]:
    """The canvases, of `geometry.canvases`, that have pages: those an image of the page's size goes on, with an axis that permits a
    triplet, within `data.seam.page_aspect`."""
    return [canvas for canvas in geometry.canvases if _permits(canvas, geometry, seam)]


def page_shares(geometry: GeometryConfig, seam: SeamConfig) -> dict[Size, float]:
    """Canvas -> share of the pages, which are drawn by the number of tiles. Where no canvas permits one, all count: the suite refuses them
    with its reason."""
    canvases = page_canvases(geometry, seam) or geometry.canvases
    total = sum(width * height for width, height in canvases)
    return {(width, height): width * height / total for width, height in canvases}


@cache
def has_sham_place(tiles: int, grid: int) -> bool:
    """Whether an axis of `tiles` tiles of `grid` patches permits a triplet: a step of a multiple of `tiles` patches takes a target from a
    seam to a patch border that is none, on the page."""
    length = tiles * grid
    borders = (seam + step for seam in range(grid, length, grid) for step in range(-length, length, tiles))
    return any(0 < border < length and border % grid for border in borders)


def _permits(canvas: Size, geometry: GeometryConfig, seam: SeamConfig) -> bool:
    asked = seam.page_aspect is None or seam.page_aspect[0] <= canvas[0] / canvas[1] <= seam.page_aspect[1]
    chosen = choose_canvas(*_size(canvas, geometry, seam), geometry.canvases, geometry.canvas_rule)
    return chosen == tuple(canvas) and asked and any(has_sham_place(side // geometry.tile, geometry.grid) for side in canvas)


def _size(canvas: Size, geometry: GeometryConfig, seam: SeamConfig) -> Size:
    width, height = (side // geometry.patch * PATCH * seam.page_scale for side in canvas)
    return width, height
