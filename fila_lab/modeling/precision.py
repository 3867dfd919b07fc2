"""The precision of products, in one place for training, inference and measurements."""

from __future__ import annotations

import torch

PRODUCTS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""`runtime.precision` -> type of products."""


def autocast(precision: str, device: str = "cpu") -> torch.autocast:
    """Context of a run's `runtime.precision`. `bf16`, `fp16`: products in that type, weights and sums as they are; `fp32`: nothing."""
    return torch.autocast(device, torch.float16 if precision == "fp16" else torch.bfloat16, enabled=precision != "fp32")
