"""The contract of a tiling: what a model's image processor does to an image, as a geometry; and what is read off a processor for it.

A patch is here the square of canvas px that one token of the language model stands for: the ViT's own, or the block of them that the model
merges into a token (pixel shuffle). Seams and sham places are then told apart by the coarsest border there is inside a tile.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from fila_lab.config.base import FilaError
from fila_lab.config.geometry import Size
from fila_lab.config.tiling import TileLayout
from fila_lab.imaging import Geometry


class Tiling(ABC):
    """How a processor cuts images. `name`: what reports call it; `cuts`: whether it ever shows a model more than one tile."""

    name: ClassVar[str]

    def __init__(self, tile: int, patch: int, cuts: bool = True) -> None:
        if tile % patch:
            raise FilaError(
                f"a tile of {tile} px is no whole number of patches of {patch} px: its ViT leaves out the last {tile % patch} px of each "
                "tile, and no other place on it has the phase of a seam; such a model cannot be audited"
            )
        self.tile, self.patch, self.cuts = tile, patch, cuts

    @abstractmethod
    def geometry(self, size: Size) -> Geometry:
        """Where canvas, tiles and seams of an image of (width, height) px lie. The canvas is the model's, not one of fila_lab's presets."""

    def crops(self, geometry: Geometry) -> int:
        """How many crops of an image the processor hands to its model: the tiles, and an overview of several."""
        return geometry.tiles + (geometry.tiles > 1)

    def tiles(self, geometry: Geometry) -> slice:
        """Which of the crops are the tiles, in raster order."""
        return slice(0, geometry.tiles)

    def on_canvas(self, size: Size, canvas: Size, fit: str) -> Geometry:
        """The geometry of an image that is padded (`pad`) or stretched onto a canvas of whole tiles."""
        layout = TileLayout.side_by_side(self.tile // self.patch, canvas[1] // self.tile, canvas[0] // self.tile)
        return Geometry(size, canvas, self.tile, self.patch, None, None, fit, layout=layout)


def seams(geometry: Geometry) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Where the seams of an image lie in its own px: (x of the vertical ones, y of the horizontal ones), those inside the image only."""
    found = []
    for lines, offset, scale, length in zip(
        (geometry.seams_x, geometry.seams_y), geometry.offset, geometry.scales, geometry.image_size, strict=True
    ):
        own = ((line - offset) / scale for line in lines)
        found.append(tuple(place for place in own if 0 < place < length))
    return found[0], found[1]


class Settings:
    """What a processor passes to its image processor when it is called: its own defaults for images, then the image processor's fields."""

    def __init__(self, processor: Any) -> None:
        self.images = processor.image_processor
        self.name = type(self.images).__name__
        ours = getattr(type(processor), "images_kwargs", None)
        self.ours: Mapping[str, Any] = ours if isinstance(ours, Mapping) else {}

    def get(self, field: str, default: Any = None) -> Any:
        value = self.ours.get(field)
        return getattr(self.images, field, default) if value is None else value

    def edge(self, field: str, key: str) -> int | None:
        """One number of a size, e.g. `longest_edge` of `size`; None where it is not given."""
        size = self.get(field)
        if isinstance(size, int):
            return size if key in ("height", "width", "shortest_edge") else None
        found = None if size is None else size.get(key)
        return None if found is None else int(found)

    def square(self, field: str) -> int | None:
        """The side of a size that is a square of fixed px; None where there is none.

        Raises:
            FilaError: it is a rectangle.
        """
        height, width = self.edge(field, "height"), self.edge(field, "width")
        if height != width:
            raise self.unusable(f"{field} is {width} x {height} px, no square")
        return height

    def unusable(self, why: str) -> FilaError:
        return FilaError(f"{self.name}: {why}, which the audit has no geometry for; give it the settings its model came with")


def token_side(config: Any) -> int:
    """Canvas px along a side of what one visual token stands for: the ViT's patch, times the patches that are merged along a side.

    Raises:
        FilaError: the config does not say the ViT's patch.
    """
    vision = getattr(config, "vision_config", None)
    patch, image = (_side(getattr(vision, field, None)) for field in ("patch_size", "image_size"))
    if patch is None:
        raise FilaError(f"{type(config).__name__} does not say vision_config.patch_size; the audit needs a model whose ViT has patches")
    if (ratio := getattr(config, "downsample_ratio", None)) is not None:  # InternVL
        return round(patch / ratio)
    if (tokens := getattr(config, "mm_tokens_per_image", None)) is not None and image is not None:  # Gemma 3
        return image // math.isqrt(tokens)
    merged = getattr(config, "scale_factor", None) or getattr(config, "downsample_factor", None) or 1  # Idefics3; Aya Vision
    return patch * int(merged)


def _side(value: Any) -> int | None:
    if value is None:
        return None
    return int(value[0]) if isinstance(value, list | tuple) else int(value)
