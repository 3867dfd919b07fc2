"""A module in parts: each device keeps a share of every weight, and gathers a layer's when it is its turn (FSDP2, `fully_shard`)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor


def lay_out(
    model: nn.Module,
    layers: Iterable[nn.Module],
    mesh: DeviceMesh,
    gathered: torch.dtype,
    whole: Iterable[nn.Parameter] = (),
    methods: Iterable[str] = (),
) -> None:
    """Lay a model out over a mesh of one dimension, in place.

    Args:
        layers: modules in it whose weights are gathered for themselves; the rest is gathered from the forward to the backward pass.
        gathered: type in which weights are gathered, and their gradients made; shares, and sums of gradients, keep float32.
        whole: weights that every device keeps.
        methods: names of what runs the model beside `forward`.
    """
    policy = MixedPrecisionPolicy(param_dtype=gathered, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy, ignored_params=set(whole))
    for method in methods:
        register_fsdp_forward_method(model, method)


def is_sharded(model: nn.Module) -> bool:
    """Whether it is laid out."""
    return isinstance(model, FSDPModule)


def gather(model: nn.Module) -> None:
    """Give every device all weights, until `scatter`: what devices then do by themselves takes no word between them."""
    for part in _laid_out(model):
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()


def scatter(model: nn.Module) -> None:
    """Back to shares."""
    for part in _laid_out(model):
        part.set_reshard_after_forward(part is not model, recurse=False)
        part.reshard()


def local(value: Tensor) -> Tensor:
    """This device's share of a weight, or the weight where it is whole; gradients pass."""
    return value.to_local() if isinstance(value, DTensor) else value


def whole(value: Tensor) -> Tensor:
    """The weight of which each device has a share; all devices must ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def _laid_out(model: nn.Module) -> list[FSDPModule]:
    return [part for part in model.modules() if isinstance(part, FSDPModule)]
