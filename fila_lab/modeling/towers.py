"""Towers as a run wants them: built, initialised from their own streams, loaded, frozen.

A frozen tower does not depend on the run's seed, random weights included, so its features can be shared between seeds.
"""

from __future__ import annotations

from fila_lab.config.run import RunConfig
from fila_lab.config.towers import ConvNextConfig
from fila_lab.modeling.convnext import ConvNextTower
from fila_lab.modeling.seeds import component_rng
from fila_lab.modeling.vit import VitTower
from fila_lab.modeling.weights import load_weights

__all__ = ["ConvNextTower", "VitTower", "build_convnext", "build_vit", "random_convnext"]


def build_vit(config: RunConfig) -> VitTower:
    """The run's ViT; FilaError when its weights are missing or of another shape."""
    with component_rng(config.seed if config.vit.trainable else 0, "vit"):
        tower = VitTower(config.vit, config.geometry)
    load_weights(tower, config.vit.weights, "vit.weights")
    tower.requires_grad_(config.vit.trainable)
    for parameter in tower.unused_parameters():
        parameter.requires_grad_(False)
    return tower


def build_convnext(config: RunConfig) -> ConvNextTower:
    """The run's ConvNeXt, the random one under the control random_weights; FilaError when its weights are missing or of another shape."""
    if config.fusion.control == "random_weights":
        tower = random_convnext(config.convnext)
    else:
        with component_rng(config.seed if config.convnext.trainable else 0, "convnext"):
            tower = ConvNextTower(config.convnext)
        load_weights(tower, config.convnext.weights, "convnext.weights")
    return tower.requires_grad_(config.convnext.trainable)


def random_convnext(config: ConvNextConfig) -> ConvNextTower:
    """The one random ConvNeXt of the control random_weights: the same for every seed."""
    with component_rng(0, "random_convnext"):
        return ConvNextTower(config)
