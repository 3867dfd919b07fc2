"""The factorised core, aggregate x combine x gate, and the named strategies that are points of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.modeling.fusion.aggregate import Attend, Pool, Unfold
from fila_lab.modeling.fusion.attend_neighbours import AttendNeighbours
from fila_lab.modeling.fusion.attend_tile import AttendTile
from fila_lab.modeling.fusion.attend_tokens import AttendTokens
from fila_lab.modeling.fusion.base import Aggregate, Combine, Fusion, FusionContext, FusionOutput, FusionSpec
from fila_lab.modeling.fusion.registry import register

AGGREGATES: dict[Aggregate, Any] = {
    "pool": Pool,
    "unfold": Unfold,
    "attend": Attend,
    "attend_tile": AttendTile,
    "attend_neighbours": AttendNeighbours,
    "attend_tokens": AttendTokens,
}


class FactorisedFusion(Fusion):
    """tokens + [gate *] out(gelu(mix(what was read))).

    aggregate: what a token reads, a (fusion/aggregate.py and attend_*.py). combine: `concat` mixes [norm(token); a], `add` mixes a alone.
    gate: sigmoid of a linear map of [norm(token); a], per channel. `out` starts at zero, weight and bias; nothing else does.
    """

    def __init__(self, spec: FusionSpec, aggregate: Aggregate, combine: Combine, gate: bool) -> None:
        super().__init__()
        self.token_width = spec.token_width
        self.combine = spec.combine or combine
        self.aggregate = AGGREGATES[spec.aggregate or aggregate](spec)
        self.reads, self.local = self.aggregate.reads, self.aggregate.local
        joint = spec.token_width + self.aggregate.width
        self.mix = nn.Linear(joint if self.combine == "concat" else self.aggregate.width, spec.hidden)
        self.gate = nn.Linear(joint, spec.token_width) if (gate if spec.gate is None else spec.gate) else None
        self.out = nn.Linear(spec.hidden, spec.token_width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> FusionOutput:
        read = self.aggregate(tokens, detail, context)  # [N, g*g, A]
        joint = read
        if self.combine == "concat" or self.gate is not None:
            joint = torch.cat([F.layer_norm(tokens, (self.token_width,)).to(read.dtype), read], dim=-1)
        change = self.out(F.gelu(self.mix(joint if self.combine == "concat" else read)))
        if self.gate is not None:
            change = change * self.gate(joint).sigmoid()
        return FusionOutput(tokens + change.to(tokens.dtype))


@register("concat")
def concat(spec: FusionSpec) -> Fusion:
    """Gated channel concatenation, as FILA describes it."""
    return FactorisedFusion(spec, "pool", "concat", gate=True)


@register("concat_ungated")
def concat_ungated(spec: FusionSpec) -> Fusion:
    """Channel concatenation without the gate."""
    return FactorisedFusion(spec, "pool", "concat", gate=False)


@register("addition")
def addition(spec: FusionSpec) -> Fusion:
    """The projected mean of the window is added to the token."""
    return FactorisedFusion(spec, "pool", "add", gate=False)


@register("addition_gated")
def addition_gated(spec: FusionSpec) -> Fusion:
    """Addition through a gate."""
    return FactorisedFusion(spec, "pool", "add", gate=True)


@register("cross_attention")
def cross_attention(spec: FusionSpec) -> Fusion:
    """Each token attends over its own window of cells (Mini-Gemini's mining of patch information, multi-head), and adds what it read."""
    return FactorisedFusion(spec, "attend", "add", gate=False)


@register("cross_attention_gated")
def cross_attention_gated(spec: FusionSpec) -> Fusion:
    """Cross-attention through a gate."""
    return FactorisedFusion(spec, "attend", "add", gate=True)


@register("cross_attention_tile")
def cross_attention_tile(spec: FusionSpec) -> Fusion:
    """Each token attends over its whole tile, one mean cell a token, as in a transformer decoder (Vaswani et al., 2017)."""
    return FactorisedFusion(spec, "attend_tile", "add", gate=False)


@register("cross_attention_neighbours")
def cross_attention_neighbours(spec: FusionSpec) -> Fusion:
    """Each token attends over its own and the eight windows around it, across seams: attention over a neighbourhood of the token
    (Neighborhood Attention Transformer, Hassani et al., 2023), here of another tower's cells."""
    return FactorisedFusion(spec, "attend_neighbours", "add", gate=False)


@register("cross_tile")
def cross_tile(spec: FusionSpec) -> Fusion:
    """Each token attends to the ViT's own tokens of its tile and those around it: `cross_attention` with tokens for cells.

    The rival of the detail branch: it has the context, what lies across a seam, and no finer pixel; no ConvNeXt is built or run for it.
    Swin Transformer (Liu et al., 2021) connects neighbouring windows for the same reason, by shifting them every other layer; here a frozen
    ViT stays as it is, and the connection is added at the fusion points. Their stage means nothing to it.
    """
    return FactorisedFusion(spec, "attend_tokens", "add", gate=False)
