"""Where tokens lie relative to each other, within a tile and across the tiles of a canvas, as indices for gathering and for learned biases.

Tokens of an image are counted as its tiles come: the overview's g*g first, then tile by tile, S = (1 + rows*cols)*g*g in all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fila_lab.config.fusion import Reach
from fila_lab.modeling.fusion.base import FusionContext


def offsets(rows: Tensor, cols: Tensor, reach: int) -> Tensor:
    """int64 [T] rows and columns -> [T, T]: for each pair (from, to) which of the (2*reach + 1)**2 offsets of up to `reach` it has."""
    down, across = (place[None, :] - place[:, None] + reach for place in (rows, cols))
    return down * (2 * reach + 1) + across


def tile_offsets(grid: int, device: torch.device) -> Tensor:
    """Of all pairs of a tile's tokens: [g*g, g*g], indices into (2g - 1)**2 offsets."""
    place = torch.arange(grid * grid, device=device)
    return offsets(place // grid, place % grid, grid - 1)


def token_places(context: FusionContext) -> tuple[Tensor, Tensor, Tensor]:
    """Tile index [S], row [S] and column [S] of an image's tokens, on the canvas across its tiles, or in the overview's own grid."""
    g, device = context.grid, context.row.device
    tiles = 1 + context.rows * context.cols
    tile = torch.arange(tiles, device=device).repeat_interleave(g * g)
    inside = torch.arange(g * g, device=device).repeat(tiles)
    row, col = (place[:tiles].clamp(min=0)[tile] * g for place in (context.row, context.col))
    return tile, row + inside // g, col + inside % g


def neighbour_tokens(context: FusionContext, reach: Reach = "canvas") -> Tensor:
    """Of each token itself and the eight around it, in raster order, on its canvas, across tiles, or on the overview: int64 [S, 9], the
    token's number among S, -1 where there is none. With reach `tile` there is none in another tile."""
    g, (tile, row, col) = context.grid, token_places(context)
    step = torch.arange(3, device=tile.device) - 1
    rows, cols = row[:, None] + step.repeat_interleave(3), col[:, None] + step.repeat(3)  # [S, 9]
    overview = (tile == 0)[:, None]
    height, width = (torch.where(overview, g, count * g) for count in (context.rows, context.cols))
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    other = torch.where(overview, 0, 1 + rows // g * context.cols + cols // g)
    if reach == "tile":
        inside = inside & (other == tile[:, None])
    return torch.where(inside, other * g * g + rows % g * g + cols % g, -1)


def reachable_tokens(context: FusionContext, reach: Reach = "canvas") -> Tensor:
    """bool [S, S]: the tokens that a token (first axis) reads across tiles. One of the canvas reads its own tile and the up to eight around
    it, one of the overview everything; with reach `tile` each reads its own tile."""
    tiles = 1 + context.rows * context.cols
    row, col = context.row[:tiles], context.col[:tiles]
    near = ((row[:, None] - row).abs() <= 1) & ((col[:, None] - col).abs() <= 1) & (row >= 0)
    near = near | (row < 0)[:, None]
    if reach == "tile":
        near = torch.eye(tiles, dtype=torch.bool, device=row.device)
    return near.repeat_interleave(context.grid**2, 0).repeat_interleave(context.grid**2, 1)


def canvas_offsets(context: FusionContext) -> Tensor:
    """Of all pairs of an image's tokens: int64 [S, S], indices into (4g - 1)**2 offsets within neighbouring tiles, followed by (2g - 1)**2
    of the overview's tokens to what lies beside and under them, canvas tokens brought to the overview's grid."""
    g, (tile, row, col) = context.grid, token_places(context)
    reach = 2 * g - 1
    down, across = ((place[None, :] - place[:, None]).clamp(-reach, reach) + reach for place in (row, col))
    near = down * (2 * reach + 1) + across
    overview = tile == 0
    under_row, under_col = (torch.where(overview, place, place // n) for place, n in ((row, context.rows), (col, context.cols)))
    return torch.where(overview[:, None], (2 * reach + 1) ** 2 + offsets(under_row, under_col, g - 1), near)
