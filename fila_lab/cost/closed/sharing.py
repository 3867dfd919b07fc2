"""What a device holds of a part's weights, gradients and optimiser by the strategy that devices share them by, torch-free.

ZeRO (Rajbhandari et al., 2020) names the stages: 2 lays gradients and the optimiser's state in parts (`deepspeed`), 3 the weights too
(`fsdp`). In training `fsdp` gathers a layer at a time, and the next before it is needed, in the products' type; while it answers, all.
"""

from __future__ import annotations

from fila_lab.cost.closed.weights import Weights

STRATEGIES = ("ddp", "deepspeed", "fsdp")
"""How several devices may share, in the order of what they save."""
BUCKET = 200_000_000
"""Values in each of DeepSpeed's two buffers, of gradients and of weights that are passed on, as Lightning sets them."""


def training_bytes(weights: Weights, shares: str, world: int, product_bytes: int) -> float:
    """Bytes of a part's state on one of `world` devices in a training step.

    Args:
        shares: `nothing`, `ddp`, `deepspeed` or `fsdp`, as RuntimeConfig.shares.
        product_bytes: of a value in the products' type, in which DeepSpeed holds weights and gradients, with float32 copies beside.
    """
    whole = weights.bytes + 3 * weights.trained_bytes * weights.trained
    if shares == "deepspeed":
        shared = product_bytes + 8 + (4 if product_bytes < 4 else 0)
        return product_bytes * (weights.all + 2 * min(BUCKET, weights.trained)) + shared * weights.trained / world
    if shares == "fsdp" and weights.parted:
        return whole / world + _gathered(weights, product_bytes)
    buckets = weights.trained_bytes * weights.trained if shares == "ddp" else 0.0  # gradients lie in what is passed on, too
    return whole + buckets + (product_bytes * weights.passed if product_bytes < 4 else 0.0)


def answering_bytes(weights: Weights, shares: str, world: int, product_bytes: int) -> float:
    """The same while questions are answered in the middle of training."""
    state = training_bytes(weights, shares, world, product_bytes)
    if shares == "fsdp" and weights.parted:
        return state - _gathered(weights, product_bytes) + product_bytes * weights.all
    return state


def step_bytes(weights: Weights, shares: str, world: int) -> float:
    """Bytes of a part that AdamW's step takes beside the state, when activations are gone: the roots of all second moments at once."""
    shared = (shares == "fsdp" and weights.parted) or shares == "deepspeed"
    return weights.trained_bytes * weights.trained / (world if shared else 1)


def _gathered(weights: Weights, product_bytes: int) -> float:
    """Bytes that a training step gathers of a part, in the products' type: what lies in no layer, with its gradients, and two layers with
    the gradients of one."""
    trained = weights.trained / weights.all if weights.all else 0.0
    return product_bytes * (weights.rest * (1 + trained) + weights.layer * (min(2, weights.layers) + trained))
