"""Where pretraining runs, and in which precision: said in words that the cards repeat."""

from __future__ import annotations

from typing import Any

import torch

from fila_lab.config import FilaError
from fila_lab.modeling.precision import fast_bf16

DEVICES = ("cpu", "cuda", "auto")


def chosen_device(name: str) -> torch.device:
    """`cpu`, `cuda`, or `auto`: a GPU where there is one.

    Raises:
        FilaError: another name, or a GPU that is not there.
    """
    if name not in DEVICES:
        raise FilaError(f"device={name!r} is unknown; choose {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise FilaError("device='cuda': this machine has no GPU that torch can use; choose cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def products(device: torch.device) -> str:
    """The type of products there: `bf16` where the device has instructions for it, else `fp32`."""
    return "bf16" if fast_bf16(device.type) else "fp32"


def made_on(device: torch.device) -> dict[str, Any]:
    """What a card says of it. The same command gives the same bits on one kind of device alone."""
    kind = "CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)
    words = {"bf16": "products in bfloat16 (autocast), weights and optimiser in float32", "fp32": "float32"}
    return {"device": kind, "precision": words[products(device)]}
