"""An image's pixels for the model: tiles and overview for the ViT, the detail input for the ConvNeXt, through one affine map."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.tiling import TileLayout
from fila_lab.imaging.geometry import Geometry
from fila_lab.imaging.resample import PILLOW, resample_axes
from fila_lab.imaging.rgb import to_rgb

PAD_COLOUR = (122, 116, 104)
"""Colour of the pad: CLIP's pixel mean, so that padding is zero after normalisation."""


@dataclass(frozen=True)
class Prepared:
    """One image, ready for a model."""

    tiles: np.ndarray
    """uint8 [n, T, T, 3], grid by grid in raster order, where tiles overlap too"""
    overview: np.ndarray
    """uint8 [T, T, 3]"""
    detail: np.ndarray | None
    """uint8 [Hd, Wd, 3]"""
    geometry: Geometry

    @property
    def canvas(self) -> np.ndarray:
        """uint8 [H, W, 3]: the tiles of the first grid put together again."""
        return self.canvases[0]

    @property
    def canvases(self) -> tuple[np.ndarray, ...]:
        """The tiles of each grid put together again; a second grid's canvas has a size of its own."""
        found, before = [], 0
        for one in self.geometry.layout.grids:
            after = before + one.rows * one.cols
            found.append(_together(self.tiles[before:after], one, self.geometry.patch))
            before = after
        return tuple(found)


def prepare(image: Image.Image, config: GeometryConfig, detail: bool = True) -> Prepared:
    """Tiles, overview and (unless `detail` is false) detail input of an image of any size and mode.

    Canvas and detail input are each resampled once from the original, through one map: detail px (u, v) and canvas px
    (u, v) / detail_scales show the same place.
    """
    image = to_rgb(image)
    geometry = Geometry.of(*image.size, config)
    pixels = None if config.resample in PILLOW else np.array(image)
    canvas = render(image, geometry, geometry.canvas, config.resample, pixels)
    tiles = []
    for one in geometry.layout.grids:
        size = (one.size[0] * geometry.patch, one.size[1] * geometry.patch)
        laid = canvas if size == geometry.canvas else render(image, geometry, size, config.resample, pixels)
        tiles.append(cut_tiles(laid, one, geometry.patch))
    return Prepared(
        tiles=np.concatenate(tiles) if len(tiles) > 1 else tiles[0],
        overview=overview_of(canvas, geometry.tile),
        detail=render(image, geometry, geometry.detail_size, config.resample, pixels) if detail else None,
        geometry=geometry,
    )


def render(image: Image.Image, geometry: Geometry, size: tuple[int, int], operator: str, pixels: np.ndarray | None = None) -> np.ndarray:
    """The canvas, drawn at `size` (width, height) px from the original RGB image: uint8 [height, width, 3]. pixels: the image's, where they
    are at hand.

    The image's edge may fall inside an output px; that px is then mixed with the pad by the area it covers.
    """
    spans, boxes, coverages = [], [], []
    for axis in (0, 1):
        factor = size[axis] / geometry.canvas[axis]
        start, stop = geometry.offset[axis] * factor, (geometry.offset[axis] + geometry.resized[axis]) * factor
        first, last = math.floor(start + 1e-6), math.ceil(stop - 1e-6)
        per_pixel = geometry.image_size[axis] / (stop - start)
        edges = np.arange(first, last)
        spans.append((first, last))
        boxes.append(((first - start) * per_pixel, (last - start) * per_pixel))
        coverages.append(np.minimum(edges + 1, stop) - np.maximum(edges, start))
    (left, right), (top, bottom) = spans
    content = resample_axes(image, boxes[0], boxes[1], (right - left, bottom - top), operator, pixels)
    coverage_x, coverage_y = coverages
    # Only an edge's px can be covered in part: a line at a time, of the whole it would be most of the work.
    rows, columns = (np.flatnonzero(coverage < 1 - 1e-6) for coverage in (coverage_y, coverage_x))
    shares: list[tuple[tuple[int | slice, int | slice], np.ndarray]] = []
    shares += [((int(row), slice(None)), coverage_y[row] * coverage_x[:, None]) for row in rows]
    shares += [((slice(None), int(column)), coverage_y[:, None] * coverage_x[column]) for column in columns]
    mixed = [(where, np.floor(content[where] * share + np.array(PAD_COLOUR) * (1 - share) + 0.5)) for where, share in shares]
    for where, values in mixed:
        content[where] = values
    if content.shape[:2] == (size[1], size[0]):
        return content
    out = np.empty((size[1], size[0], 3), np.uint8)
    line = np.tile(np.array(PAD_COLOUR, np.uint8), (size[0], 1))
    out[:top], out[bottom:] = line, line
    out[top:bottom, :left], out[top:bottom, right:] = line[:left], line[right:]
    out[top:bottom, left:right] = content
    return out


