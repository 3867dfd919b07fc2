"""The factorised core, aggregate x combine x gate, and the named strategies that are points of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.config.fusion import Aggregate, Combine
from fila_lab.config.strategies import FACTORS
from fila_lab.modeling.fusion.aggregate import Attend, Pool, Unfold
from fila_lab.modeling.fusion.attend_neighbours import AttendNeighbours
from fila_lab.modeling.fusion.attend_tile import AttendTile
from fila_lab.modeling.fusion.attend_tokens import AttendTokens
from fila_lab.modeling.fusion.base import Fusion, FusionContext, FusionOutput, FusionSpec
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
        self.reads, self.local, self.reaches = self.aggregate.reads, self.aggregate.local, self.aggregate.reaches
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


for _name, (_aggregate, _combine, _gate) in FACTORS.items():
    register(_name)(partial(FactorisedFusion, aggregate=_aggregate, combine=_combine, gate=_gate))
