"""The weights of each part, torch-free: how many train, in what type they lie, and how many a device gathers at a time under FSDP."""

from __future__ import annotations

from dataclasses import dataclass

from fila_lab.config.geometry import Size
from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import has_vit
from fila_lab.config.weights import weights_file
from fila_lab.cost.closed.components import COMPONENTS, component_costs, passed_layers
from fila_lab.cost.closed.parts import embedding_parameters, lora_cost, vit_layer_cost, vocabulary_of


@dataclass(frozen=True)
class Weights:
    """How many of a part.

    frozen, trained: weights; frozen_bytes, trained_bytes: of each. A weight that trains has a gradient and AdamW's two moments in its type.
    layers: modules whose weights are gathered one at a time; the largest has `layer` weights, all that are in none are `rest`.
    parted: whether strategies that lay weights in parts do so here.
    passed: float32 weights that a gradient passes: mixed precision keeps a copy of them in the products' type until the backward pass.
    """

    frozen: float
    trained: float
    frozen_bytes: int = 4
    trained_bytes: int = 4
    layers: int = 0
    layer: float = 0.0
    parted: bool = True
    passed: float = 0.0

    @property
    def all(self) -> float:
        return self.frozen + self.trained

    @property
    def rest(self) -> float:
        """Weights in no layer."""
        return max(0.0, self.all - self.layers * self.layer)

    @property
    def bytes(self) -> float:
        """Of the weights alone."""
        return self.frozen_bytes * self.frozen + self.trained_bytes * self.trained


def weights_of(config: RunConfig, canvas: Size) -> dict[str, Weights]:
    """Part -> its weights; of a fusion those at a canvas, on which they do not depend."""
    counts = {name: cost.parameters for name, cost in component_costs(config, canvas).items()}
    language, adapters = config.language, lora_cost(config.language, 0).parameters
    moving = counts["language"] if language.weights_train else adapters if language.trainable else 0.0
    in_layers = counts["language"] - embedding_parameters(language) - language.width
    head = vocabulary_of(language) * language.width
    vit, convnext = config.vit.trainable, config.convnext.trainable
    layer = vit_layer_cost(config.vit, config.geometry).parameters if has_vit(config) else 0.0
    stage = _largest_stage(config)
    found = {name: Weights(0.0, counts[name], passed=counts[name]) for name in ("fusion", "projector")}
    found["vit"] = Weights(*_either(counts["vit"], vit), layers=config.vit.layers, layer=layer, passed=passed_layers(config) * layer)
    found["convnext"] = Weights(
        *_either(counts["convnext"], convnext), layers=4, layer=stage, parted=convnext, passed=counts["convnext"] if convnext else 0.0
    )
    found["language"] = Weights(
        counts["language"] - moving,
        moving,
        frozen_bytes=language_bytes(config),
        trained_bytes=language_bytes(config) if language.weights_train else 4,
        layers=language.layers,
        layer=in_layers / language.layers,
        passed=adapters + (in_layers - adapters + head if language_bytes(config) == 4 else 0.0),
    )
    return {name: found[name] for name in COMPONENTS}


def language_bytes(config: RunConfig) -> int:
    """Of each of the language model's own weights: what `language.dtype` says, else float32 where they train or are made here; published
    ones that stay frozen keep their checkpoint's type, of 16 bits for all that are current."""
    language = config.language
    if language.dtype is not None:
        return {"float32": 4, "bfloat16": 2}[language.dtype]
    own = language.weights == "random" or weights_file(language.weights) is not None
    return 4 if language.weights_train or own else 2


def _either(count: float, trains: bool) -> tuple[float, float]:
    """(frozen, trained)"""
    return (0.0, count) if trains else (count, 0.0)


def _largest_stage(config: RunConfig) -> float:
    """Weights of the ConvNeXt's largest stage, its blocks alone."""
    return max(depth * (8 * dim**2 + 58 * dim) for depth, dim in zip(config.convnext.depths, config.convnext.dims, strict=True))
