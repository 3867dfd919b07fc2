"""The seam suite's pages before one is drawn: their size, the canvases they are made for, and how often each. Torch-free."""

from __future__ import annotations

import math
from functools import cache

from fila_lab.config.base import ConfigError
from fila_lab.config.canvas_rules import choose_canvas
from fila_lab.config.data import SeamConfig
from fila_lab.config.geometry import GeometryConfig, Size
from fila_lab.config.run import RunConfig

PATCH = 32
"""Page px a ViT patch, at `data.seam.page_scale` 1."""


LONGEST = 12
"""Tiles along an axis, up to which a message looks for one that would do."""


def page_size(config: RunConfig, canvas: Size) -> Size:
    """(width, height) in px of the suite's pages for one of `geometry.canvases`."""
    return _size(canvas, config.geometry, config.data.seam)


def page_canvases(geometry: GeometryConfig, seam: SeamConfig) -> list[Size]:
    """The canvases, of `geometry.canvases`, that have pages: those an image of the page's size goes on, with an axis that permits a
    triplet (where a place on two seams is asked for: both axes), within `data.seam.page_aspect`."""
    return [canvas for canvas in geometry.canvases if _permits(canvas, geometry, seam)]


def page_shares(geometry: GeometryConfig, seam: SeamConfig) -> dict[Size, float]:
    """Canvas -> share of the pages, which are drawn by the number of tiles. Where no canvas permits one, all count: the suite refuses them
    with its reason."""
    canvases = page_canvases(geometry, seam) or geometry.canvases
    total = sum(width * height for width, height in canvases)
    return {(width, height): width * height / total for width, height in canvases}


def phase_step(tiles: int, grid: int, stride_cells: tuple[int, ...] = ()) -> int:
    """Patches of the smallest step along an axis of `tiles` tiles that keeps every phase: that of the overview's patches, one of which
    spans `tiles` patches of the canvas, and with it the ViT's and the native ConvNeXt stride's; and the stride's at each of `stride_cells`
    cells a tile side, of which `tiles` patches are tiles * cells / grid."""
    return tiles * math.lcm(*(grid // math.gcd(grid, tiles * cells) for cells in stride_cells))


@cache
def has_sham_place(tiles: int, grid: int, step: int | None = None) -> bool:
    """Whether an axis of `tiles` tiles of `grid` patches permits a triplet: a step of a multiple of `step` patches (default: `phase_step`)
    takes a target from a seam to a patch border that is none, on the page."""
    length, step = tiles * grid, step or tiles
    moves = range(-(length // step) * step, length, step)
    borders = (seam + move for seam in range(grid, length, grid) for move in moves)
    return any(0 < border < length and border % grid for border in borders)


def check_heights(seam: SeamConfig, scale: float) -> None:
    """Refuse text that is less than a page px high; `scale`: page px a canvas px.

    Raises:
        ConfigError: with the least height that can be drawn.
    """
    smallest, factor = min(((task, seam.size_of(task)) for task in seam.tasks), key=lambda each: each[1], default=("", 1.0))
    text = f"data.seam.text_height = {list(seam.text_height)}" + ("" if factor == 1 else f" times data.seam.sizes.{smallest} = {factor:g}")
    heights = {text: seam.text_height[0] * factor}
    if seam.below_height is not None and seam.below_share > 0:
        heights[f"data.seam.below_height = {list(seam.below_height)}"] = seam.below_height[0]
    for said, low in heights.items():
        if round(low * scale) < 1:
            raise ConfigError(
                f"{said}: letters so low leave no ink with {scale:.3g} page px a canvas px; choose more than {0.5 / scale:.3g}"
            )


def check_further_places(config: RunConfig) -> None:
    """Refuse further places, or a phase of sham places, that no canvas of the run has.

    Raises:
        ConfigError: with the canvas that is wanted.
    """
    seam, geometry = config.data.seam, config.geometry
    asked = {name: list(getattr(seam, name)) for name in ("further_places", "stride_cells") if getattr(seam, name)}
    if asked and config.data.draws_seam and not page_canvases(geometry, seam):
        said = " with ".join(f"data.seam.{name} = {value}" for name, value in asked.items())
        axes = "both axes" if "cross" in seam.further_places else "an axis"
        there = [str(tiles) for tiles in range(2, LONGEST + 1) if _has_sham(tiles, geometry.grid, seam)]
        tiles = f"{geometry.grid} patches a side"
        within = "" if seam.page_aspect is None else f", within data.seam.page_aspect = {list(seam.page_aspect)},"
        remedy = f"add one of {', '.join(there)} tiles along {axes}, or" if there else f"with tiles of {tiles} no canvas has:"
        raise ConfigError(
            f"{said}: none of geometry.canvases = {[list(canvas) for canvas in geometry.canvases]}{within} has along {axes} a sham place "
            f"in the phase that is asked for, beside a seam; {remedy} leave it out"
        )


def has_places(geometry: GeometryConfig, seam: SeamConfig, canvas: Size) -> tuple[bool, bool]:
    """Along x and y of a canvas: whether a target that is cut there has a sham place."""
    x, y = (_has_sham(side // geometry.tile, geometry.grid, seam) for side in canvas)
    return x, y


def _has_sham(tiles: int, grid: int, seam: SeamConfig) -> bool:
    return has_sham_place(tiles, grid, phase_step(tiles, grid, seam.stride_cells))


def _permits(canvas: Size, geometry: GeometryConfig, seam: SeamConfig) -> bool:
    asked = seam.page_aspect is None or seam.page_aspect[0] <= canvas[0] / canvas[1] <= seam.page_aspect[1]
    chosen = choose_canvas(*_size(canvas, geometry, seam), geometry.canvases, geometry.canvas_rule)
    enough = all if "cross" in seam.further_places else any
    return chosen == tuple(canvas) and asked and enough(has_places(geometry, seam, canvas))


def _size(canvas: Size, geometry: GeometryConfig, seam: SeamConfig) -> Size:
    width, height = (side // geometry.patch * PATCH * seam.page_scale for side in canvas)
    return width, height
