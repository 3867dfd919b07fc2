"""Maps brought to another number of cells, by named operators; `area` is the true area mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fila_lab.config.base import FilaError, did_you_mean

OPERATORS = ("area", "bilinear", "nearest")


def resample(detail: Tensor, size: Sequence[int], operator: str) -> Tensor:
    """[..., H, W] -> [..., *size] for `size` (rows, columns); the same tensor when the size already fits.

    `area`: the mean over each new cell's rectangle, parts of old cells by their share of it, whether the map shrinks or grows.
    `bilinear`: between the four nearest centres, as F.interpolate with half-pixel centres; where a map shrinks to less than half, cells
    between them are not read. `nearest`: the cell over each new cell's centre.

    Floating types stay what they are (half ones are averaged in float32); whole numbers and bools come back as float32.

    Raises:
        FilaError: an unknown operator; a size, or a map, without cells.
    """
    rows, cols = size
    if operator not in OPERATORS:
        raise FilaError(f"operator={operator!r} is unknown{did_you_mean(operator, OPERATORS)}; choose {', '.join(OPERATORS)}")
    if detail.ndim < 2 or min(rows, cols, *detail.shape[-2:]) < 1:
        raise FilaError(f"a map of shape {tuple(detail.shape)} cannot be resampled to {rows} x {cols} cells; both need at least one a side")
    if tuple(detail.shape[-2:]) == (rows, cols):
        return detail
    if not detail.is_floating_point():
        detail = detail.float()
    if operator == "area":
        return _area(detail, rows, cols)
    planes = detail.reshape(-1, 1, *detail.shape[-2:]) if detail.ndim != 4 else detail
    if operator == "bilinear":
        planes = F.interpolate(planes, size=(rows, cols), mode="bilinear", align_corners=False)
    else:
        planes = F.interpolate(planes, size=(rows, cols), mode="nearest-exact")
    return planes.view(*detail.shape[:-2], rows, cols)


def _area(detail: Tensor, rows: int, cols: int) -> Tensor:
    """Channels are laid last, so that whole cells are copied, not single values."""
    height, width = detail.shape[-2:]
    planes = detail if detail.ndim > 2 else detail[None]
    if height % rows == 0 and width % cols == 0:
        return F.adaptive_avg_pool2d(planes, (rows, cols)).view(*detail.shape[:-2], rows, cols)
    cells = planes.movedim(-3, -1).to(torch.promote_types(detail.dtype, torch.float32))  # [..., H, W, C]
    means = _area_axis(_area_axis(cells, cells.ndim - 3, rows), cells.ndim - 2, cols)
    return means.to(detail.dtype).movedim(-1, -3).reshape(*detail.shape[:-2], rows, cols)


def _area_axis(values: Tensor, axis: int, count: int) -> Tensor:
    """Means over `count` equal parts of an axis: each part's old cells in turn, every one by its share. Sums, not a product with a matrix,
    most of which would be zeros and which autocast would round."""
    length = values.shape[axis]
    if length == count:
        return values
    first, shares = area_shares(length, count, values.device)
    shape = [-1 if i == axis else 1 for i in range(values.ndim)]
    total: Tensor | None = None
    for turn, share in enumerate(shares.to(values.dtype)):
        part = values.index_select(axis, (first + turn).clamp(max=length - 1))
        total = part.mul_(share.view(shape)) if total is None else total.addcmul_(part, share.view(shape))
    assert total is not None
    return total


def area_shares(length: int, count: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Of `length` cells cut into `count` equal parts: the first cell that each part reaches into, int64 [count], and the shares, float64
    [most cells a part reaches into, count], of that cell and those after it in the part's mean. Shares of a part add up to 1.

    In units of a count-th of a cell, so that all borders are whole numbers.
    """
    common = math.gcd(length, count)
    reach = 2 + (length // common - 2) // (count // common)  # a part that begins just before a border
    start = torch.arange(count, device=device) * length  # part j spans [j * length, (j + 1) * length), cell i [i * count, (i + 1) * count)
    first = start // count
    cells = (first + torch.arange(reach, device=device)[:, None]) * count
    overlap = torch.minimum(cells + count, start + length) - torch.maximum(cells, start)
    return first, overlap.clamp(min=0).double() / length
