"""The backend of scaled_dot_product_attention: by name, or by shape and phase. On short sequences the flash kernel's CPU backward can take
most of a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from fila_lab.config.runtime import Attention

SHORT = 400
"""Tokens up to which `auto` trains with plain products on a CPU in bfloat16: 0.1 to 0.8 of the fused kernel's time at 17 to 257 tokens,
1.1 and more from 577 on. Elsewhere the fused kernel wins at every length from 17 on: plain products take 1.4 to 6 times its time in
float32, 1.5 to 12 times in bfloat16 without gradients (measured on one core, causal and not, forward and backward where it trains).
"""

_FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
_current: ContextVar[Attention] = ContextVar("attention_backend", default="auto")


def backend_for(tokens: int, *, device: str, bf16: bool, training: bool) -> Attention:
    """What `auto` means for sequences of so many tokens: `auto` (PyTorch's own choice, the fused kernel) or `math`."""
    return "math" if device == "cpu" and bf16 and training and tokens <= SHORT else "auto"


@contextmanager
def attention_backend(name: Attention, tokens: int | None = None, device: str = "cpu") -> Iterator[None]:
    """`math`: plain matrix products, in the products' own type; `flash`: the fused kernels where they take the shapes, else math;
    `auto`: `backend_for` sequences of `tokens` tokens under the present autocast and gradient mode (None: PyTorch's own choice).

    PyTorch's math backend would copy bfloat16 inputs to float32 and back, at twice the time of the whole attention: it is told not to.
    """
    if name == "auto" and tokens is not None:
        cast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        bf16 = cast and torch.get_autocast_dtype(device) is torch.bfloat16
        name = backend_for(tokens, device=device, bf16=bf16, training=torch.is_grad_enabled())
    token = _current.set(name)
    try:
        with _selected(name):
            yield
    finally:
        _current.reset(token)


def current_backend() -> Attention:
    """The backend in effect: `auto` is PyTorch's own choice."""
    return _current.get()


def recomputing() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """`context_fn` for torch.utils.checkpoint: the recomputation runs on the backend of the forward pass, whose block backward has left."""
    return nullcontext(), attention_backend(_current.get())


@contextmanager
def _selected(name: Attention) -> Iterator[None]:
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
