"""Parameters and FLOPs of the real classes, on shapes alone (no memory, no arithmetic), so the largest preset counts in seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fila_lab.config.costs import ORACLE_CHANNELS
from fila_lab.config.run import RunConfig, Size
from fila_lab.cost.subject import build_subject, synthetic_batch


def flops_of(function: Callable[[], Any]) -> int:
    """FLOPs (2 x multiply-adds) of products, convolutions and attention in a call; norms, activations and resampling are not counted.

    PyTorch's counter knows no formula for the CPU's fused attention and counts it as nothing: of 382 GFLOPs for a tile through CLIP
    ViT-L/14-336 it sees 349 (233 where nn.MultiheadAttention's fast path hides the projections too). Under the math backend attention is
    plain products.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        function()
    return int(counter.get_total_flops())


def count_flops(config: RunConfig, canvas: Size | None = None, oracle_channels: int = ORACLE_CHANNELS) -> int:
    """FLOPs of one forward pass of the whole model for one image on `canvas` (default: the largest allowed) with TEXT_TOKENS of text.

    Every text token passes the language model's head, as in FilaModel.forward.
    """
    config = config.model_copy(update={"runtime": config.runtime.model_copy(update={"attention": "math"})})
    model = build_subject(config, "meta", oracle_channels)
    with FakeTensorMode(allow_non_fake_inputs=True):  # the meta device itself knows no autocast, which fusions ask about
        model.to_empty(device="cpu")
        batch = synthetic_batch(config, 1, canvas, "cpu", oracle_channels)
        return flops_of(lambda: model(batch))


def count_parameters(config: RunConfig, oracle_channels: int = ORACLE_CHANNELS) -> dict[str, int]:
    """`parameters` of the whole model (towers and language model included), `trainable_parameters`, `fusion_parameters`."""
    model = build_subject(config, "meta", oracle_channels)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable_parameters": sum(p.numel() for p in model.trainable_parameters()),
        "fusion_parameters": sum(p.numel() for p in model.fusion_parameters()),
    }
