"""Mini-Gemini's patch info mining: a token attends to its own window of the stage and of all coarser ones, concatenated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fila_lab.modeling.fusion.aggregate import products
from fila_lab.modeling.fusion.base import Fusion, FusionContext, FusionOutput, FusionSpec, Reads, product_dtype, widened, window_side
from fila_lab.modeling.fusion.registry import register

EPSILON = 1e-5
"""Of the layer norms."""


@register("mini_gemini")
class MiniGemini(Fusion):
    """tokens + value(norm(read)), after Mini-Gemini (Li et al., 2024, arXiv 2403.18814; read from its source).

    One head; queries, keys and values are linear maps of layer norms. Cells of the fusion point's stage carry the channels of the coarser
    stages above them: at stage 1 all four, 2,880 at paper scale, as in Mini-Gemini, which fuses once behind the ViT (fusion.depth: after).

    What differs: `value` starts at zero, so that the arm starts as the baseline. Coarser stages are brought to the stage's cells by their
    nearest cell, not bilinearly, so that nothing is enlarged: scores, sums and reads of a coarser stage are made once a cell of its own.
    Keys are folded into the query and values applied after the sum, the same function. The biases of the keys' norm and projection, which
    softmax cancels, are left out: 3,904 of its 6,963,456 parameters at widths 1,024 and 2,880. A window of one cell leaves nothing to
    choose: then there are only values. `hidden` is the width of queries and keys.
    """

    local = True
    reads: Reads = "windows"

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        spec.refuse("mini_gemini", "aggregate", "combine", "gate")
        self.hidden, self.cells = spec.hidden, spec.window**2
        self.widths = [spec.detail_width, *(width for width, _ in spec.coarser)]
        self.sides = [spec.window, *(window_side(cells, spec.grid) for _, cells in spec.coarser)]
        channels = sum(self.widths)
        if self.cells > 1:
            self.query = nn.Sequential(nn.LayerNorm(spec.token_width), nn.Linear(spec.token_width, spec.hidden))
            self.key_gain = nn.Parameter(torch.ones(channels))
            self.key = nn.Linear(channels, spec.hidden, bias=False)
        self.value_gain, self.value_bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.value = nn.Linear(channels, spec.token_width)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> FusionOutput:
        dtype = product_dtype(tokens)
        windows = [context.windows(detail).to(dtype).flatten(0, 1)]  # of each stage, [N*T, w*w, C]
        for above in range(1, len(self.widths)):
            windows.append(context.stage_windows(context.stage + above, dtype).flatten(0, 2))
        places = [nearest_cells(self.sides[0], side, tokens.device) for side in self.sides]
        mean, scale = self._statistics(windows, places)  # [N*T, w*w]
        if self.cells == 1:
            share = scale
        else:
            query = (self.query(tokens).flatten(0, 1) @ self.key.weight) * (self.key_gain * self.hidden**-0.5)  # [N*T, C], folded
            score = sum(
                widened(products(part[:, None].to(dtype), cells.transpose(1, 2))[:, 0]).index_select(1, place)
                for part, cells, place in zip(query.split(self.widths, -1), windows, places, strict=True)
            )
            share = ((score - mean * widened(query).sum(-1, keepdim=True)) * scale).softmax(-1) * scale
        read = self._read(share, windows, places) - (share * mean).sum(-1, keepdim=True)
        change = self.value((read * self.value_gain + self.value_bias).to(dtype))
        return FusionOutput(tokens + change.to(tokens.dtype).view_as(tokens))

    def _statistics(self, windows: Sequence[Tensor], places: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Over all channels of each cell of the finest stage: mean, and one over the standard deviation, [N*T, w*w], `widened`."""
        channels, kind = sum(self.widths), torch.promote_types(windows[0].dtype, torch.float32)
        total = sum(cells.sum(-1, dtype=kind).index_select(1, place) for cells, place in zip(windows, places, strict=True))
        square = sum(
            torch.linalg.vector_norm(cells, dim=-1, dtype=kind).square().index_select(1, place)
            for cells, place in zip(windows, places, strict=True)
        )
        assert isinstance(total, Tensor)
        mean = total / channels
        return mean, (square / channels - mean.square() + EPSILON).rsqrt()

    def _read(self, share: Tensor, windows: Sequence[Tensor], places: Sequence[Tensor]) -> Tensor:
        """The sum over cells by their shares [N*T, w*w], stages side by side: [N*T, C]."""
        reads = []
        for cells, place in zip(windows, places, strict=True):
            own = share.new_zeros(len(share), cells.shape[1]).index_add(1, place, share).to(cells.dtype)
            reads.append((own[:, :, None] * cells).sum(1) if self.cells == 1 else products(own[:, None], cells)[:, 0])
        return widened(torch.cat(reads, dim=-1))


def nearest_cells(fine: int, coarse: int, device: torch.device) -> Tensor:
    """int64 [fine*fine]: of a window of coarse x coarse cells the one over each of fine x fine cells, in raster order."""
    place = torch.div(torch.arange(fine, device=device) * coarse, fine, rounding_mode="floor")
    return (place[:, None] * coarse + place).flatten()
