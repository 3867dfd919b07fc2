"""Training with weights in parts: Lightning's strategy for FSDP2, checkpoints as other cells have them, answers by whole weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from fila_lab.modeling import FilaModel
from fila_lab.modeling.precision import PRODUCTS
from fila_lab.modeling.sharding import gather, lay_out, scatter, whole


def shard(model: FilaModel, mesh: DeviceMesh) -> None:
    """Lay a model out, its weights gathered in the type of the run's products: a layer of the ViT, a stage of a ConvNeXt that trains, a
    layer of the language model at a time. A frozen ConvNeXt stays whole: it is asked by itself, before the model is."""
    convnext = model.encoder.convnext
    frozen = convnext is not None and not any(value.requires_grad for value in convnext.parameters())
    layers: list[nn.Module] = [*_layers(model.language)]
    if model.encoder.vit is not None:
        layers = [*model.encoder.vit.trunk.transformer.resblocks, *layers]
    if convnext is not None and not frozen:
        layers += convnext.trunk.stages
    products = PRODUCTS[model.config.runtime.precision]
    lay_out(model, layers, mesh, products, whole=convnext.parameters() if convnext is not None and frozen else (), methods=("answer",))


def _layers(language: nn.Module) -> nn.ModuleList:
    """A language model's layers, whatever its class calls them: the list with most weights in it."""
    lists = [part for part in language.modules() if isinstance(part, nn.ModuleList)]
    return max(lists, key=lambda part: sum(value.numel() for value in part.parameters()))


class ShardedStrategy(ModelParallelStrategy):
    """One file a checkpoint, of what trains and the optimiser's state, put together on rank 0; every rank reads its share of it.

    Lightning's own would gather frozen weights too, and each name of a weight that has two.
    """

    def __init__(self, world: int) -> None:
        super().__init__(data_parallel_size=world, tensor_parallel_size=1, save_distributed_checkpoint=False)

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """What trains, by its first name; on ranks beyond the first empty."""
        return self._whole({name: value for name, value in self._module().named_parameters() if value.requires_grad})

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """See `Strategy.optimizer_state`; on ranks beyond the first empty."""
        state = optimizer.state_dict()
        return self._whole(state)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """See `Strategy.load_checkpoint`; the file is mapped, not read as a whole."""
        return torch.load(checkpoint_path, map_location="cpu", mmap=True, weights_only=True)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """See `Strategy.load_model_state_dict`."""
        state = checkpoint["state_dict"]
        with torch.no_grad():
            for name, value in self._module().named_parameters():
                if value.requires_grad:
                    value.copy_(_share(state[name], value))

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """See `Strategy.load_optimizer_state_dict`."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            own = [value for group in optimizer.param_groups for value in group["params"]]
            shares = {
                number: {key: _share(part, own[number]) if _of_its_shape(part, own[number]) else part for key, part in parts.items()}
                for number, parts in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": shares})

    def _module(self) -> L.LightningModule:
        assert self.lightning_module is not None
        return self.lightning_module

    def _whole(self, state: Any) -> Any:
        """A nest of dictionaries with whole tensors on the CPU in place of shares: every rank must ask, rank 0 keeps."""
        if isinstance(state, dict):
            found = {name: self._whole(value) for name, value in state.items()}
            return found if self.is_global_zero else {}
        if not isinstance(state, Tensor):
            return state
        value = whole(state.detach())
        return value.cpu() if self.is_global_zero else None


def _share(whole: Tensor, of: Tensor) -> Tensor:
    """This rank's share of a tensor that all ranks hold, laid out as `of`; itself where that is whole."""
    if not isinstance(of, DTensor):
        return whole
    return distribute_tensor(whole.to(of.device), of.device_mesh, of.placements, src_data_rank=None)


def _of_its_shape(part: Any, value: Tensor) -> bool:
    """A moment, not a count of steps."""
    return isinstance(part, Tensor) and part.shape == value.shape and part.ndim > 0


class WholeForAnswers(Callback):
    """Ranks answer different prompts in different numbers of tokens: while they do, each has all weights, and waits for nobody."""

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        gather(module.model)  # type: ignore[arg-type]

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        scatter(module.model)  # type: ignore[arg-type]

    def on_predict_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        gather(module.model)  # type: ignore[arg-type]

    def on_predict_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        scatter(module.model)  # type: ignore[arg-type]
