"""Tokens as maps on which what is cut apart lies side by side again, and back."""

from __future__ import annotations

import torch
from torch import Tensor

from fila_lab.config.fusion import Reach
from fila_lab.modeling.fusion.base import FusionContext


def maps_of(tokens: Tensor, context: FusionContext, reach: Reach) -> list[Tensor]:
    """[N, g*g, D] -> the overviews [B, D, g, g] and the joined canvases [B, D, rows*g, cols*g]; with reach `tile` every tile by itself,
    [N, D, g, g]. Where tiles overlap there is no such canvas."""
    g, rows, cols = context.grid, context.rows, context.cols
    tiles = tokens.unflatten(1, (g, g))  # [N, g, g, D]
    if reach == "tile":
        return [tiles.permute(0, 3, 1, 2)]
    image = tiles.unflatten(0, (-1, 1 + rows * cols))
    canvas = image[:, 1:].unflatten(1, (rows, cols)).permute(0, 5, 1, 3, 2, 4)  # [B, D, rows, g, cols, g]
    return [image[:, 0].permute(0, 3, 1, 2), canvas.flatten(4, 5).flatten(2, 3)]


def tokens_of(maps: list[Tensor], context: FusionContext) -> Tensor:
    """What `maps_of` gave, or other maps of its sizes -> [N, g*g, D]."""
    if len(maps) == 1:
        return maps[0].flatten(2).transpose(1, 2)
    overview, canvas = maps
    tiles = canvas.unflatten(3, (context.cols, -1)).unflatten(2, (context.rows, -1)).permute(0, 2, 4, 3, 5, 1)  # [B, rows, cols, g, g, D]
    image = torch.cat([overview.permute(0, 2, 3, 1)[:, None], tiles.flatten(1, 2)], dim=1)
    return image.flatten(2, 3).flatten(0, 1)
