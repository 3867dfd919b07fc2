"""InternVL: the image is stretched onto the grid of tiles nearest to its aspect; an overview comes last, where there are several tiles.

Read from transformers' GotOcr2ImageProcessor, which InternVL, Aya Vision and others use.
"""

from __future__ import annotations

from typing import Any

from fila_lab.config.canvas_rules import choose_canvas, grids_up_to
from fila_lab.config.geometry import Size
from fila_lab.hub.audit.tilings.base import Settings, Tiling, token_side
from fila_lab.imaging import Geometry


class InternVL(Tiling):
    """Canvases of `fewest` to `most` tiles, aspect not kept."""

    name = "internvl"

    def __init__(self, tile: int, patch: int, fewest: int, most: int) -> None:
        super().__init__(tile, patch, cuts=most > 1)
        self.canvases = tuple((width, height) for width, height in grids_up_to(most, tile) if width * height >= fewest * tile * tile)

    @classmethod
    def of(cls, settings: Settings, config: Any) -> InternVL:
        patch = token_side(config)
        tile = settings.square("size")
        if tile is None:
            raise settings.unusable("size is no square")
        if not settings.get("crop_to_patches"):
            return cls(tile, patch, 1, 1)
        return cls(tile, patch, int(settings.get("min_patches", 1)), int(settings.get("max_patches", 12)))

    def geometry(self, size: Size) -> Geometry:
        return self.on_canvas(size, choose_canvas(*size, self.canvases, "internvl"), "stretch")
