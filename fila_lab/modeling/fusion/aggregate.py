"""Factor one: how a token reads its own window of cells. (What reads beyond it: attend_tile.py, attend_neighbours.py, attend_tokens.py.)

What is read is normalised without learned gain or bias: the linear map that follows has both, and with a frozen ConvNeXt nothing
here then needs a gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.modeling.fusion.base import FusionContext, FusionSpec, Reads, product_dtype, widened

EPSILON = 1e-6


class Pool(nn.Module):
    """The mean of the window: [N, g*g, C]."""

    reads: Reads = "means"
    local = True
    reaches = False

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        self.width = spec.detail_width

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> Tensor:
        return F.layer_norm(context.pooled(detail).to(product_dtype(tokens)), (self.width,))


class Unfold(nn.Module):
    """All cells of the window side by side: [N, g*g, C*w*w]. Keeps what lies where within the window."""

    reads: Reads = "windows"
    local = True
    reaches = False

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        self.width = spec.window**2 * spec.detail_width

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> Tensor:
        return F.layer_norm(context.windows(detail).transpose(2, 3).flatten(2).to(product_dtype(tokens)), (self.width,))


class CellAttention(nn.Module):
    """What attention over single cells shares: projections, places, and the order of products.

    Cells are scaled to unit root mean square and carry a learned embedding of their place. The key projection is folded into the query,
    and scaling and value projection come after the products: the same function as scaling and projecting every cell, for a fraction of
    the work (a layer norm of all cells alone took ten times the attention). Keys have no bias, which softmax would cancel; a single
    cell leaves nothing to choose, so only the value projection is left.
    """

    reads: Reads = "windows"

    def __init__(self, spec: FusionSpec, looked_at: int) -> None:
        """looked_at: cells that a token attends to."""
        super().__init__()
        self.head = spec.head_width()
        self.width, self.heads, self.channels, self.cells = spec.hidden, spec.heads, spec.detail_width, spec.window**2
        self.token_width = spec.token_width
        self.value = nn.Linear(self.channels, self.width)
        if looked_at > 1:
            self.query = nn.Linear(spec.token_width, self.width)
            self.key = nn.Linear(self.channels, self.width, bias=False)
            self.position = nn.Parameter(0.02 * torch.randn(looked_at, self.channels))

    def windows(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> tuple[Tensor, Tensor]:
        """Cells [N*T, w*w, C] of each token's own window, and the factor [N*T, 1, w*w] that scales each to unit root mean square."""
        cells = context.windows(detail).to(product_dtype(tokens)).reshape(-1, self.cells, self.channels)
        return cells, unit_scale(cells).transpose(1, 2)

    def asking(self, tokens: Tensor) -> Tensor:
        """[N, T, D] -> [N*T, heads, C]: the (normalised) tokens' queries in the cells' space."""
        query = self.query(F.layer_norm(tokens, (self.token_width,))).view(-1, self.heads, self.head).transpose(0, 1)
        key = self.key.weight.view(self.heads, self.head, self.channels) * self.head**-0.5
        return (query @ key).transpose(0, 1)

    def answer(self, read: Tensor, shape: tuple[int, int]) -> Tensor:
        """What each head read [N*T, heads, C] -> [N, T, H] for `shape` (N, T): the values."""
        value = self.value.weight.view(self.heads, self.head, self.channels).transpose(1, 2)
        return (read.transpose(0, 1) @ value).transpose(0, 1).reshape(*shape, self.width) + self.value.bias


class Attend(CellAttention):
    """Multi-head attention of the (normalised) token over its own window's cells: [N, g*g, H]."""

    local = True
    reaches = False

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__(spec, spec.window**2)

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> Tensor:
        n, t = tokens.shape[:2]
        cells, scale = self.windows(tokens, detail, context)
        if self.cells == 1:
            return self.value((cells * scale).view(n, t, self.channels))
        query = self.asking(tokens)
        share = (products(query, cells.transpose(1, 2)) * scale + query @ self.position.T).softmax(-1)  # [N*T, heads, w*w]
        return self.answer(products(share * scale, cells) + share @ self.position, (n, t))


def unit_scale(cells: Tensor) -> Tensor:
    """The factor that brings each cell to unit root mean square over its channels, [N, w*w, C] -> [N, w*w, 1]."""
    return (widened(_mean_square(cells)) + EPSILON).rsqrt().to(cells.dtype)


def _mean_square(cells: Tensor) -> Tensor:
    """Mean square over the channels, [N, w*w, C] -> [N, w*w, 1]; in one pass where channels lie last in memory."""
    channels = cells.shape[-1]
    if cells.stride(-1) == 1:
        return widened(torch.linalg.vector_norm(cells, dim=-1, keepdim=True)).square() / channels
    return (cells * cells) @ cells.new_full((channels, 1), 1 / channels)


def products(few: Tensor, cells: Tensor) -> Tensor:
    """few [N, h, K] @ cells [N, K, M]. A CPU copies a transposed bfloat16 operand: then both are turned, so that it is the small one."""
    if cells.dtype is torch.bfloat16 and cells.stride(-1) != 1:
        return (cells.transpose(1, 2) @ few.transpose(1, 2)).transpose(1, 2)
    return few @ cells
