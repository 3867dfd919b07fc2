"""What planning knows of the fusion strategies, torch-free: the factors of those that have them, and what each looks at."""

from __future__ import annotations

from fila_lab.config.fusion import Aggregate, Combine, FusionConfig
from fila_lab.config.run import RunConfig

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

SIDE_BY_SIDE = ("attend_neighbours", "attend_tokens")
"""Aggregates that look at what lies next to a tile, and know it only where tiles do not overlap."""

WHOLE: dict[str, tuple[str, ...]] = {"llava_hr": ("gate",), "mini_gemini": (), "bidirectional": ()}
"""Strategies that are no point of the factors, each a module of `fila_lab.modeling.fusion` -> the factors they have all the same."""

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
    factors = named_factors(fusion)
    return fusion.name == "bidirectional" if factors is None else factors[0].startswith("attend")


def fuses_detail(fusion: FusionConfig) -> bool:
    """Whether the fusion looks at a detail map; `cross_tile` looks at the ViT's own tokens."""
    factors = named_factors(fusion)
    return fusion.name in WHOLE if factors is None else factors[0] != "attend_tokens"


def needs_map(config: RunConfig) -> bool:
    """Whether the arm looks at a detail map at all, a ConvNeXt's or the truth: in a fusion, or to hand it to the language model."""
    return fuses_detail(config.fusion) or config.fusion.handoff != "none"


def has_convnext(config: RunConfig) -> bool:
    """Whether the arm looks at a detail map that a ConvNeXt makes."""
    return needs_map(config) and config.fusion.control != "oracle_map"


def map_trains(config: RunConfig) -> bool:
    """Whether gradients pass from a detail map into what makes it."""
    return config.convnext.trainable and config.fusion.control != "oracle_map"
