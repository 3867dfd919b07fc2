"""From bytes to what the towers were trained on: CLIP's per-channel mean and standard deviation."""

from __future__ import annotations

import torch
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def normalise(pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 [..., H, W, 3] -> `dtype` [..., 3, H, W], in CLIP's units (about -2 to 2), in channels-last memory; computed in float32, or in
    float64 where asked for that."""
    kind = torch.promote_types(dtype, torch.float32)
    scale = torch.tensor([1 / (255 * s) for s in CLIP_STD], dtype=kind, device=pixels.device)
    shift = torch.tensor([-m / s for m, s in zip(CLIP_MEAN, CLIP_STD, strict=True)], dtype=kind, device=pixels.device)
    return torch.addcmul(shift, pixels.to(kind), scale).to(dtype).movedim(-1, -3)
