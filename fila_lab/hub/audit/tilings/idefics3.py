"""Idefics3 and SmolVLM: the longer side is brought to a fixed length, then both are stretched to whole tiles; an overview comes last.

Read from transformers' Idefics3ImageProcessor. The image is resampled twice; seams follow from the product of the two, which is a stretch.
"""

from __future__ import annotations

import math
from typing import Any

from fila_lab.config.geometry import Size
from fila_lab.hub.audit.tilings.base import Settings, Tiling, token_side
from fila_lab.imaging import Geometry

LONGEST = 4096
"""px; no image is larger before it is cut."""


class Idefics3(Tiling):
    """Canvases of as many tiles as the longer side (`longest` px; None: as it is) and the image's aspect ask for."""

    name = "idefics3"

    def __init__(self, tile: int, patch: int, longest: int | None, split: bool) -> None:
        super().__init__(tile, patch, cuts=split)
        self.longest = longest

    @classmethod
    def of(cls, settings: Settings, config: Any) -> Idefics3:
        patch = token_side(config)
        tile, longest = settings.edge("max_image_size", "longest_edge"), settings.edge("size", "longest_edge")
        resizes = bool(settings.get("do_resize"))
        if tile is None or (resizes and longest is None):
            raise settings.unusable("size and max_image_size do not both say their longest_edge")
        return cls(tile, patch, longest if resizes else None, bool(settings.get("do_image_splitting")))

    def geometry(self, size: Size) -> Geometry:
        return self.on_canvas(size, self._canvas(size) if self.cuts else (self.tile, self.tile), "stretch")

    def _canvas(self, size: Size) -> Size:
        if self.longest is not None:
            width, height = _scaled(size, self.longest)
            size = width + width % 2 * (width < height), height + height % 2 * (height <= width)  # the shorter side is made even
            if max(size) > LONGEST:
                size = _scaled(size, LONGEST)
        long = _whole(max(size), self.tile)
        short = _whole(min(_scaled(size, long)), self.tile)
        return (long, short) if size[0] >= size[1] else (short, long)


def _scaled(size: Size, longest: int) -> Size:
    """The size with `longest` px on its longer side, the shorter one rounded down; in the processor's own order of operations, since a
    quotient that is rounded before it is rounded down may lose a px."""
    width, height = size
    aspect = width / height
    return (longest, max(1, int(longest / aspect))) if width >= height else (max(1, int(longest * aspect)), longest)


def _whole(length: int, tile: int) -> int:
    return math.ceil(length / tile) * tile
