"""Factor one, wider: a token attends to the whole tile, one mean cell a token of it."""

from __future__ import annotations

from torch import Tensor, nn

from fila_lab.modeling.fusion.attention import Attention
from fila_lab.modeling.fusion.base import FusionContext, FusionSpec, Reads, product_dtype
from fila_lab.modeling.fusion.places import tile_offsets


class AttendTile(nn.Module):
    """Each token attends to the mean cells of all tokens of its tile: [N, g*g, H].

    A mean a token, because all cells of a tile (36,864 of stage 1 at paper scale) would cost more than the ViT; what is lost within a
    window, `attend` and `attend_neighbours` keep.
    """

    reads: Reads = "means"
    local = False
    reaches = False

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        self.width, self.grid = spec.hidden, spec.grid
        self.attention = Attention(spec, spec.token_width, spec.detail_width, (2 * spec.grid - 1) ** 2, chooses=spec.grid > 1)

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> Tensor:
        return self.attention(tokens, context.pooled(detail).to(product_dtype(tokens)), tile_offsets(self.grid, tokens.device))
