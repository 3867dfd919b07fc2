"""What planning knows of the fusion strategies, torch-free: the factors of those that have them, and what each looks at."""

from __future__ import annotations

from fila_lab.config.run import FusionConfig, RunConfig

Factors = tuple[str, str, bool]

FACTORS: dict[str, Factors] = {
    "concat": ("pool", "concat", True),
    "concat_ungated": ("pool", "concat", False),
    "addition": ("pool", "add", False),
    "addition_gated": ("pool", "add", True),
    "cross_attention": ("attend", "add", False),
    "cross_attention_gated": ("attend", "add", True),
    "cross_attention_tile": ("attend_tile", "add", False),
    "cross_attention_neighbours": ("attend_neighbours", "add", False),
    "cross_tile": ("attend_tokens", "add", False),
}
"""Factorised fusion -> (aggregate, combine, gate)."""

SIDE_BY_SIDE = ("attend_neighbours", "attend_tokens")
"""Aggregates that look at what lies next to a tile, and know it only where tiles do not overlap."""

WHOLE: dict[str, tuple[str, ...]] = {"llava_hr": ("gate",), "mini_gemini": (), "bidirectional": ()}
"""Strategies that are no point of the factors -> the factors they have all the same."""


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
    return fusion.name in ("none", *FACTORS, *WHOLE)


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
