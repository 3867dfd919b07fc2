"""Where tiles lie on a canvas and which tokens are handed over: closed forms that geometry, model and costs share. Torch-free."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

from fila_lab.config.base import ConfigError
from fila_lab.config.canvas_rules import choose_canvas, second_canvas
from fila_lab.config.geometry import GeometryConfig, Size, TilingConfig
from fila_lab.config.run import RunConfig
from fila_lab.config.seam_pages import page_size

Span = tuple[int, int]
"""[first, last) of token columns or rows of the canvas."""


@dataclass(frozen=True)
class TileLayout:
    """A grid of tiles of one canvas, in tokens, and further ones beside it: where each column and row of tiles begins, and the rectangle of
    tokens that the language model is handed (all of them, or without the rows and columns that lie wholly in the padding).

    Tiles are numbered in raster order, grid by grid. Where tiles overlap, a canvas position has a token in each of them, and is handed over
    once: from the tile in whose inside it lies deepest along each axis, of equals from the first. Of strided tiles, which see the whole
    canvas, neighbouring tokens of the canvas are those of different tiles (`TilingConfig`).
    """

    grid: int
    starts_x: tuple[int, ...]
    starts_y: tuple[int, ...]
    kept_x: Span
    kept_y: Span
    strided: bool = False
    """Whether its tiles take every n-th pixel; then `starts` only say how many there are."""
    further: tuple[TileLayout, ...] = ()
    """The grids behind this one, each of a canvas of its own size that shows the same; none has further ones itself."""

    @classmethod
    def side_by_side(cls, grid: int, rows: int, cols: int) -> TileLayout:
        """Tiles of `grid` x `grid` tokens that share none, all of them handed over."""
        starts_x, starts_y = (tuple(grid * tile for tile in range(count)) for count in (cols, rows))
        return cls(grid, starts_x, starts_y, (0, cols * grid), (0, rows * grid))

    @property
    def grids(self) -> tuple[TileLayout, ...]:
        """Every grid by itself, in order."""
        return (replace(self, further=()) if self.further else self, *self.further)

    @property
    def cols(self) -> int:
        """Tiles across, of the first grid."""
        return len(self.starts_x)

    @property
    def rows(self) -> int:
        """Tiles down, of the first grid."""
        return len(self.starts_y)

    @property
    def tiles(self) -> int:
        """Tiles of all grids."""
        return sum(one.rows * one.cols for one in (self, *self.further))

    @property
    def size(self) -> Size:
        """(width, height) of the first grid's canvas in tokens."""
        width, height = (starts[-1] + self.grid if starts else 0 for starts in (self.starts_x, self.starts_y))
        return width, height

    @property
    def overlapping(self) -> bool:
        """Whether some tiles of the first grid share tokens of the canvas."""
        return self.size != (self.cols * self.grid, self.rows * self.grid)

    @property
    def plain(self) -> bool:
        """Whether there is one grid of tiles side by side, and every token of every tile is handed over."""
        if self.strided or self.further or self.overlapping:
            return False
        return (self.kept_x[1] - self.kept_x[0], self.kept_y[1] - self.kept_y[0]) == self.size

    @property
    def handed(self) -> Size:
        """(columns, rows) of the tokens of the first grid that are handed over."""
        return self.kept_x[1] - self.kept_x[0], self.kept_y[1] - self.kept_y[0]

    def merged(self, side: int) -> TileLayout:
        """The layout of what is left when `side` x `side` neighbours of a tile become one token; `side` divides the grid, and every token
        is handed over."""
        if side == 1:
            return self
        starts_x, starts_y = (tuple(start // side for start in starts) for starts in (self.starts_x, self.starts_y))
        (left, right), (top, bottom) = self.kept_x, self.kept_y
        further = tuple(one.merged(side) for one in self.further)
        kept = (left // side, right // side), (top // side, bottom // side)
        return TileLayout(self.grid // side, starts_x, starts_y, *kept, self.strided, further)

    def sources(self) -> tuple[int, ...]:
        """For each token handed over, grid by grid in raster order: tile * g*g + its place in the tile."""
        if self.strided:
            columns, rows = (tuple((at % count, at // count) for at in range(count * self.grid)) for count in (self.cols, self.rows))
        else:
            columns, rows = (_owners(starts, self.grid) for starts in (self.starts_x, self.starts_y))
        own = tuple(
            ((tile_row * self.cols + tile_col) * self.grid + row) * self.grid + col
            for tile_row, row in rows[slice(*self.kept_y)]
            for tile_col, col in columns[slice(*self.kept_x)]
        )
        before = self.rows * self.cols * self.grid**2
        for one in self.further:
            own += tuple(before + source for source in one.sources())
            before += one.rows * one.cols * one.grid**2
        return own


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
    tiling = geometry.tiling
    shown: tuple[Span, Span] = ((0, canvas[0]), (0, canvas[1]))
    if tiling.padding_tokens == "drop" and image is not None:
        size = resized_size(image, canvas, tiling.fit)
        across, down = ((start, start + side) for start, side in zip(pad_offset(size, canvas), size, strict=True))
        shown = across, down
    grids = [_strided(geometry, canvas, shown) if kind == "strided" else _local(geometry, canvas, canvas, shown) for kind in _kinds(tiling)]
    if tiling.second is not None:
        grids.append(_local(geometry, second_size(geometry, canvas), canvas, shown))
    first, *further = grids
    return replace(first, further=tuple(further)) if further else first


def _kinds(tiling: TilingConfig) -> tuple[str, ...]:
    return ("local", "strided") if tiling.perspective == "both" else (tiling.perspective,)


def _local(geometry: GeometryConfig, size: Size, canvas: Size, shown: tuple[Span, Span]) -> TileLayout:
    """Tiles of neighbouring pixels, of a canvas laid on `size` px; shown: px of the canvas itself that show the image."""
    sides = [side // geometry.patch for side in size]
    # Of whole numbers, so that no rounding error adds a row.
    kept = [
        (start * own // (whole * geometry.patch), -(-stop * own // (whole * geometry.patch)))
        for (start, stop), own, whole in zip(shown, size, canvas, strict=True)
    ]
    starts_x, starts_y = (axis_starts(side, geometry.grid, geometry.tiling.overlap) for side in sides)
    return TileLayout(geometry.grid, starts_x, starts_y, kept[0], kept[1])


def _strided(geometry: GeometryConfig, canvas: Size, shown: tuple[Span, Span]) -> TileLayout:
    """Tiles of every n-th pixel; n tokens that stand side by side see the same n patches, and stay or go together."""
    cols, rows = (side // geometry.tile for side in canvas)
    kept = [
        (start // (count * geometry.patch) * count, -(-stop // (count * geometry.patch)) * count)
        for (start, stop), count in zip(shown, (cols, rows), strict=True)
    ]
    plain = TileLayout.side_by_side(geometry.grid, rows, cols)
    return replace(plain, kept_x=kept[0], kept_y=kept[1], strided=True)


def second_size(geometry: GeometryConfig, canvas: Size) -> Size:
    """(width, height) in px on which the second grid has a canvas laid.

    Raises:
        ConfigError: no grid is left for it.
    """
    second = geometry.tiling.second
    assert second is not None
    found = second_canvas(canvas, geometry.tile, (second.min_tiles, second.max_tiles), second.exclusion)
    if found is None:
        cols, rows = (side // geometry.tile for side in canvas)
        raise ConfigError(
            f"geometry.tiling.second: of the grids of {second.min_tiles} to {second.max_tiles} tiles, exclusion={second.exclusion} leaves "
            f"none beside {cols}x{rows} tiles; widen min_tiles and max_tiles, or exclude less"
        )
    return found


def chosen_canvas(geometry: GeometryConfig, image: Size) -> Size:
    """The canvas of an image of (width, height) px as the ViT sees it: chosen by the tiling's rule, then enlarged by `vit_scale`."""
    width, height = choose_canvas(*image, geometry.allowed_canvases, geometry.tiling.rule)
    return width * geometry.vit_scale, height * geometry.vit_scale


def most_tiles(geometry: GeometryConfig) -> int:
    """Tiles of the image that has most of them, the overview not counted."""
    scale = geometry.vit_scale
    layouts = (tile_layout(geometry, (width * scale, height * scale)) for width, height in geometry.allowed_canvases)
    return max(layout.tiles for layout in layouts)


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
