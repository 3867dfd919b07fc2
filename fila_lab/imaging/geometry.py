"""Where everything lies: one image's canvas, tiles, seams, tokens and detail cells, and the map from image to canvas px."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from fila_lab.config.base import FilaError
from fila_lab.config.counts import STRIDES
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.tiling import TileLayout, check_whole_image, chosen_canvas, pad_offset, resized_size, tile_layout

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1), half-open."""

EPSILON = 1e-6
"""Canvas px below which a box does not reach into a cell: the float noise of the map, far less than what a pixel can show."""


@dataclass(frozen=True)
class Geometry:
    """The geometry of one image; everything else is derived from these fields. Hashable; sizes are (width, height).

    The map from image px X to canvas px x is, per axis, x = offset + X * resized / image_size. Where an image is padded, the resized size
    is rounded up to whole px as LLaVA-NeXT does, so the two axes can differ by less than a canvas px over the whole image: `scale` is
    the nominal factor, `scales` are the true ones. A stretched image fills the canvas, whatever scales its axes then have.

    Canvas, overview and detail input do not know of overlapping or strided tiles, nor of a second grid: only what a tile shows changes,
    which `layout` says. Rows, columns, seams and zones are those of the first grid.
    """

    image_size: tuple[int, int]
    canvas: tuple[int, int]
    tile: int
    patch: int
    detail_cells: int | None
    """k: stage-4 cells per tile side (null where `whole_image` is set)."""
    whole_image: int | None = None
    fit: str = "pad"
    layout: TileLayout = field(kw_only=True)
    """Where the tiles lie on the canvas, in tokens, and which tokens are handed to the language model."""

    @classmethod
    def of(cls, width: int, height: int, config: GeometryConfig) -> Geometry:
        """The geometry of a `width` x `height` px image. ConfigError where a `whole_image` input does not split into tiles.

        `vit_scale` enlarges the canvas after it was chosen, so that every scale gives an image the same canvas.
        """
        image = (int(width), int(height))
        canvas = chosen_canvas(config, image)
        geometry = cls(
            image,
            canvas,
            config.tile,
            config.patch,
            config.detail_cells,
            config.whole_image,
            config.tiling.fit,
            layout=tile_layout(config, canvas, image),
        )
        check_whole_image(config, canvas)
        return geometry

    @property
    def grid(self) -> int:
        """g: ViT tokens per tile side."""
        return self.tile // self.patch

    @property
    def canvas_tiles(self) -> tuple[int, int]:
        """(across, down): the canvas measured in tiles; without overlap as many tiles stand on it."""
        return self.canvas[0] // self.tile, self.canvas[1] // self.tile

    @property
    def cols(self) -> int:
        """Tiles across, those that overlap included."""
        return self.layout.cols

    @property
    def rows(self) -> int:
        """Tiles down, those that overlap included."""
        return self.layout.rows

    @property
    def tiles(self) -> int:
        """Number of tiles of all grids; the overview is not counted."""
        return self.layout.tiles

    @property
    def scale(self) -> float:
        """Canvas px per image px before rounding to whole px."""
        return min(self.canvas[0] / self.image_size[0], self.canvas[1] / self.image_size[1])

    @property
    def resized(self) -> tuple[int, int]:
        """Size of the image on the canvas, px."""
        return resized_size(self.image_size, self.canvas, self.fit)

    @property
    def scales(self) -> tuple[float, float]:
        """Canvas px per image px along x and y, as the pixels are really mapped."""
        width, height = self.resized
        return width / self.image_size[0], height / self.image_size[1]

    @property
    def offset(self) -> tuple[int, int]:
        """Canvas px where the resized image begins; the pad is centred, an odd px goes right and below."""
        return pad_offset(self.resized, self.canvas)

    @property
    def seams_x(self) -> tuple[int, ...]:
        """Canvas px of the vertical tile borders inside the canvas: the seams; of overlapping tiles, both borders of every overlap."""
        return tuple(sorted({border for zone in self.zones[0] for border in zone}))

    @property
    def seams_y(self) -> tuple[int, ...]:
        """Canvas px of the horizontal tile borders inside the canvas, as `seams_x`."""
        return tuple(sorted({border for zone in self.zones[1] for border in zone}))

    @property
    def zones(self) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
        """Along x and y, for each two neighbouring tiles: canvas px where the second begins and where the first ends. Between them lies
        what both see; a seam is a zone without width. Strided tiles see the whole canvas, and have none."""
        if self.layout.strided:
            return (), ()
        x, y = (
            tuple((second * self.patch, first * self.patch + self.tile) for first, second in pairwise(starts))
            for starts in (self.layout.starts_x, self.layout.starts_y)
        )
        return x, y

    @property
    def detail_size(self) -> tuple[int, int]:
        """Size of the detail input, px."""
        if self.whole_image is not None:
            return self.whole_image, self.whole_image
        assert self.detail_cells is not None  # GeometryConfig has one of the two
        across, down = self.canvas_tiles
        return across * STRIDES[-1] * self.detail_cells, down * STRIDES[-1] * self.detail_cells

    @property
    def detail_blocks(self) -> tuple[int, int]:
        """(across, down): the detail input in equal squares, one a tile of the canvas; where its size is fixed, itself."""
        return self.canvas_tiles if self.whole_image is None else (1, 1)

    @property
    def detail_scales(self) -> tuple[float, float]:
        """Detail px per canvas px along x and y: 32k / tile, or whatever squeezes the canvas into `whole_image`."""
        return self.detail_size[0] / self.canvas[0], self.detail_size[1] / self.canvas[1]

    def cells(self, stage: int) -> tuple[int, int]:
        """Detail cells (across, down) per tile at ConvNeXt stage 1-4; stage 4 has k x k."""
        if stage not in (1, 2, 3, 4):
            raise FilaError(f"stage={stage}: a ConvNeXt has stages 1, 2, 3 and 4")
        stride, (across, down) = STRIDES[stage - 1], self.canvas_tiles
        return self.detail_size[0] // stride // across, self.detail_size[1] // stride // down

    def to_canvas(self, box: Sequence[float]) -> Box:
        """A box in image px as a box in canvas px. FilaError for a box with negative sides."""
        x0, y0, x1, y1 = (float(value) for value in box)
        if not (x0 <= x1 and y0 <= y1):
            raise FilaError(f"box={tuple(box)} has a negative or undefined side; boxes are (x0, y0, x1, y1) with x0 <= x1 and y0 <= y1")
        (scale_x, scale_y), (left, top) = self.scales, self.offset
        return left + x0 * scale_x, top + y0 * scale_y, left + x1 * scale_x, top + y1 * scale_y

    def tokens_of(self, box: Sequence[float]) -> tuple[tuple[int, int, int], ...]:
        """(tile, row, column) of the ViT tokens a box in image px reaches into, grid by grid in canvas raster order; of all tiles that
        overlap. None for an empty box or one outside the canvas."""
        x0, y0, x1, y1 = self.to_canvas(box)
        found: list[tuple[int, int, int]] = []
        before = 0
        for one in self.layout.grids:
            across, down = (own * self.patch / side for own, side in zip(one.size, self.canvas, strict=True))
            columns = self._along(x0 * across, x1 * across, one.starts_x, one.strided)
            rows = self._along(y0 * down, y1 * down, one.starts_y, one.strided)
            own = sorted(((y, x, row_tile * one.cols + col_tile), row, col) for y, row_tile, row in rows for x, col_tile, col in columns)
            found += [(before + place[2], row, col) for place, row, col in own]
            before += one.rows * one.cols
        return tuple(found)

    def _along(self, start: float, stop: float, tiles: Sequence[int], strided: bool) -> list[tuple[int, int, int]]:
        """(place on the axis, tile, token of it) for the tokens that [start, stop) px of a grid's canvas reaches into."""
        found = []
        for tile, first in enumerate(tiles):
            left, size = (0, self.patch * len(tiles)) if strided else (first * self.patch, self.patch)
            for token in _span(start - left, stop - left, size, self.grid):
                found.append((token * len(tiles) + tile if strided else first + token, tile, token))
        return found


def _span(start: float, stop: float, size: float, count: int) -> range:
    """Indices of the tokens of `size` canvas px, of `count` in all, that [start, stop) reaches into."""
    if stop - start <= 0:
        return range(0)
    first, last = math.floor((start + EPSILON) / size), math.ceil((stop - EPSILON) / size)
    return range(max(first, 0), min(max(last, first + 1), count))
