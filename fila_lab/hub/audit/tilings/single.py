"""Models that see an image in one crop (LLaVA-1.5, PaliGemma, Gemma 3, ...): no seams, so that they are the audit's control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fila_lab.config.geometry import Size
from fila_lab.config.tiling import TileLayout
from fila_lab.hub.audit.tilings.base import Settings, Tiling, token_side
from fila_lab.imaging import Geometry


@dataclass(frozen=True)
class Cropped(Geometry):
    """An image whose shorter side fills the one tile; the ends of the longer side are cut off."""

    @property
    def resized(self) -> Size:
        """Size of the image before it is cropped, px."""
        width, height = self.image_size
        side = self.tile
        return (side, int(side * height / width)) if width <= height else (int(side * width / height), side)

    @property
    def offset(self) -> Size:
        """Canvas px where the image begins: none or before the canvas."""
        width, height = self.resized
        return -((width - self.tile) // 2), -((height - self.tile) // 2)


class Single(Tiling):
    """One tile, the image stretched, padded or cropped onto it (`fit`)."""

    name = "single"

    def __init__(self, tile: int, patch: int, fit: str) -> None:
        super().__init__(tile, patch, cuts=False)
        self.fit = fit

    @classmethod
    def of(cls, settings: Settings, config: Any) -> Single:
        patch = token_side(config)
        if settings.get("do_pan_and_scan"):
            raise settings.unusable("do_pan_and_scan shows crops of an image beside the whole of it")
        if not settings.get("do_resize"):
            raise settings.unusable("do_resize is off")
        side, shortest = settings.square("size"), settings.edge("size", "shortest_edge")
        cropped = settings.square("crop_size") if settings.get("do_center_crop") else None
        if side is not None and cropped in (None, side):
            return cls(side, patch, "stretch")
        padded = settings.name.startswith("Llava") and settings.get("do_pad")  # elsewhere do_pad pads batches
        if shortest is not None and (cropped == shortest or padded):
            return cls(shortest, patch, "pad" if padded else "crop")
        raise settings.unusable(f"size {side or shortest} px is cropped to {cropped}")

    def geometry(self, size: Size) -> Geometry:
        if self.fit != "crop":
            return self.on_canvas(size, (self.tile, self.tile), self.fit)
        layout = TileLayout.side_by_side(self.tile // self.patch, 1, 1)
        return Cropped(size, (self.tile, self.tile), self.tile, self.patch, None, layout=layout)
