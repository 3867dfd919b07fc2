"""Where tiles lie on a canvas and which tokens are handed over: closed forms that geometry, model and costs share. Torch-free."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from fila_lab.config.base import ConfigError
from fila_lab.config.canvas_rules import choose_canvas
from fila_lab.config.geometry import GeometryConfig, Size
from fila_lab.config.run import RunConfig
from fila_lab.config.seam_pages import page_size

Span = tuple[int, int]
"""[first, last) of token columns or rows of the canvas."""


@dataclass(frozen=True)
class TileLayout:
    """The tiles of one canvas, in tokens: where each column and row of tiles begins, and the rectangle of tokens that the language model
    is handed (all of them, or without the rows and columns that lie wholly in the padding).

    Tiles are numbered in raster order. Where tiles overlap, a canvas position has a token in each of them, and is handed over once: from
    the tile in whose inside it lies deepest along each axis, of equals from the first.
    """

    grid: int
    starts_x: tuple[int, ...]
    starts_y: tuple[int, ...]
    kept_x: Span
    kept_y: Span

    @classmethod
    def side_by_side(cls, grid: int, rows: int, cols: int) -> TileLayout:
        """Tiles of `grid` x `grid` tokens that share none, all of them handed over."""
        starts_x, starts_y = (tuple(grid * tile for tile in range(count)) for count in (cols, rows))
        return cls(grid, starts_x, starts_y, (0, cols * grid), (0, rows * grid))

    @property
    def cols(self) -> int:
        """Tiles across."""
        return len(self.starts_x)

    @property
    def rows(self) -> int:
        """Tiles down."""
        return len(self.starts_y)

    @property
    def size(self) -> Size:
        """(width, height) of the canvas in tokens."""
        width, height = (starts[-1] + self.grid if starts else 0 for starts in (self.starts_x, self.starts_y))
        return width, height

    @property
    def overlapping(self) -> bool:
        """Whether some tiles share tokens of the canvas."""
        return self.size != (self.cols * self.grid, self.rows * self.grid)

    @property
    def plain(self) -> bool:
        """Whether every token of every tile is handed over."""
        return not self.overlapping and (self.kept_x[1] - self.kept_x[0], self.kept_y[1] - self.kept_y[0]) == self.size

    @property
    def handed(self) -> Size:
        """(columns, rows) of the canvas tokens that are handed over."""
        return self.kept_x[1] - self.kept_x[0], self.kept_y[1] - self.kept_y[0]

    def merged(self, side: int) -> TileLayout:
        """The layout of what is left when `side` x `side` neighbours of a tile become one token; `side` divides the grid, and every token
        is handed over."""
        if side == 1:
            return self
        starts_x, starts_y = (tuple(start // side for start in starts) for starts in (self.starts_x, self.starts_y))
        (left, right), (top, bottom) = self.kept_x, self.kept_y
        return TileLayout(self.grid // side, starts_x, starts_y, (left // side, right // side), (top // side, bottom // side))

    def sources(self) -> tuple[int, ...]:
        """For each canvas token handed over, in raster order: tile * g*g + its place in the tile."""
        columns, rows = (_owners(starts, self.grid) for starts in (self.starts_x, self.starts_y))
        return tuple(
            ((tile_row * self.cols + tile_col) * self.grid + row) * self.grid + col
            for tile_row, row in rows[slice(*self.kept_y)]
            for tile_col, col in columns[slice(*self.kept_x)]
        )


NO_IMAGE = TileLayout.side_by_side(0, 0, 0)
"""The layout of rows that are text alone."""


@cache
def axis_starts(length: int, grid: int, overlap: int) -> tuple[int, ...]:
    """First tokens of the fewest tiles of `grid` tokens that cover `length` and overlap by at least `overlap` each: spread evenly, rounded
    to whole tokens (as nnU-Net places its windows, Isensee et al. 2021)."""
    last = length - grid
    steps = math.ceil(last / (grid - overlap))
    return tuple(math.floor(step * last / steps + 0.5) for step in range(steps + 1)) if steps else (0,)


@cache
def _owners(starts: tuple[int, ...], grid: int) -> tuple[tuple[int, int], ...]:
    """For each token along an axis: (tile, place in it) of the tile whose borders are farthest, of equals the first."""
    found = []
    for token in range(starts[-1] + grid):
        inside = [(tile, token - start) for tile, start in enumerate(starts) if 0 <= token - start < grid]
        found.append(max(inside, key=lambda place: min(place[1], grid - 1 - place[1])))
    return tuple(found)


def resized_size(image: Size, canvas: Size, fit: str) -> Size:
    """Size of an image of (width, height) px on the canvas, px. `stretch`: the canvas; `pad`: one side fills it, the other is rounded up
    (LLaVA-NeXT's rounding)."""
    if fit == "stretch":
        return canvas
    (width, height), (canvas_width, canvas_height) = image, canvas
    scale_x, scale_y = canvas_width / width, canvas_height / height
    if scale_x < scale_y:
        return canvas_width, min(math.ceil(height * scale_x), canvas_height)
    return min(math.ceil(width * scale_y), canvas_width), canvas_height


def pad_offset(resized: Size, canvas: Size) -> Size:
    """Canvas px where the resized image begins; the pad is centred, an odd px goes right and below."""
    return (canvas[0] - resized[0]) // 2, (canvas[1] - resized[1]) // 2


def tile_layout(geometry: GeometryConfig, canvas: Size, image: Size | None = None) -> TileLayout:
    """The layout of a canvas (as the ViT sees it) for an image of (width, height) px; without an image, nothing is dropped.

    With `padding_tokens: drop` a token stays where any of its pixels shows the image. (LLaVA-NeXT's `unpad_image` rounds the image's share
    of the tokens down, and so drops tokens that show a little of it; the overview stays whole there and here.)
    """
    width, height = (side // geometry.patch for side in canvas)
    kept: tuple[Span, Span] = ((0, width), (0, height))
    if geometry.tiling.padding_tokens == "drop" and image is not None:
        size = resized_size(image, canvas, geometry.tiling.fit)
        spans = zip(pad_offset(size, canvas), size, strict=True)
        columns, rows = ((start // geometry.patch, math.ceil((start + side) / geometry.patch)) for start, side in spans)
        kept = (columns, rows)
    starts_x, starts_y = (axis_starts(side, geometry.grid, geometry.tiling.overlap) for side in (width, height))
    return TileLayout(geometry.grid, starts_x, starts_y, *kept)


def chosen_canvas(geometry: GeometryConfig, image: Size) -> Size:
    """The canvas of an image of (width, height) px as the ViT sees it: chosen by the tiling's rule, then enlarged by `vit_scale`."""
    width, height = choose_canvas(*image, geometry.allowed_canvases, geometry.tiling.rule)
    return width * geometry.vit_scale, height * geometry.vit_scale


def most_tiles(geometry: GeometryConfig) -> int:
    """Tiles of the image that has most of them, the overview not counted."""
    scale = geometry.vit_scale
    layouts = (tile_layout(geometry, (width * scale, height * scale)) for width, height in geometry.allowed_canvases)
    return max(layout.rows * layout.cols for layout in layouts)


def most_blocks(geometry: GeometryConfig) -> int:
    """Blocks (`Geometry.detail_blocks`) of the detail input that has most of them."""
    if geometry.whole_image is not None:
        return 1
    return max((width // geometry.tile) * (height // geometry.tile) for width, height in geometry.allowed_canvases)


def seen_canvas(config: RunConfig, canvas: Size) -> Size:
    """The canvas on which the ViT sees a page made for one of `geometry.canvases`: that one, unless the tiling has its own."""
    if config.geometry.tiling.own_canvases:
        return chosen_canvas(config.geometry, page_size(config, canvas))
    return canvas[0] * config.geometry.vit_scale, canvas[1] * config.geometry.vit_scale


def seen_canvases(config: RunConfig) -> tuple[Size, ...]:
    """`seen_canvas` of each of `geometry.canvases`, in their order."""
    return tuple(seen_canvas(config, canvas) for canvas in config.geometry.canvases)


def check_whole_image(geometry: GeometryConfig, *canvases: Size) -> None:
    """Refuse a detail input of fixed size whose cells do not split into the tiles of one of `canvases`.

    Raises:
        ConfigError: the canvas's tiles, and a side that fits all of `canvases`.
    """
    side = geometry.whole_image
    if side is None or not geometry.has_detail:
        return
    tiles = [(width // geometry.tile, height // geometry.tile) for width, height in canvases]
    for across, down in tiles:
        if side // 32 % across or side // 32 % down:
            step = 32 * math.lcm(*(count for pair in tiles for count in pair))
            raise ConfigError(
                f"geometry.whole_image={side} gives {side // 32} stage-4 cells a side, which do not split into "
                f"{across}x{down} tiles; choose a multiple of {step}"
            )
