"""Towers as a run wants them: built, initialised from their own streams, loaded, frozen.

A frozen tower does not depend on the run's seed, random weights included, so its features can be shared between seeds.
"""

from __future__ import annotations

import json
from typing import Literal

from torch import nn

from fila_lab.config.run import ConvNextConfig, RunConfig
from fila_lab.config.tower_sources import local_files
from fila_lab.modeling.convnext import ConvNextTower
from fila_lab.modeling.seeds import component_rng
from fila_lab.modeling.vit import VitTower
from fila_lab.modeling.weights import load_weights, weights_sha256

__all__ = ["ConvNextTower", "VitTower", "build_convnext", "build_vit", "random_convnext", "tower_sha256"]

_known: dict[str, str] = {}
"""Fingerprints of towers by what they are built from."""


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


def tower_sha256(config: RunConfig, room: Literal["vit", "convnext"], tower: nn.Module | None = None) -> str:
    """`weights_sha256` of a run's ViT or ConvNeXt as it is built; computed once a process, for as long as its files stay as they are: a
    tower is the same for all pools and, frozen, for all cells.

    Args:
        tower: the one that has just been built, where there is one.
    """
    part = config.vit if room == "vit" else config.convnext
    made = {
        "room": room,
        "part": part.model_dump(mode="json"),
        "grid": [config.geometry.tile, config.geometry.patch] if room == "vit" else None,
        "random": room == "convnext" and config.fusion.control == "random_weights",
        "seed": config.seed if part.trainable else 0,
        "files": [(str(path), state.st_size, state.st_mtime_ns) for path in local_files(room, part.weights) if (state := path.stat())],
    }
    key = json.dumps(made, sort_keys=True)
    if key not in _known:
        _known[key] = weights_sha256(tower or (build_vit(config) if room == "vit" else build_convnext(config)))
    return _known[key]
