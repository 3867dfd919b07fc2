"""LLaVA-NeXT: the image is padded onto one of the pinpoints, which is cut into tiles; an overview of the bare image comes first.

Read from transformers' LlavaNextImageProcessor: the same canvas rule and rounding as fila_lab's own canvases have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fila_lab.config.canvas_rules import choose_canvas
from fila_lab.config.geometry import Size
from fila_lab.hub.audit.tilings.base import Settings, Tiling, token_side
from fila_lab.imaging import Geometry


class LlavaNext(Tiling):
    """Canvases by `image_grid_pinpoints`, aspect kept."""

    name = "llava_next"

    def __init__(self, tile: int, patch: int, canvases: Sequence[Size]) -> None:
        super().__init__(tile, patch)
        self.canvases = tuple(canvases)

    @classmethod
    def of(cls, settings: Settings, config: Any) -> LlavaNext:
        patch = token_side(config)
        shown = settings.square("size") or settings.edge("size", "shortest_edge")
        tile = settings.square("crop_size") or shown
        if tile is None or shown is None or (settings.get("do_resize") and shown != tile):
            raise settings.unusable(f"tiles of {tile} px are resized to {shown}")
        canvases = [(int(width), int(height)) for height, width in settings.get("image_grid_pinpoints")]
        if ragged := next((canvas for canvas in canvases if canvas[0] % tile or canvas[1] % tile), None):
            raise settings.unusable(f"image_grid_pinpoints has {ragged[0]} x {ragged[1]} px, no whole number of tiles of {tile} px")
        return cls(tile, patch, canvases)

    def geometry(self, size: Size) -> Geometry:
        return self.on_canvas(size, choose_canvas(*size, self.canvases, "llava_next"), "pad")

    def crops(self, geometry: Geometry) -> int:
        return geometry.tiles + 1

    def tiles(self, geometry: Geometry) -> slice:
        return slice(1, 1 + geometry.tiles)
