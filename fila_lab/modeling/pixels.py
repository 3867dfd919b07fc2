"""From bytes to what the towers were trained on, mean and deviation per channel: CLIP's unless a checkpoint says others."""

from __future__ import annotations

import open_clip
import torch
from timm.models import get_pretrained_cfg
from torch import Tensor

from fila_lab.config.tower_cards import CLIP, Channels, Statistics
from fila_lab.config.towers import ConvNextConfig, VitConfig


def tower_statistics(config: VitConfig | ConvNextConfig) -> Statistics:
    """Those that a tower's weights were trained with: its `pixels`, else its tag's, else CLIP's."""
    if config.pixels is not None:
        return config.pixels.mean, config.pixels.std
    return tag_statistics(config.weights) or CLIP


def tag_statistics(weights: str) -> Statistics | None:
    """Those that a library says of the tag in a `weights` field; None for all that is no tag, and where the library says nothing."""
    library, _, tag = weights.partition(":")
    told: dict[str, Channels] = {}
    if library == "timm":
        config = get_pretrained_cfg(tag)
        told = {} if config is None else {"mean": config.mean, "std": config.std}
    elif library == "open_clip":
        model, _, name = tag.partition("/")
        told = open_clip.get_pretrained_cfg(model, name)
    return (told.get("mean") or CLIP[0], told.get("std") or CLIP[1]) if told else None


def normalise(pixels: Tensor, dtype: torch.dtype = torch.float32, statistics: Statistics = CLIP) -> Tensor:
    """uint8 [..., H, W, 3] -> `dtype` [..., 3, H, W], in units of the statistics (CLIP's: about -2 to 2), in channels-last memory; computed
    in float32, or in float64 where asked for that."""
    kind = torch.promote_types(dtype, torch.float32)
    mean, std = statistics
    scale = torch.tensor([1 / (255 * s) for s in std], dtype=kind, device=pixels.device)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], dtype=kind, device=pixels.device)
    return torch.addcmul(shift, pixels.to(kind), scale).to(dtype).movedim(-1, -3)
