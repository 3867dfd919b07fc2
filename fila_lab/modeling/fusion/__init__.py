"""Fusion strategies: the contract, the registry, and what ships with it."""

from importlib import import_module

from fila_lab.config.strategies import WHOLE
from fila_lab.modeling.fusion import factorised as _factorised  # registers the points of the factors
from fila_lab.modeling.fusion.base import Fusion, FusionContext, FusionOutput, FusionSpec, window_side
from fila_lab.modeling.fusion.registry import available, create, register

for _name in ("none", *WHOLE):  # each registers itself
    import_module(f"{__name__}.{_name}")

__all__ = ["Fusion", "FusionContext", "FusionOutput", "FusionSpec", "available", "create", "register", "window_side"]
del _factorised
