"""Fusion strategies: the contract, the registry, and what ships with it."""

from fila_lab.modeling.fusion import factorised as _factorised  # registers its presets
from fila_lab.modeling.fusion import none as _none  # registers the baseline
from fila_lab.modeling.fusion.base import Fusion, FusionContext, FusionOutput, FusionSpec, window_side
from fila_lab.modeling.fusion.registry import available, create, register

__all__ = ["Fusion", "FusionContext", "FusionOutput", "FusionSpec", "available", "create", "register", "window_side"]
del _factorised, _none
