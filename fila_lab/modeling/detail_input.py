"""What the ConvNeXt is shown: fine or canvas-level pixels, the whole canvas or each tile alone; four ways at equal cost.

Fusion brings two things at once: finer pixels, and what lies across a seam. Fed in these four ways, the same ConvNeXt gives maps of the
same cells for the same FLOPs, so that a study can tell which of the two does the work.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fila_lab.config.run import RunConfig
from fila_lab.modeling.convnext import ConvNextTower
from fila_lab.modeling.pixels import normalise


def stage_maps(tower: ConvNextTower, detail: Tensor, config: RunConfig, rows: int, cols: int) -> list[Tensor]:
    """Detail input uint8 [B, Hd, Wd, 3] of a canvas of rows x cols tiles -> four stage maps of whole canvases, [B, C_s, H_s, W_s].

    fusion.detail_resolution `canvas`: the input is reduced to the canvas's pixels (means over their area, in whole grey levels, as the
    canvas itself holds them) and enlarged again (bilinear): the same grid, nothing finer than a canvas pixel left.
    fusion.detail_context `tile`: the ConvNeXt runs on each tile's part of the input, with its own zero padding at the seams, and the maps
    are put together. The overview's partner is still the whole map area-pooled to one tile: the mean of what each tile said alone.
    """
    fusion, geometry = config.fusion, config.geometry
    if geometry.whole_image is None:  # the canvas measured in tiles, from the input's own size
        rows, cols = (side // (32 * geometry.cells_a_side) for side in detail.shape[1:3])
    apart = fusion.detail_context == "tile"
    pixels = split_pixels(detail, rows, cols) if apart else detail
    if fusion.detail_resolution == "canvas":
        pixels = canvas_level(pixels, (geometry.tile, geometry.tile) if apart else (rows * geometry.tile, cols * geometry.tile))
    maps = tower(normalise(pixels, tower.dtype, tower.statistics).contiguous(memory_format=torch.channels_last))
    return [join_maps(m, rows, cols) for m in maps] if apart else maps


def split_pixels(detail: Tensor, rows: int, cols: int) -> Tensor:
    """[B, rows*h, cols*w, 3] -> [B * rows*cols, h, w, 3], image by image, tiles in raster order."""
    return detail.unflatten(1, (rows, -1)).unflatten(3, (cols, -1)).transpose(2, 3).flatten(0, 2)


def join_maps(tiles: Tensor, rows: int, cols: int) -> Tensor:
    """[B * rows*cols, C, h, w] -> [B, C, rows*h, cols*w]; channels lie last in memory, as in a ConvNeXt's maps of a whole canvas."""
    cells = tiles.permute(0, 2, 3, 1).unflatten(0, (-1, rows, cols))  # [B, rows, cols, h, w, C]
    return cells.transpose(2, 3).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


def canvas_level(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 [N, h, w, 3] -> float32 [N, h, w, 3]: reduced to `size` (height, width) pixels in whole grey levels, enlarged to h x w."""
    reduced = area_means(area_means(pixels.double(), size[0], 1), size[1], 2).round().float()
    enlarged = F.interpolate(reduced.permute(0, 3, 1, 2), size=pixels.shape[1:3], mode="bilinear", align_corners=False)
    return enlarged.permute(0, 2, 3, 1)


def area_means(values: Tensor, count: int, axis: int) -> Tensor:
    """True means over `count` equal parts of an axis; what a border cuts counts on both sides by its share.

    From cumulative sums: interpolate's `area` takes whole pixels only, and counts those at a border twice.
    """
    length = values.shape[axis]
    edges = torch.arange(count + 1, dtype=values.dtype, device=values.device) * (length / count)
    whole = edges.long().clamp(max=length - 1)
    shape = [-1 if i == axis else 1 for i in range(values.ndim)]
    before = (values.cumsum(axis) - values).index_select(axis, whole)  # sums up to the pixel an edge lies in
    cut = values.index_select(axis, whole) * (edges - whole).view(shape)
    return (before + cut).diff(dim=axis) * (count / length)
