"""How models of transformers cut images into tiles, one family a module; which it is follows from a model's image processor."""

from fila_lab.hub.audit.tilings.base import Settings, Tiling, seams
from fila_lab.hub.audit.tilings.known import FAMILIES, tiling_of

__all__ = ["FAMILIES", "Settings", "Tiling", "seams", "tiling_of"]
