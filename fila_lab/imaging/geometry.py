"""Where everything lies: one image's canvas, tiles, seams, tokens and detail cells, and the map from image to canvas px."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fila_lab.config.base import ConfigError, FilaError
from fila_lab.config.run import GeometryConfig
from fila_lab.imaging.canvas import choose_canvas

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1), half-open."""

STRIDE = 32
"""Detail px a stage-4 ConvNeXt cell spans; stage s spans 2 ** (s + 1)."""

EPSILON = 1e-6
"""Canvas px below which a box does not reach into a cell: the float noise of the map, far less than what a pixel can show."""


@dataclass(frozen=True)
class Geometry:
    """The geometry of one image; everything else is derived from these fields. Hashable; sizes are (width, height).

    The map from image px X to canvas px x is, per axis, x = offset + X * resized / image_size. The resized size is rounded up to
    whole px as LLaVA-NeXT does, so the two axes can differ by less than a canvas px over the whole image: `scale` is the nominal
    factor, `scales` are the true ones.
    """

    image_size: tuple[int, int]
    canvas: tuple[int, int]
    tile: int
    patch: int
    detail_cells: int
    """k: stage-4 cells per tile side (not used where `whole_image` is set)."""
    whole_image: int | None = None

    @classmethod
    def of(cls, width: int, height: int, config: GeometryConfig) -> Geometry:
        """The geometry of a `width` x `height` px image. ConfigError where a `whole_image` input does not split into tiles.

        `vit_scale` enlarges the canvas after it was chosen, so that every scale gives an image the same canvas.
        """
        chosen = choose_canvas(width, height, config.canvases, config.canvas_rule)
        canvas = (chosen[0] * config.vit_scale, chosen[1] * config.vit_scale)
        geometry = cls((int(width), int(height)), canvas, config.tile, config.patch, config.detail_cells, config.whole_image)
        side = config.whole_image
        if side is not None and config.has_detail and (side // STRIDE % geometry.cols or side // STRIDE % geometry.rows):
            step = STRIDE * math.lcm(geometry.cols, geometry.rows)
            raise ConfigError(
                f"geometry.whole_image={side} gives {side // STRIDE} stage-4 cells a side, which do not split into "
                f"{geometry.cols}x{geometry.rows} tiles; choose a multiple of {step}"
            )
        return geometry

    @property
    def grid(self) -> int:
        """g: ViT tokens per tile side."""
        return self.tile // self.patch

    @property
    def cols(self) -> int:
        return self.canvas[0] // self.tile

    @property
    def rows(self) -> int:
        return self.canvas[1] // self.tile

    @property
    def tiles(self) -> int:
        """Number of tiles; the overview is not counted."""
        return self.rows * self.cols

    @property
    def scale(self) -> float:
        """Canvas px per image px before rounding to whole px."""
        return min(self.canvas[0] / self.image_size[0], self.canvas[1] / self.image_size[1])

    @property
    def resized(self) -> tuple[int, int]:
        """Size of the image on the canvas, px: one side fills the canvas, the other is rounded up (LLaVA-NeXT's rounding)."""
        (width, height), (canvas_width, canvas_height) = self.image_size, self.canvas
        scale_x, scale_y = canvas_width / width, canvas_height / height
        if scale_x < scale_y:
            return canvas_width, min(math.ceil(height * scale_x), canvas_height)
        return min(math.ceil(width * scale_y), canvas_width), canvas_height

    @property
    def scales(self) -> tuple[float, float]:
        """Canvas px per image px along x and y, as the pixels are really mapped."""
        width, height = self.resized
        return width / self.image_size[0], height / self.image_size[1]

    @property
    def offset(self) -> tuple[int, int]:
        """Canvas px where the resized image begins; the pad is centred, an odd px goes right and below."""
        width, height = self.resized
        return (self.canvas[0] - width) // 2, (self.canvas[1] - height) // 2

    @property
    def seams_x(self) -> tuple[int, ...]:
        """Canvas px of the interior vertical seams."""
        return tuple(range(self.tile, self.canvas[0], self.tile))

    @property
    def seams_y(self) -> tuple[int, ...]:
        """Canvas px of the interior horizontal seams."""
        return tuple(range(self.tile, self.canvas[1], self.tile))

    @property
    def detail_size(self) -> tuple[int, int]:
        """Size of the detail input, px."""
        if self.whole_image is not None:
            return self.whole_image, self.whole_image
        return self.cols * STRIDE * self.detail_cells, self.rows * STRIDE * self.detail_cells

    @property
    def detail_scales(self) -> tuple[float, float]:
        """Detail px per canvas px along x and y: 32k / tile, or whatever squeezes the canvas into `whole_image`."""
        return self.detail_size[0] / self.canvas[0], self.detail_size[1] / self.canvas[1]

    def cells(self, stage: int) -> tuple[int, int]:
        """Detail cells (across, down) per tile at ConvNeXt stage 1-4; stage 4 has k x k."""
        if stage not in (1, 2, 3, 4):
            raise FilaError(f"stage={stage}: a ConvNeXt has stages 1, 2, 3 and 4")
        stride = 2 ** (stage + 1)
        return self.detail_size[0] // stride // self.cols, self.detail_size[1] // stride // self.rows

    def to_canvas(self, box: Sequence[float]) -> Box:
        """A box in image px as a box in canvas px. FilaError for a box with negative sides."""
        x0, y0, x1, y1 = (float(value) for value in box)
        if not (x0 <= x1 and y0 <= y1):
            raise FilaError(f"box={tuple(box)} has a negative or undefined side; boxes are (x0, y0, x1, y1) with x0 <= x1 and y0 <= y1")
        (scale_x, scale_y), (left, top) = self.scales, self.offset
        return left + x0 * scale_x, top + y0 * scale_y, left + x1 * scale_x, top + y1 * scale_y

    def to_image(self, box: Sequence[float]) -> Box:
        """The inverse of `to_canvas`."""
        (scale_x, scale_y), (left, top) = self.scales, self.offset
        x0, y0, x1, y1 = (float(value) for value in box)
        return (x0 - left) / scale_x, (y0 - top) / scale_y, (x1 - left) / scale_x, (y1 - top) / scale_y

    def tiles_of(self, box: Sequence[float]) -> tuple[int, ...]:
        """Raster indices of the tiles a box in image px reaches into, ascending; none for an empty box or one outside the canvas."""
        return tuple(tile for tile, _, _ in self._reached(box, 1, 1))

    def tokens_of(self, box: Sequence[float]) -> tuple[tuple[int, int, int], ...]:
        """(tile, row, column) of the ViT tokens a box in image px reaches into, in canvas raster order."""
        return self._reached(box, self.grid, self.grid)

    def cells_of(self, box: Sequence[float], stage: int) -> tuple[tuple[int, int, int], ...]:
        """(tile, row, column) of the stage's detail cells a box in image px reaches into, in canvas raster order."""
        return self._reached(box, *self.cells(stage))

    def _reached(self, box: Sequence[float], across: int, down: int) -> tuple[tuple[int, int, int], ...]:
        x0, y0, x1, y1 = self.to_canvas(box)
        columns = _span(x0, x1, self.tile / across, self.cols * across)
        rows = _span(y0, y1, self.tile / down, self.rows * down)
        return tuple((row // down * self.cols + col // across, row % down, col % across) for row in rows for col in columns)


def _span(start: float, stop: float, size: float, count: int) -> range:
    """Indices of the cells of `size` canvas px, of `count` in all, that [start, stop) reaches into."""
    if stop - start <= 0:
        return range(0)
    first, last = math.floor((start + EPSILON) / size), math.ceil((stop - EPSILON) / size)
    return range(max(first, 0), min(max(last, first + 1), count))
