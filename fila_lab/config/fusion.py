"""Which fusion, where, and how wide."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fila_lab.config.base import Flag, Positive, Strict, Whole

Aggregate = Literal["pool", "unfold", "attend", "attend_tile", "attend_neighbours", "attend_tokens"]
"""How a token reads its window of cells."""
Combine = Literal["concat", "add"]
"""How what was read joins the token."""


class FusionConfig(Strict):
    """Which fusion, where, and how wide; `control` replaces the detail maps by something that should not help (or, oracle_map, must)."""

    name: str = "concat"
    depth: Literal["last", "multi", "after"] | tuple[tuple[Whole, Whole | Literal["after"]], ...] = Field(
        default="multi",
        description="`last`, `multi`, `after` (behind the feature layer), or a list of [stage 1-4, after ViT layer or `after`] pairs",
    )
    hidden: Positive | None = Field(default=None, description="hidden width; null is the ViT width")
    heads: Positive = Field(default=4, description="attention heads, where the strategy has a number of them")
    aggregate: Aggregate | None = Field(default=None, description="overrides the strategy's factor")
    combine: Combine | None = None
    gate: Flag | None = None
    resample: Literal["area", "bilinear", "nearest"] = Field(
        default="area", description="operator where a stage map does not divide into the token grid"
    )
    control: Literal["foreign", "shifted", "shuffled", "constant", "random_weights", "random_window", "oracle_map"] | None = None
    shift: Whole = Field(default=1, description="stage-4 cells by which `shifted` moves the maps, cyclically")
    eval_shift: Whole | None = Field(default=None, description="the same at evaluation; null is fusion.shift")
    detail_resolution: Literal["high", "canvas"] = Field(
        default="high", description="`canvas`: the detail input reduced to the canvas's pixels and enlarged again (same cells, same FLOPs)"
    )
    detail_context: Literal["canvas", "tile"] = Field(
        default="canvas", description="`tile`: the ConvNeXt sees each tile alone, so no cell knows what lies across a seam"
    )
    handoff: Literal["none", "append"] = Field(
        default="none", description="append: stage-4 means, one a canvas token, go to the language model too, behind the visual tokens"
    )
