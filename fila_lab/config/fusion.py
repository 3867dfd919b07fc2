"""Which fusion, where, and how wide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, SerializationInfo, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from fila_lab.config.base import Flag, Positive, Strict, Whole, dumped
from fila_lab.config.errors import mistakes
from fila_lab.config.fusion_options import OPTIONS

Aggregate = Literal["pool", "unfold", "attend", "attend_tile", "attend_neighbours", "attend_tokens"]
"""How a token reads its window of cells."""
Combine = Literal["concat", "add"]
"""How what was read joins the token."""
Reach = Literal["canvas", "tile"]
"""How far a strategy that can look across a seam does."""


class FusionConfig(Strict):
    """Which fusion, where, and how wide; `control` replaces the detail maps by something that should not help (or, oracle_map, must)."""

    name: str = Field(default="concat", description="the strategy; a package may bring its own (entry-point group `fila_lab.fusions`)")
    depth: Literal["last", "multi", "after"] | tuple[tuple[Whole, Whole | Literal["after"]], ...] = Field(
        default="multi",
        description="`last`, `multi`, `after` (behind the feature layer), or a list of [stage 1-4, after ViT layer or `after`] pairs",
    )
    hidden: Positive | None = Field(default=None, description="hidden width; null is the ViT width")
    heads: Positive = Field(default=4, description="attention heads, where the strategy has a number of them")
    aggregate: Aggregate | None = Field(default=None, description="how a token reads its window of cells: overrides the strategy's factor")
    combine: Combine | None = Field(default=None, description="how what was read joins the token: overrides the strategy's factor")
    gate: Flag | None = Field(default=None, description="whether a gate scales what is added: overrides the strategy's factor")
    resample: Literal["area", "bilinear", "nearest"] = Field(
        default="area", description="operator where a stage map does not divide into the token grid"
    )
    control: Literal["foreign", "shifted", "shuffled", "constant", "random_weights", "random_window", "blank", "oracle_map"] | None = Field(
        default=None,
        description="what replaces the detail maps. foreign: another image's; shifted, shuffled: their own, spoilt; constant: each map's "
        "own mean, which still tells of the page; blank: one fixed vector in every cell of every page, so that the fusion's parameters are "
        "all that is added, and no ConvNeXt is built; random_window: a token reads any window; random_weights: an untrained ConvNeXt; "
        "oracle_map: the truth, the ceiling. null: nothing",
    )
    shift: Whole = Field(default=1, description="stage-4 cells by which `shifted` moves the maps, cyclically")
    eval_shift: Whole | None = Field(default=None, description="the same at evaluation; null is fusion.shift")
    detail_resolution: Literal["high", "canvas"] = Field(
        default="high", description="`canvas`: the detail input reduced to the canvas's pixels and enlarged again (same cells, same FLOPs)"
    )
    detail_context: Literal["canvas", "tile"] = Field(
        default="canvas", description="`tile`: the ConvNeXt sees each tile alone, so no cell knows what lies across a seam"
    )
    handoff: Literal["none", "append", "replace"] = Field(
        default="none",
        description="append: stage-4 means, one a canvas token, go to the language model too, behind the visual tokens; replace: in their "
        "place, those of the overview first, and no ViT is built",
    )
    reach: Reach = Field(
        default="canvas", description="`tile`: the twin that cannot look across a seam: the same parameters, nearly the same FLOPs"
    )
    options: dict[str, Any] = Field(default={}, description="the strategy's own options, where it has some")

    @model_validator(mode="before")
    @classmethod
    def _plain_options(cls, content: Any) -> Any:
        """Options of a built-in strategy as its model has them, without those that say the usual: equal runs are equal."""
        if not isinstance(content, Mapping) or not isinstance(given := content.get("options"), Mapping):
            return content
        model = OPTIONS.get(str(content.get("name", cls.model_fields["name"].default)))
        if model is None:
            return content
        try:
            options = model.model_validate(given)
        except ValidationError as error:
            line = mistakes(error, model)[0]
            raise ValueError(f"options: {line}" if line.startswith("unknown") else f"options.{line}") from None
        return {**content, "options": options.model_dump(mode="json", exclude_defaults=True)}

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """Records from before there were these fields stay as they are."""
        return dumped(self, dump, info, ("reach", "options"))
