"""Positional embeddings of another grid, resampled to the run's: only where `vit.positions` asks for it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fila_lab.config.tower_shapes import square_side


def resampled(positions: Tensor, grid: int) -> Tensor:
    """[1 + n*n, D] -> [1 + grid*grid, D]: the class token's stays, the patches' are resampled bicubically with antialiasing, as open_clip
    resizes them. What is no square stays as it is."""
    side = square_side(len(positions))
    if side is None or side == grid:
        return positions
    first, patches = positions[:1].float(), positions[1:].float()
    picture = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    picture = F.interpolate(picture, size=(grid, grid), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([first, picture.permute(0, 2, 3, 1).flatten(0, 2)])
