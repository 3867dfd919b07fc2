"""Factor one without a detail map: a token attends to the ViT's own tokens, across tiles. Context without resolution."""

from __future__ import annotations

from torch import Tensor, nn

from fila_lab.modeling.fusion.attention import Attention
from fila_lab.modeling.fusion.base import FusionContext, FusionSpec, Reads
from fila_lab.modeling.fusion.places import canvas_offsets, reachable_tokens


class AttendTokens(nn.Module):
    """Each token of the canvas attends to the tokens of its own tile and of the up to eight around it: [N, g*g, H].

    The overview's tokens attend to all tokens, as the overview is given the whole map elsewhere; no tile attends to the overview. The
    own tile is among what is attended to, so that a canvas of one tile has something to attend to as well. With reach `tile` it is all.
    """

    reads: Reads = "nothing"
    local = False
    reaches = True

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        self.width, g, self.reach = spec.hidden, spec.grid, spec.reach
        self.attention = Attention(spec, spec.token_width, spec.token_width, (4 * g - 1) ** 2 + (2 * g - 1) ** 2)

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> Tensor:
        n, t, width = tokens.shape
        image = tokens.reshape(-1, (1 + context.rows * context.cols) * t, width)  # [B, S, D]
        return self.attention(image, image, canvas_offsets(context), reachable_tokens(context, self.reach)).view(n, t, self.width)
