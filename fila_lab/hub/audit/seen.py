"""Where a processor's crops lie in an image, read off the pixels that it hands to its model.

An image of one axis is a ramp in its first channel, and a cosine and a sine of some periods in the others. Resampling leaves the phase of
a wave where it is, so a straight line through the phases of a crop's pixels says to a small part of a px which of the image's px its sides
are; the ramp says in which period, and the wave's height which pixels show no image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from fila_lab.config.base import FilaError
from fila_lab.config.geometry import Size
from fila_lab.hub.audit.tilings import Settings, Tiling
from fila_lab.imaging import Box, Geometry

TOLERANCE = 0.5
"""Canvas px by which a tile may lie elsewhere than its geometry says: half of the error of a rounding more or less."""
PERIOD, MOST = 50, 24
"""Image px of a wave, about: a whole number of them is laid over an image, at most so many, which a single small crop still shows."""
HEIGHT = 0.4
"""Of a wave, where pixels are 0 to 1."""
MARGIN = 6
"""Canvas px (where an image is enlarged, its own) at the image's edges that are left out: a resampling kernel has nothing beyond them."""
FEWEST = 8
"""Pixels along an axis through which a line is laid, at least; and a third of the tile."""


def crops(processor: Any, image: Image.Image) -> np.ndarray:
    """The crops of an image that a processor hands to its model, float [N, 3, T, T], its pixel values brought back to 0 to 1."""
    settings = Settings(processor)
    found = settings.images(images=image, return_tensors="pt", **settings.ours)["pixel_values"]
    pixels: np.ndarray = found.reshape(-1, *found.shape[-3:]).float().numpy()
    if pixels.shape[1] != 3:  # the laboratory's own have colours last
        pixels = pixels.transpose(0, 3, 1, 2)
    if settings.get("do_normalize"):
        mean, std = (np.asarray(settings.get(name), np.float32).reshape(-1, 1, 1) for name in ("image_mean", "image_std"))
        pixels = pixels * std + mean
    return pixels if settings.get("do_rescale") else pixels / 255


def seen_boxes(processor: Any, tiling: Tiling, geometry: Geometry) -> list[Box]:
    """The box (x0, y0, x1, y1) in image px that each tile shows, in raster order; NaN along an axis of which a tile shows next to nothing.

    Raises:
        FilaError: there are not as many crops as the geometry has, or of another size.
    """
    sides = []
    for axis in (0, 1):
        found = crops(processor, _wave(geometry.image_size, axis))
        if found.shape != (tiling.crops(geometry), 3, tiling.tile, tiling.tile):
            across, down = geometry.image_size
            raise FilaError(
                f"{Settings(processor).name} shows an image of {across} x {down} px as {len(found)} crops of {found.shape[-1]} px, where "
                f"its settings speak of {tiling.crops(geometry)} of {tiling.tile} px; it cuts images otherwise than the audit knows"
            )
        tiles = [tile.swapaxes(1, 2) if axis else tile for tile in found[tiling.tiles(geometry)]]
        numbers = [number % geometry.cols if axis == 0 else number // geometry.cols for number in range(len(tiles))]
        last = (geometry.rows if axis else geometry.cols) - 1
        margin = round(MARGIN * max(1.0, geometry.scales[axis]))
        margins = [(margin * (number == 0), margin * (number == last)) for number in numbers]
        length = geometry.image_size[axis]
        sides.append([_ends(tile, length, *pair) for tile, pair in zip(tiles, margins, strict=True)])
    return [(x0, y0, x1, y1) for (x0, x1), (y0, y1) in zip(*sides, strict=True)]


def tile_boxes(geometry: Geometry) -> list[Box]:
    """The box in image px of each tile by its geometry, in raster order; where a tile shows padding, it reaches out of the image."""
    (left, top), (scale_x, scale_y), side = geometry.offset, geometry.scales, geometry.tile
    corners = [(col * side, row * side) for row in range(geometry.rows) for col in range(geometry.cols)]
    return [((x - left) / scale_x, (y - top) / scale_y, (x + side - left) / scale_x, (y + side - top) / scale_y) for x, y in corners]


def check_tiling(processor: Any, tiling: Tiling, size: Size) -> None:
    """Refuse a processor that cuts an image of a size elsewhere than its tiling says.

    Raises:
        FilaError: with the tile, and where it is expected and found.
    """
    geometry = tiling.geometry(size)
    for number, (own, seen) in enumerate(zip(tile_boxes(geometry), seen_boxes(processor, tiling, geometry), strict=True)):
        off = [abs(mine - theirs) * scale for mine, theirs, scale in zip(own, seen, geometry.scales * 2, strict=True)]
        if any(value > TOLERANCE for value in off):  # NaN is not
            shown, meant = (", ".join(f"{side:.1f}" for side in box) for box in (seen, own))
            raise FilaError(
                f"{Settings(processor).name} shows of an image of {size[0]} x {size[1]} px in tile {number} the box ({shown}), where the "
                f"audit's geometry has ({meant}); it cuts images otherwise than the audit knows"
            )


def _waves(length: int) -> int:
    return min(MOST, max(1, round(length / PERIOD)))


def _wave(size: Size, axis: int) -> Image.Image:
    """The image whose pixels say where they lie along an axis (0: x)."""
    length = size[axis]
    along = (np.arange(length) + 0.5) / length
    phase = 2 * np.pi * _waves(length) * along
    line = np.stack([along, 0.5 + HEIGHT * np.cos(phase), 0.5 + HEIGHT * np.sin(phase)], -1)
    levels = np.round(line * 255).astype(np.uint8)
    pixels = np.broadcast_to(levels if axis == 0 else levels[:, None], (size[1], size[0], 3))
    return Image.fromarray(np.ascontiguousarray(pixels))


def _ends(tile: np.ndarray, length: int, before: int, after: int) -> tuple[float, float]:
    """Image px of a tile's two sides along its last axis, in an image of `length` px; of the pixels that show the image, so many `before`
    and `after` the others are left out."""
    wave = (tile[1] - 0.5) + 1j * (tile[2] - 0.5)
    shown = np.abs(np.abs(wave) - HEIGHT) < HEIGHT / 4
    count = shown.sum(0)
    found = np.flatnonzero(count)
    used = found[before : len(found) - after]
    if len(used) < max(FEWEST, tile.shape[-1] // 3):
        return float("nan"), float("nan")
    ramp, mean = (np.where(shown, values, 0).sum(0)[used] / count[used] for values in (tile[0], wave))
    period = length / _waves(length)
    places = np.unwrap(np.angle(mean)) / (2 * np.pi) * period
    places += period * np.round((ramp.mean() * length - places.mean()) / period)
    slope, start = np.polyfit(used + 0.5, places, 1)
    return float(start), float(start + slope * tile.shape[-1])
