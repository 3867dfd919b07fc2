"""Factor one: how a token reads its own window of cells. (What reads beyond it: attend_tile.py, attend_neighbours.py, attend_tokens.py.)

What is read is normalised without learned gain or bias: the linear map that follows has both, and with a frozen ConvNeXt nothing
here then needs a gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.modeling.fusion.base import FusionContext, FusionSpec, Reads, product_dtype

EPSILON = 1e-6


class Pool(nn.Module):
    """The mean of the window: [N, g*g, C]."""

    reads: Reads = "means"
    local = True

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        self.width = spec.detail_width

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> Tensor:
        return F.layer_norm(context.pooled(detail).to(product_dtype(tokens)), (self.width,))


class Unfold(nn.Module):
    """All cells of the window side by side: [N, g*g, C*w*w]. Keeps what lies where within the window."""

    reads: Reads = "windows"
    local = True

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        self.width = spec.window**2 * spec.detail_width

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> Tensor:
        return F.layer_norm(context.windows(detail).transpose(2, 3).flatten(2).to(product_dtype(tokens)), (self.width,))


class Attend(nn.Module):
    """Multi-head attention of the (normalised) token over its window's cells: [N, g*g, H].

    Cells are scaled to unit root mean square and carry a learned embedding of their place in the window. The key projection is folded
    into the query, and scaling and value projection come after the products: the same function as scaling and projecting every cell,
    for a fraction of the work (a layer norm of all cells alone took ten times the attention). Keys have no bias, which softmax would
    cancel; a window of one cell has nothing to choose, so only the value projection is left.
    """

    reads: Reads = "windows"
    local = True

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        self.head = spec.head_width()
        self.width, self.heads, self.channels, self.cells = spec.hidden, spec.heads, spec.detail_width, spec.window**2
        self.token_width = spec.token_width
        self.value = nn.Linear(self.channels, self.width)
        if self.cells > 1:
            self.query = nn.Linear(spec.token_width, self.width)
            self.key = nn.Linear(self.channels, self.width, bias=False)
            self.position = nn.Parameter(0.02 * torch.randn(self.cells, self.channels))

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> Tensor:
        n, t = tokens.shape[:2]
        cells = context.windows(detail).to(product_dtype(tokens)).reshape(n * t, self.cells, self.channels)
        scale = (mean_square(cells).float() + EPSILON).rsqrt().to(cells.dtype).transpose(1, 2)  # [N*T, 1, w*w]
        if self.cells == 1:
            return self.value((cells * scale).view(n, t, self.channels))
        head = self.head
        query = self.query(F.layer_norm(tokens, (self.token_width,))).view(n * t, self.heads, head).transpose(0, 1)  # [heads, N*T, head]
        key = self.key.weight.view(self.heads, head, self.channels) * head**-0.5
        query = (query @ key).transpose(0, 1)  # [N*T, heads, C]: the query in the cells' space
        share = (products(query, cells.transpose(1, 2)) * scale + query @ self.position.T).softmax(-1)  # [N*T, heads, w*w]
        read = products(share * scale, cells) + share @ self.position  # [N*T, heads, C]
        value = self.value.weight.view(self.heads, head, self.channels).transpose(1, 2)
        return (read.transpose(0, 1) @ value).transpose(0, 1).reshape(n, t, self.width) + self.value.bias


def mean_square(cells: Tensor) -> Tensor:
    """Mean square over the channels, [N, w*w, C] -> [N, w*w, 1]; in one pass where channels lie last in memory."""
    channels = cells.shape[-1]
    if cells.stride(-1) == 1:
        return torch.linalg.vector_norm(cells, dim=-1, keepdim=True).float().square() / channels
    return (cells * cells) @ cells.new_full((channels, 1), 1 / channels)


def products(few: Tensor, cells: Tensor) -> Tensor:
    """few [N, h, K] @ cells [N, K, M]. A CPU copies a transposed bfloat16 operand: then both are turned, so that it is the small one."""
    if cells.dtype is torch.bfloat16 and cells.stride(-1) != 1:
        return (cells.transpose(1, 2) @ few.transpose(1, 2)).transpose(1, 2)
    return few @ cells
