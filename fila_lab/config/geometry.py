"""How an image becomes a canvas, tiles, an overview and a detail input. Lengths are canvas pixels unless a name says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, SerializationInfo, SerializerFunctionWrapHandler, model_serializer, model_validator

from fila_lab.config.base import Layers, Positive, Strict, Whole, dumped
from fila_lab.config.canvas_rules import grids_up_to

Size = tuple[Positive, Positive]
"""Width and height."""


class SecondGridConfig(Strict):
    """A second grid of tiles: the canvas, padding included, laid on another canvas and cut elsewhere; its tokens follow the first's.

    Complementary image pyramid (Mini-Monkey, arXiv 2408.02034): the canvas is chosen by InternVL's rule, of the grids of `min_tiles` to
    `max_tiles` tiles but for those that cut where the first grid does. The exclusion comes in two versions there: `both`, a grid of as many
    columns as divide the first's and of rows that divide its (demo); `either` (training). `none` excludes nothing: with as many tiles as
    the first grid has it is that grid again, the control with more tokens and the same seams. Beside 2 x 2 tiles, `both` gives 2 x 3, which
    keeps the vertical seam; a grid that moves both takes `either` and 9 tiles. Ours: the aspect is the canvas's, not the image's, so that
    images of one canvas share the second; and where nothing is left, a run is refused instead of given a second overview.
    """

    rule: Literal["cip"] = Field(default="cip", description="how its canvas is chosen: the grid of nearest aspect ratio")
    min_tiles: Layers = Field(default=3, description="fewest tiles of the second grid")
    max_tiles: Layers = Field(default=7, description="most tiles of the second grid")
    exclusion: Literal["both", "either", "none"] = Field(
        default="both", description="grids that are left out: both, either of columns and rows divide the first grid's; none"
    )

    @model_validator(mode="after")
    def _check(self) -> SecondGridConfig:
        if self.min_tiles > self.max_tiles:
            raise ValueError(f"min_tiles={self.min_tiles} is more than max_tiles={self.max_tiles}; give a range of tiles")
        return self


class TilingConfig(Strict):
    """How the model sees an image: on which canvas, and how that is cut into tiles. The defaults are `geometry.canvases` as they are.

    Pages of the suite, and what is cut on them, follow `geometry.canvases` whatever stands here: every tiling reads the same items.
    One canvas of one tile is a single padded square (with fit=stretch: a plain resize).

    Strided tiles (INF-LLaVA, arXiv 2407.16198): on a canvas of cols x rows tiles, tile (a, b) takes every cols-th pixel of a row from the
    a-th and every rows-th row from the b-th, as they are: no mean is taken, so that what is finer is aliased, and every pixel is in one
    tile. Each shows the whole canvas, without a seam, at 1 / cols and 1 / rows of the sharpness; squeezed, where the canvas is no square,
    as the overview is. Their tokens are interleaved again: that of tile (a, b) at (u, v) stands at (cols * u + a, rows * v + b).
    """

    canvases: tuple[Size, ...] | None = Field(
        default=None, description="canvases to choose from, (width, height) in pixels; null is geometry.canvases (internvl: max_tiles)"
    )
    rule: Literal["llava_next", "internvl"] = Field(
        default="llava_next",
        description="how an image's canvas is chosen. llava_next: by what it keeps of the image, then by what it wastes; internvl: by the "
        "nearest aspect ratio",
    )
    max_tiles: Layers = Field(default=12, description="for rule internvl: canvases are all grids of up to so many tiles")
    fit: Literal["pad", "stretch"] = Field(default="pad", description="pad: the aspect ratio stays; stretch: the image fills the canvas")
    overlap: Whole = Field(
        default=0,
        ge=0,
        description="patches that neighbouring tiles share, at least; the canvas and its pixels stay, tiles are added. Margins as Molmo's, "
        "m patches a side, are an overlap of 2 m: a position is read from the tile in whose inside it lies",
    )
    padding_tokens: Literal["keep", "drop"] = Field(
        default="keep", description="drop: tokens of the canvas that lie wholly in the padding are not handed to the language model"
    )
    perspective: Literal["local", "strided", "both"] = Field(
        default="local",
        description="strided: a tile takes every n-th pixel of the canvas, and has no seam; both: those behind the local ones",
    )
    second: SecondGridConfig | None = Field(default=None, description="a second grid of tiles, cut elsewhere, behind the others")

    @property
    def one_grid(self) -> bool:
        """Whether the canvas is cut once, into tiles of neighbouring pixels."""
        return self.perspective == "local" and self.second is None

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """Records from before there were these fields stay as they are."""
        return dumped(self, dump, info, ("perspective", "second"))

    @property
    def own_canvases(self) -> bool:
        """Whether an image may go on other canvases than `geometry.canvases`."""
        return self.canvases is not None or self.rule != "llava_next"


class GeometryConfig(Strict):
    """How an image becomes a canvas, tiles, an overview and a detail input."""

    tile: Positive = Field(default=336, description="side of a tile, px: what the ViT sees at a time")
    patch: Positive = Field(default=14, description="side of a ViT patch, px; a tile has whole patches")
    canvases: tuple[Size, ...] = Field(min_length=1, description="allowed canvases, (width, height) in pixels")
    canvas_rule: Literal["llava_next"] = Field(default="llava_next", description="how a page of a generated suite gets its canvas")
    resample: Literal["bicubic", "bilinear", "area", "bicubic_torch"] = Field(
        default="bicubic",
        description="how pixels are resampled; bicubic_torch is PyTorch's kernel, as Hugging Face's image processors use it: twice as fast",
    )
    vit_scale: Positive = Field(
        default=1, description="f: the ViT sees each canvas enlarged f times, as f x f times the tiles; pages and their seams stay (rivals)"
    )
    tiling: TilingConfig = TilingConfig()
    detail_cells: Positive | None = Field(
        default=None, description="k: stage-4 ConvNeXt cells per tile side; the detail input is 32k px a tile (null with whole_image)"
    )
    whole_image: Positive | None = Field(
        default=None, description="side of a fixed square detail input, whatever the canvas, instead of 32k px a tile; then there is no k"
    )

    @property
    def grid(self) -> int:
        """g: ViT tokens per tile side."""
        return self.tile // self.patch

    @property
    def cells_a_side(self) -> int:
        """Stage-4 cells per tile side by which fusions are built: k. Of a `whole_image` input those of a canvas of one tile, the most that
        a tile can get: no cell is lost, parameters do not depend on the canvases, and fewer are resampled to the same windows."""
        if self.whole_image is not None:
            return self.whole_image // 32
        assert self.detail_cells is not None
        return self.detail_cells

    @property
    def has_detail(self) -> bool:
        """Whether there is a detail input: a ViT that sees enlarged canvases takes its place."""
        return self.vit_scale == 1

    @property
    def allowed_canvases(self) -> tuple[Size, ...]:
        """The canvases an image can go on, before `vit_scale` enlarges them."""
        if self.tiling.canvases is None and self.tiling.rule == "internvl":
            return grids_up_to(self.tiling.max_tiles, self.tile)
        return self.tiling.canvases or self.canvases

    @property
    def reference(self) -> GeometryConfig:
        """The same canvases as they are: the geometry by which pages are made and their places named."""
        return self.model_copy(update={"vit_scale": 1, "tiling": TilingConfig()})

    @model_validator(mode="before")
    @classmethod
    def _one_detail_input(cls, content: Any) -> Any:
        """A preset's k is not that of a run whose detail input has a fixed size, nor a difference between two of them."""
        if isinstance(content, Mapping) and content.get("whole_image") is not None:
            return {**content, "detail_cells": None}
        return content

    @model_validator(mode="after")
    def _check(self) -> GeometryConfig:
        if self.detail_cells is None and self.whole_image is None:
            raise ValueError(f"detail_cells is not set; give the stage-4 cells per tile side (native is {self.grid}), or whole_image")
        if self.tile % self.patch:
            raise ValueError(f"tile={self.tile} is not a multiple of patch={self.patch}; choose a tile of whole patches")
        named = [("canvases", canvas) for canvas in self.canvases] + [("tiling.canvases", canvas) for canvas in self.tiling.canvases or ()]
        for field, (width, height) in named:
            if width % self.tile or height % self.tile:
                raise ValueError(f"{field}: {width}x{height} is not a whole number of tiles of {self.tile} px; choose multiples of tile")
        if self.tiling.canvases == ():
            raise ValueError("tiling.canvases is empty; list at least one (width, height), or leave it null")
        if self.tiling.overlap >= self.grid:
            raise ValueError(
                f"tiling.overlap={self.tiling.overlap} leaves a tile of {self.grid} patches none of its own; choose at most {self.grid - 1}"
            )
        if self.whole_image is not None and self.whole_image % 32:
            near = 32 * round(self.whole_image / 32) or 32
            raise ValueError(f"whole_image={self.whole_image} is not a multiple of the ConvNeXt stride 32; choose e.g. {near}")
        return self
