"""Factor one, wider: a token attends to its own window and to those of the eight tokens around it, across the borders of tiles."""

from __future__ import annotations

import torch
from torch import Tensor

from fila_lab.modeling.fusion.aggregate import CellAttention, products
from fila_lab.modeling.fusion.base import FusionContext, FusionSpec
from fila_lab.modeling.fusion.places import neighbour_tokens

AROUND = 9
"""Windows that a token attends to, its own among them."""


class AttendNeighbours(CellAttention):
    """Multi-head attention of the token over the cells of nine windows: [N, g*g, H]. As `Attend` otherwise.

    A window's cells are never copied for the tokens around it: the (folded) queries of the nine tokens that look at a window come to it,
    meet its cells, and take scores and reads back. Windows outside the canvas, or the overview, are masked; with reach `tile` those of
    other tiles too.
    """

    local = False
    reaches = True

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__(spec, AROUND * spec.window**2)
        self.reach = spec.reach

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> Tensor:
        n, t = tokens.shape[:2]
        index = neighbour_tokens(context, self.reach)  # [S, 9]: the windows a token looks at
        inside = index >= 0
        slot = torch.arange(AROUND, device=index.device)
        # A token whose slot o holds a window stands, seen from that window, in slot 8 - o; and the other way round.
        there = (index.clamp(min=0) * AROUND + (AROUND - 1 - slot)).flatten()
        s = len(index)
        cells, scale = self.windows(tokens, detail, context)
        query = self.asking(tokens).view(-1, s, self.heads, self.channels)  # [B, S, heads, C]
        guests = query.index_select(1, index.clamp(min=0).flatten()).view(n * t, AROUND * self.heads, self.channels)
        score = self._moved(products(guests, cells.transpose(1, 2)) * scale, s, there)  # [B, S, 9, heads, w*w]
        score = score.masked_fill(~inside[:, :, None, None], -torch.inf).transpose(2, 3).flatten(3)
        share = (score + query @ self.position.T).softmax(-1).to(cells.dtype)  # [B, S, heads, 9*w*w]
        lent = share.unflatten(-1, (AROUND, self.cells)).transpose(2, 3).flatten(1, 2).index_select(1, there)
        lent = lent.reshape(n * t, AROUND * self.heads, self.cells)
        seen = self._moved(products(lent * scale, cells), s, there)  # [B, S, 9, heads, C]
        read = (seen * inside[:, :, None, None]).sum(2) + share @ self.position
        return self.answer(read.reshape(n * t, self.heads, self.channels), (n, t))

    def _moved(self, values: Tensor, s: int, there: Tensor) -> Tensor:
        """[B*S, 9*heads, X] by window and looking token -> [B, S, 9, heads, X] by token and window looked at."""
        values = values.reshape(-1, s * AROUND, self.heads, values.shape[-1])
        return values.index_select(1, there).unflatten(1, (s, AROUND))
