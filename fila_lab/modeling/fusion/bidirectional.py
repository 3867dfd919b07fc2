"""A small cross-modal transformer block: cells attend to tokens and are changed, tokens attend to the changed cells."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.modeling.fusion.attention import Attention
from fila_lab.modeling.fusion.base import Fusion, FusionContext, FusionOutput, FusionSpec, product_dtype, widened
from fila_lab.modeling.fusion.places import tile_offsets
from fila_lab.modeling.fusion.registry import register

EPSILON = 1e-6


@register("bidirectional")
class Bidirectional(Fusion):
    """Two-way fusion, after PIIP (Zhu et al., 2024, arXiv 2406.04330; read from its source), whose branches update each other.

    cells + |cells| * back(gelu(mix(attend(cells -> tokens)))), then tokens + out(gelu(mix(attend(tokens -> cells)))), within a tile. Cells
    take part as the mean of each token's window; what is added to a mean is added to every cell of its window, in units of the mean's
    root mean square, and later fusion points at this stage see it (FusionOutput.detail). Other stages do not: the ConvNeXt has run.

    What differs: PIIP updates the tokens first and then the cells; here it is the other way round, so that the cells' side has an effect
    within one fusion point. PIIP's other branch goes on with what it is given, here the map only waits for the next fusion point. Its
    attention is deformable or plain, followed by a convolutional feed-forward net, with a zero scale on both sides. Here `out` is the only
    zero factor: tokens start unchanged, the map does not.
    """

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        spec.refuse("bidirectional", "aggregate", "combine", "gate")
        places = (2 * spec.grid - 1) ** 2
        self.to_tokens = Attention(spec, spec.detail_width, spec.token_width, places, spec.grid > 1)
        self.cell_mix = nn.Linear(spec.hidden, spec.hidden)
        self.back = nn.Linear(spec.hidden, spec.detail_width)
        self.to_cells = Attention(spec, spec.token_width, spec.detail_width, places, spec.grid > 1)
        self.token_mix = nn.Linear(spec.hidden, spec.hidden)
        self.out = nn.Linear(spec.hidden, spec.token_width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> FusionOutput:
        places = tile_offsets(context.grid, tokens.device)
        means = context.pooled(detail).to(product_dtype(tokens))  # [N, g*g, C]
        size = (widened(means).square().mean(-1, keepdim=True) + EPSILON).sqrt().to(means.dtype)
        step = size * self.back(F.gelu(self.cell_mix(self.to_tokens(means, tokens, places))))
        change = self.out(F.gelu(self.token_mix(self.to_cells(tokens, means + step, places))))
        return FusionOutput(tokens + change.to(tokens.dtype), self._spread(detail, step, context.grid) if context.read_again else None)

    def _spread(self, detail: Tensor, step: Tensor, grid: int) -> Tensor:
        """detail [N, C, g*w, g*w] with each token's step [N, g*g, C] added to all cells of its window."""
        step = step.transpose(1, 2).unflatten(2, (grid, grid))
        window = detail.shape[-1] // grid
        return detail + step.repeat_interleave(window, 2).repeat_interleave(window, 3)
