"""Towers, detail maps, fusion, and the whole model."""

from fila_lab.modeling.batch import FilaOutput, VisionBatch
from fila_lab.modeling.convnext import ConvNextTower
from fila_lab.modeling.encoder import HybridEncoder
from fila_lab.modeling.model import FilaModel, build_model
from fila_lab.modeling.pixels import normalise
from fila_lab.modeling.resample import resample
from fila_lab.modeling.seeds import component_seed
from fila_lab.modeling.towers import build_convnext, build_vit, random_convnext
from fila_lab.modeling.vit import VitTower

__all__ = [
    "ConvNextTower",
    "FilaModel",
    "FilaOutput",
    "HybridEncoder",
    "VisionBatch",
    "VitTower",
    "build_convnext",
    "build_model",
    "build_vit",
    "component_seed",
    "normalise",
    "random_convnext",
    "resample",
]
