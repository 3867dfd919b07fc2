"""From bytes to what the towers were trained on, mean and deviation per channel: CLIP's unless a checkpoint's tag says others."""

from __future__ import annotations

import open_clip
import torch
from timm.models import get_pretrained_cfg
from torch import Tensor

Channels = tuple[float, ...]
Statistics = tuple[Channels, Channels]
"""Mean and standard deviation of red, green and blue, of pixels between 0 and 1."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
CLIP: Statistics = (CLIP_MEAN, CLIP_STD)


def pixel_statistics(weights: str) -> Statistics:
    """Those that a `weights` field's checkpoint was trained with, by its library's tag; CLIP's for all that has none (random, package:NAME,
    files), and where the tag is not known or says nothing."""
    library, _, tag = weights.partition(":")
    told: dict[str, Channels] = {}
    if library == "timm":
        config = get_pretrained_cfg(tag)
        told = {} if config is None else {"mean": config.mean, "std": config.std}
    elif library == "open_clip":
        model, _, name = tag.partition("/")
        told = open_clip.get_pretrained_cfg(model, name)
    return told.get("mean") or CLIP_MEAN, told.get("std") or CLIP_STD


def normalise(pixels: Tensor, dtype: torch.dtype = torch.float32, statistics: Statistics = CLIP) -> Tensor:
    """uint8 [..., H, W, 3] -> `dtype` [..., 3, H, W], in units of the statistics (CLIP's: about -2 to 2), in channels-last memory; computed
    in float32, or in float64 where asked for that."""
    kind = torch.promote_types(dtype, torch.float32)
    mean, std = statistics
    scale = torch.tensor([1 / (255 * s) for s in std], dtype=kind, device=pixels.device)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], dtype=kind, device=pixels.device)
    return torch.addcmul(shift, pixels.to(kind), scale).to(dtype).movedim(-1, -3)
