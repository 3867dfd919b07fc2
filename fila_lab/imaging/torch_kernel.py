"""PyTorch's resampling of bytes. The one file of this room that needs torch, and only when it is used."""

from __future__ import annotations

import numpy as np


def bicubic(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 [H, W, 3] -> uint8 [height, width, 3], antialiased; size: (width, height)."""
    import torch

    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    drawn = torch.nn.functional.interpolate(planes, size=size[::-1], mode="bicubic", antialias=True)[0]
    return np.ascontiguousarray(drawn.permute(1, 2, 0).numpy())
