"""The backend of scaled_dot_product_attention, by name. On short sequences the flash kernel's CPU backward can take most of a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

_FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


@contextmanager
def attention_backend(name: Literal["math", "flash", "auto"]) -> Iterator[None]:
    """`math`: plain matrix products, in the products' own type; `flash`: the fused kernels where they take the shapes, else math;
    `auto`: PyTorch's own choice.

    PyTorch's math backend would copy bfloat16 inputs to float32 and back, at twice the time of the whole attention: it is told not to.
    """
    if name == "auto":
        yield
    elif name == "flash":
        with sdpa_kernel(_FUSED, set_priority=True):
            yield
    else:
        before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
        try:
            with sdpa_kernel(SDPBackend.MATH):
                yield
        finally:
            torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)
