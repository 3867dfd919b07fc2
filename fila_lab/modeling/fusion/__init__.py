"""Fusion strategies: the contract, the registry, and what ships with it."""

from fila_lab.modeling.fusion import bidirectional as _bidirectional
from fila_lab.modeling.fusion import factorised as _factorised  # registers the points of the factors
from fila_lab.modeling.fusion import llava_hr as _llava_hr
from fila_lab.modeling.fusion import mini_gemini as _mini_gemini
from fila_lab.modeling.fusion import none as _none  # registers the baseline
from fila_lab.modeling.fusion.base import Fusion, FusionContext, FusionOutput, FusionSpec, window_side
from fila_lab.modeling.fusion.registry import available, create, register

__all__ = ["Fusion", "FusionContext", "FusionOutput", "FusionSpec", "available", "create", "register", "window_side"]
del _bidirectional, _factorised, _llava_hr, _mini_gemini, _none
