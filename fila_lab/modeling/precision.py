"""The precision of products, in one place for training, inference and measurements."""

from __future__ import annotations

import torch

PRODUCTS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""`runtime.precision` -> type of products."""


def autocast(precision: str, device: str = "cpu") -> torch.autocast:
    """Context of a run's `runtime.precision`. `bf16`, `fp16`: products in that type, weights and sums as they are; `fp32`: nothing."""
    return torch.autocast(device, torch.float16 if precision == "fp16" else torch.bfloat16, enabled=precision != "fp32")


def fast_bf16(device: str = "cpu") -> bool:
    """Whether the device takes bfloat16 products without emulating them: on a CPU that has no instructions for them they take up to 80
    times as long as float32's."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) if torch.backends.mkldnn.is_available() else False
