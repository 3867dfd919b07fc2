"""Shipped weights are written in half precision: three tower pairs in 9 MB. Models run them in float32, whatever their file's type."""

from __future__ import annotations

import torch
from torch import nn

STORED = torch.float16
"""The type that pretrained files hold."""


@torch.no_grad()
def round_as_stored(module: nn.Module) -> None:
    """Round every parameter to the nearest value that the file can hold, so that a score is that of the weights that are shipped."""
    for parameter in module.parameters():
        parameter.copy_(parameter.to(STORED))
