"""A few summaries of each tile read those of the other tiles, and the tile's tokens read its summaries: what FALCON's registers do."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.config.fusion import Reach
from fila_lab.config.fusion_options import DIRECTIONS, TileSummaryOptions
from fila_lab.modeling.fusion.attention import Attention, attended, in_heads
from fila_lab.modeling.fusion.base import Fusion, FusionContext, FusionOutput, FusionSpec, Reads, product_dtype
from fila_lab.modeling.fusion.registry import register


@register("tile_summary")
class TileSummary(Fusion):
    """tokens + out(read(tokens, summaries)): after FALCON (Zhang et al., 2025, arXiv 2501.16297; read from its source).

    Theirs: registers, learned tokens beside each tile's, take part in every layer of the ViT; what they read there meets that of the other
    tiles' registers in an attention of its own, a copy of the layer's, and is added to them; a tile is known by learned embeddings of its
    row and column. Registers alone go to the language model, in place of all tokens.

    Ours: the exchange is a module at the fusion points, for a ViT that stays as it is. `fusion.options.summaries` learned registers a tile
    attend to the tile's tokens, and keep what they were beside what they read; summaries attend to those of all tiles of their image, with
    a learned bias for each head and direction in place of the embeddings, and add what they read; the tile's tokens attend to its
    summaries, and `out`, which starts at zero, is added. Multi-head attention in the hidden width throughout, both sides normalised. The
    overview has summaries too, which read all tiles', and which no tile reads, as in `cross_tile`. A sequence of registers alone is another
    than the baseline's, and is not offered here. With reach `tile` summaries attend to those of their own tile.
    """

    reads: Reads = "nothing"
    reaches = True
    options = TileSummaryOptions

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        spec.refuse("tile_summary", "aggregate", "combine", "gate")
        count = spec.own(TileSummaryOptions).summaries
        self.reach, self.heads, self.chooses = spec.reach, spec.heads, spec.grid > 1
        spec.head_width()
        self.registers = nn.Parameter(torch.randn(count, spec.hidden))
        if self.chooses:
            self.key = nn.Linear(spec.token_width, spec.hidden, bias=False)
        self.value = nn.Linear(spec.token_width, spec.hidden)
        self.exchange = Attention(spec, spec.hidden, spec.hidden, DIRECTIONS)
        self.read = Attention(spec, spec.token_width, spec.hidden, chooses=count > 1)
        self.out = nn.Linear(spec.hidden, spec.token_width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> FusionOutput:
        own = self._summaries(F.layer_norm(tokens, tokens.shape[-1:]).to(product_dtype(tokens)))  # [N, M, H]
        image = own.unflatten(0, (-1, 1 + context.rows * context.cols)).flatten(1, 2)
        direction, readable = _tiles(context, self.reach, own.shape[1])
        known = (image + self.exchange(image, image, direction, readable)).view_as(own)
        return FusionOutput(tokens + self.out(self.read(tokens, known)).to(tokens.dtype))

    def _summaries(self, usual: Tensor) -> Tensor:
        """Normalised tokens [N, T, D] -> [N, M, H]: the registers and what they read of their tile."""
        value = self.value(usual)
        if not self.chooses:
            return self.registers.to(value.dtype) + value
        query = F.layer_norm(self.registers, self.registers.shape[-1:]).to(value.dtype)
        read = attended(in_heads(query, self.heads), in_heads(self.key(usual), self.heads), in_heads(value, self.heads))
        return self.registers.to(value.dtype) + read


def _tiles(context: FusionContext, reach: Reach, count: int) -> tuple[Tensor, Tensor]:
    """Of all pairs (from, to) of an image's summaries, `count` a tile: int64, the direction in which the other's tile lies, and bool,
    whether it is read, both [tiles * count, tiles * count]."""
    tiles = 1 + context.rows * context.cols
    row, col = context.row[:tiles], context.col[:tiles]
    down, across = ((place[None, :] - place[:, None]).sign() + 1 for place in (row, col))
    overview = row < 0
    direction = torch.where(overview[:, None], torch.where(overview, 10, 9), down * 3 + across)
    readable = overview[:, None] | ~overview
    if reach == "tile":
        readable = torch.eye(tiles, dtype=torch.bool, device=row.device)
    direction, readable = (pair.repeat_interleave(count, 0).repeat_interleave(count, 1) for pair in (direction, readable))
    return direction, readable
