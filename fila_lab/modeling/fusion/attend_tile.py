"""Factor one, wider: a token attends to the whole tile, one mean cell a token of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.modeling.fusion.base import FusionContext, FusionSpec, Reads, product_dtype
from fila_lab.modeling.fusion.places import tile_offsets


class PlacedAttention(nn.Module):
    """Multi-head attention of [N, T, Q] to [N, M, K] with a learned bias for each head and pair of places, [.., H].

    Both sides are normalised without learned gain or bias. Keys have no bias, which softmax would cancel. Biases of relative places are
    Swin Transformer's (Liu et al., 2021). Plain products, whatever the attention backend: fused kernels give no gradient to a bias.
    """

    def __init__(self, spec: FusionSpec, query_width: int, key_width: int, places: int) -> None:
        """places: that a pair can have; one leaves nothing to choose, so only the value projection is left."""
        super().__init__()
        self.head, self.heads = spec.head_width(), spec.heads
        self.chooses = places > 1
        if self.chooses:
            self.query = nn.Linear(query_width, spec.hidden)
            self.key = nn.Linear(key_width, spec.hidden, bias=False)
        self.value = nn.Linear(key_width, spec.hidden)
        if self.chooses:
            self.position = nn.Parameter(0.02 * torch.randn(spec.heads, places))

    def forward(self, asking: Tensor, asked: Tensor, places: Tensor, reachable: Tensor | None = None) -> Tensor:
        """places: int64 [T, M], which bias a pair gets; reachable: bool [T, M], where not all may be attended to."""
        dtype = product_dtype(asking)
        if not self.chooses:
            return self.value(F.layer_norm(asked, asked.shape[-1:]).to(dtype))
        asking, asked = (F.layer_norm(x, x.shape[-1:]).to(dtype) for x in (asking, asked))
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, self.head)).transpose(1, 2)  # [N, heads, T or M, head]
            for layer, x in ((self.query, asking), (self.key, asked), (self.value, asked))
        )
        score = query @ (key * self.head**-0.5).transpose(-1, -2) + self.position[:, places].to(dtype)
        if reachable is not None:
            score = score.masked_fill(~reachable, -torch.inf)
        return (score.softmax(-1).to(dtype) @ value).transpose(1, 2).flatten(2)


class AttendTile(nn.Module):
    """Each token attends to the mean cells of all tokens of its tile: [N, g*g, H].

    A mean a token, because all cells of a tile (36,864 of stage 1 at paper scale) would cost more than the ViT; what is lost within a
    window, `attend` and `attend_neighbours` keep.
    """

    reads: Reads = "means"
    local = False

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        self.width, self.grid = spec.hidden, spec.grid
        self.attention = PlacedAttention(spec, spec.token_width, spec.detail_width, (2 * spec.grid - 1) ** 2)

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> Tensor:
        return self.attention(tokens, context.pooled(detail).to(product_dtype(tokens)), tile_offsets(self.grid, tokens.device))