def cut_tiles(canvas: np.ndarray, grid: TileLayout, patch: int) -> np.ndarray:
    """canvas [H, W, C] -> the tiles of one grid of `patch` px a token, [rows*cols, T, T, C] in raster order."""
    if grid.strided:
        return np.stack([canvas[row :: grid.rows, col :: grid.cols] for row in range(grid.rows) for col in range(grid.cols)])
    if not grid.overlapping:
        return split_tiles(canvas, grid.grid * patch)
    return np.stack([canvas[window] for window in _windows(grid, patch)])


def _together(tiles: np.ndarray, grid: TileLayout, patch: int) -> np.ndarray:
    """The inverse of `cut_tiles`."""
    if not (grid.strided or grid.overlapping):
        return join_tiles(tiles, grid.rows, grid.cols)
    out = np.empty((grid.size[1] * patch, grid.size[0] * patch, 3), np.uint8)
    if grid.strided:
        for number, tile in enumerate(tiles):
            out[number // grid.cols :: grid.rows, number % grid.cols :: grid.cols] = tile
        return out
    for window, tile in zip(_windows(grid, patch), tiles, strict=True):
        out[window] = tile
    return out


def _windows(grid: TileLayout, patch: int) -> list[tuple[slice, slice]]:
    """Each tile's window of the canvas, px."""
    side = grid.grid * patch
    columns, rows = ([slice(start * patch, start * patch + side) for start in starts] for starts in (grid.starts_x, grid.starts_y))
    return [(row, column) for row in rows for column in columns]


def split_tiles(canvas: np.ndarray, tile: int) -> np.ndarray:
    """canvas [rows*T, cols*T, C] -> tiles [rows*cols, T, T, C] in raster order."""
    rows, cols = canvas.shape[0] // tile, canvas.shape[1] // tile
    return np.ascontiguousarray(canvas.reshape(rows, tile, cols, tile, -1).swapaxes(1, 2)).reshape(rows * cols, tile, tile, -1)


def join_tiles(tiles: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """The inverse of `split_tiles`."""
    tile = tiles.shape[1]
    return np.ascontiguousarray(tiles.reshape(rows, cols, tile, tile, -1).swapaxes(1, 2)).reshape(rows * tile, cols * tile, -1)


def overview_of(canvas: np.ndarray, tile: int) -> np.ndarray:
    """canvas uint8 [rows*T, cols*T, 3], padding included -> overview uint8 [T, T, 3]: the means of rows x cols px, rounded."""
    rows, cols = canvas.shape[0] // tile, canvas.shape[1] // tile
    if (rows * cols).bit_count() == 1:  # a power of two, by which Pillow divides exactly
        return np.array(Image.fromarray(canvas).reduce((cols, rows)))
    total = np.zeros((tile, tile, 3), np.uint32)
    for row in range(rows):
        for col in range(cols):
            total += canvas[row::rows, col::cols]
    count = rows * cols
    return ((total + count // 2) // count).astype(np.uint8)
