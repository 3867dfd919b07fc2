"""What planning knows of the fusion strategies, torch-free: the factors of those that have them, and what each looks at."""

from __future__ import annotations

from fila_lab.config.fusion import Aggregate, Combine, FusionConfig
from fila_lab.config.run import RunConfig
from fila_lab.config.seam_words import ORACLE_CHANNELS

Factors = tuple[Aggregate, Combine, bool]

FACTORS: dict[str, Factors] = {
    "concat": ("pool", "concat", True),  # gated channel concatenation, as FILA describes it
    "concat_ungated": ("pool", "concat", False),
    "addition": ("pool", "add", False),  # the projected mean of the window is added to the token
    "addition_gated": ("pool", "add", True),
    # Each token attends over its own window of cells (Mini-Gemini's mining of patch information, multi-head), and adds what it read.
    "cross_attention": ("attend", "add", False),
    "cross_attention_gated": ("attend", "add", True),
    # Over its whole tile, one mean cell a token, as in a transformer decoder (Vaswani et al., 2017).
    "cross_attention_tile": ("attend_tile", "add", False),
    # Over its own and the eight windows around it, across seams: attention over a neighbourhood of the token (Neighborhood Attention
    # Transformer, Hassani et al., 2023), here of another tower's cells.
    "cross_attention_neighbours": ("attend_neighbours", "add", False),
    # To the ViT's own tokens of its tile and those around it. The rival of the detail branch: it has the context, what lies across a seam,
    # and no finer pixel; no ConvNeXt is built or run for it. Swin Transformer (Liu et al., 2021) connects neighbouring windows for the same
    # reason, by shifting them every other layer; here a frozen ViT stays as it is, and the connection is added at the fusion points. Their
    # stage means nothing to it.
    "cross_tile": ("attend_tokens", "add", False),
}
"""Factorised fusion -> (aggregate, combine, gate)."""

WHOLE: dict[str, tuple[str, ...]] = {
    "llava_hr": ("gate",),
    "mini_gemini": (),
    "bidirectional": (),
    "slice_restore": (),
    "shifted_window": (),
    "tile_summary": (),
}
"""Strategies that are no point of the factors, each a module of `fila_lab.modeling.fusion` -> the factors they have all the same."""

WITHOUT_MAP = ("slice_restore", "shifted_window", "tile_summary")
"""Those of them that look at the ViT's tokens alone: they mend what cutting broke, without a second encoder."""

SIDE_BY_SIDE = ("attend_neighbours", "attend_tokens", "slice_restore", "shifted_window")
"""Aggregates and strategies that look at what lies next to a tile, and know it only where tiles do not overlap."""

ACROSS = (*SIDE_BY_SIDE, "tile_summary")
"""Those that look across seams, and so have a reach."""

FUSIONS: tuple[str, ...] = ("none", *FACTORS, *WHOLE)
"""Built-in strategies."""


def named_factors(fusion: FusionConfig) -> Factors | None:
    """(aggregate, combine, gate) of a fusion, its name's where nothing overrides them; None where it is not factorised. Strategies of
    other packages count as `concat`."""
    if fusion.name == "none" or fusion.name in WHOLE:
        return None
    aggregate, combine, gate = FACTORS.get(fusion.name, FACTORS["concat"])
    if fusion.control == "oracle_map":
        aggregate = "unfold"
    elif fusion.aggregate is not None:
        aggregate = fusion.aggregate
    return aggregate, fusion.combine or combine, gate if fusion.gate is None else fusion.gate


def known_cost(fusion: FusionConfig) -> bool:
    """Whether a closed form counts the fusion; it is not known what strategies of other packages cost until they are measured."""
    return fusion.name in FUSIONS


def has_heads(fusion: FusionConfig) -> bool:
    """Whether `fusion.heads` heads attend, which must then divide the hidden width."""
    if fusion.name == "slice_restore":
        return fusion.options.get("parts") != "local"
    return fusion.name in ("bidirectional", *WITHOUT_MAP) or way_of_looking(fusion).startswith("attend")


def way_of_looking(fusion: FusionConfig) -> str:
    """What says where a fusion looks: its aggregate, or its name where it is no point of the factors."""
    factors = named_factors(fusion)
    return fusion.name if factors is None else factors[0]


def looks_across(fusion: FusionConfig) -> bool:
    """Whether a built-in fusion can look across a seam, so that `fusion.reach` says whether it does. (`bidirectional` attends within a
    tile.)"""
    return way_of_looking(fusion) in ACROSS


def fuses_detail(fusion: FusionConfig) -> bool:
    """Whether the fusion looks at a detail map, and not at the ViT's own tokens alone."""
    return way_of_looking(fusion) not in ("none", "attend_tokens", *WITHOUT_MAP)


MADE_UP = ("oracle_map", "blank")
"""Controls whose maps no ConvNeXt makes."""


def needs_map(config: RunConfig) -> bool:
    """Whether the arm looks at a detail map at all, a ConvNeXt's or the truth: in a fusion, or to hand it to the language model."""
    return fuses_detail(config.fusion) or config.fusion.handoff != "none"


def has_vit(config: RunConfig) -> bool:
    """Whether the arm looks by a ViT at all: not where the ConvNeXt's means take the place of its tokens."""
    return config.fusion.handoff != "replace"


def map_channels(config: RunConfig, stage: int) -> int:
    """Channels of a stage's detail map: the ConvNeXt's, or the truth's."""
    return ORACLE_CHANNELS if config.fusion.control == "oracle_map" else config.convnext.dims[stage - 1]


def visual_width(config: RunConfig) -> int:
    """Channels of the tokens that are projected for the language model."""
    return config.vit.width if has_vit(config) else map_channels(config, 4)


def has_convnext(config: RunConfig) -> bool:
    """Whether the arm looks at a detail map that a ConvNeXt makes."""
    return needs_map(config) and config.fusion.control not in MADE_UP


def map_trains(config: RunConfig) -> bool:
    """Whether gradients pass from a detail map into what makes it."""
    return config.convnext.trainable and config.fusion.control not in MADE_UP
