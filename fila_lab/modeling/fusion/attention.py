"""Multi-head attention by plain products, as strategies that attend share it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.modeling.fusion.base import FusionSpec, product_dtype


def in_heads(values: Tensor, heads: int) -> Tensor:
    """[..., T, H] -> [..., heads, T, H / heads]."""
    return values.unflatten(-1, (heads, -1)).transpose(-3, -2)


def attended(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, reachable: Tensor | None = None) -> Tensor:
    """[..., heads, T, K] over [..., heads, M, K] -> [..., T, heads * K].

    bias: added to the scores [..., heads, T, M]; reachable: bool, where not all may be attended to. Plain products, whatever the attention
    backend: fused kernels give no gradient to a bias.
    """
    score = query @ (key * key.shape[-1] ** -0.5).transpose(-1, -2)
    if bias is not None:
        score = score + bias.to(query.dtype)
    if reachable is not None:
        score = score.masked_fill(~reachable, -torch.inf)
    return (score.softmax(-1).to(query.dtype) @ value).transpose(-3, -2).flatten(-2)


class Attention(nn.Module):
    """Multi-head attention of [N, T, Q] to [N, M, K] -> [N, T, H], where asked for with a learned bias for each head and pair of places.

    Both sides are normalised without learned gain or bias. Keys have no bias, which softmax would cancel. Biases of relative places are
    Swin Transformer's (Liu et al., 2021).
    """

    def __init__(self, spec: FusionSpec, query_width: int, key_width: int, places: int | None = None, chooses: bool = True) -> None:
        """places: that a pair can have, null for no bias; chooses: False where there is one key, which leaves only the value projection."""
        super().__init__()
        self.head, self.heads = spec.head_width(), spec.heads
        self.chooses = chooses
        if self.chooses:
            self.query = nn.Linear(query_width, spec.hidden)
            self.key = nn.Linear(key_width, spec.hidden, bias=False)
        self.value = nn.Linear(key_width, spec.hidden)
        if self.chooses and places is not None:
            self.position = nn.Parameter(0.02 * torch.randn(spec.heads, places))

    def forward(self, asking: Tensor, asked: Tensor, places: Tensor | None = None, reachable: Tensor | None = None) -> Tensor:
        """places: int64 [T, M], which bias a pair gets; reachable: bool [T, M], where not all may be attended to; one key: [N, 1, H]."""
        dtype = product_dtype(asking)
        if not self.chooses:
            return self.value(F.layer_norm(asked, asked.shape[-1:]).to(dtype))
        asking, asked = (F.layer_norm(x, x.shape[-1:]).to(dtype) for x in (asking, asked))
        query, key, value = (in_heads(layer(x), self.heads) for layer, x in ((self.query, asking), (self.key, asked), (self.value, asked)))
        return attended(query, key, value, None if places is None else self.position[:, places], reachable)
