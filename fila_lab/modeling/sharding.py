"""A module in parts: each device keeps a share of every weight, and gathers a layer's when it is its turn (FSDP2, `fully_shard`)."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor


def lay_out(
    model: nn.Module, layers: Iterable[nn.Module], mesh: DeviceMesh, whole: Iterable[nn.Parameter] = (), methods: Iterable[str] = ()
) -> None:
    """Lay a model out over a mesh of one dimension, in place.

    Args:
        layers: modules in it whose weights are gathered for themselves; the rest is gathered from the forward to the backward pass.
        whole: weights that every device keeps.
        methods: names of what runs the model beside `forward`.
    """
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh, ignored_params=set(whole))
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


def _laid_out(model: nn.Module) -> list[FSDPModule]:
    return [part for part in model.modules() if isinstance(part, FSDPModule)]
