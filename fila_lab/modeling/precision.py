"""The precision of products, in one place for training, inference and measurements."""

from __future__ import annotations

import torch


def autocast(precision: str, device: str = "cpu") -> torch.autocast:
    """Context of a run's `runtime.precision`. `bf16`: products in bfloat16, weights and sums as they are; `fp32`: nothing."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")
