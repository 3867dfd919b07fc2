"""TextMonkey's exchange between tiles: attention within windows of the joined canvas that lie across the seams."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.config.base import FilaError
from fila_lab.config.fusion_options import ShiftedWindowOptions
from fila_lab.config.windows import axis_windows, window_side
from fila_lab.modeling.fusion.attention import attended, in_heads
from fila_lab.modeling.fusion.base import Fusion, FusionContext, FusionOutput, FusionSpec, Reads, product_dtype
from fila_lab.modeling.fusion.places import tile_offsets
from fila_lab.modeling.fusion.registry import register


@register("shifted_window")
class ShiftedWindow(Fusion):
    """tokens + out(gelu(mix(h + attend(h)))), h = enter(tokens), after TextMonkey (Liu et al., 2024, arXiv 2403.04473; read from its
    source).

    Theirs: before four layers of the ViT, the canvas's tokens go through one block of Swin Transformer (Liu et al., 2021) in a smaller
    width: a projection without bias, a norm, attention within shifted windows with a learned bias for each head and relative place, added
    in that width, a norm, two layers with GELU, the second of which starts at zero; the overview stays as it is.

    Ours: windows are placed by the tiles, so that every seam lies in the middle of one (`fusion.options.window` tokens a side, null: half
    the tile's). Theirs have 12 tokens and begin at the sixth, wherever the seams are (`placement: textmonkey`): with tiles of 32 tokens two
    columns on one side of a seam see ten on the other, with tiles of 24 both placements are one. Tokens see only those of their own window
    that lie side by side with them; theirs pads a canvas that windows do not divide, masks it as if it were none, and so lets one edge see
    the other. Left out: its learned places on the whole canvas (60 % of its parameters, for canvases of one size), a learned factor that
    starts at one, dropout. Norms have no gain or bias, keys no bias. Tokens are normalised first, as in every strategy here.

    With reach `tile` windows of the same size are cut from each tile's own border on, so that none lies across a seam.
    """

    reads: Reads = "nothing"
    reaches = True
    options = ShiftedWindowOptions

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        spec.refuse("shifted_window", "aggregate", "combine", "gate")
        self.own, self.reach, self.heads = spec.own(ShiftedWindowOptions), spec.reach, spec.heads
        try:
            self.window = window_side(self.own, spec.grid)
        except ValueError as error:
            raise FilaError(f"fusion.options{'' if str(error).startswith(':') else '.'}{error}") from None
        spec.head_width()
        self.enter = nn.Linear(spec.token_width, spec.hidden, bias=False)
        self.query, self.value = nn.Linear(spec.hidden, spec.hidden), nn.Linear(spec.hidden, spec.hidden)
        self.key = nn.Linear(spec.hidden, spec.hidden, bias=False)
        self.position = nn.Parameter(0.02 * torch.randn(spec.heads, (2 * self.window - 1) ** 2))
        self.attended = nn.Linear(spec.hidden, spec.hidden)
        self.mix = nn.Linear(spec.hidden, 2 * spec.hidden)
        self.out = nn.Linear(2 * spec.hidden, spec.token_width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> FusionOutput:
        dtype, tiles = product_dtype(tokens), 1 + context.rows * context.cols
        overview, canvas = tokens.unflatten(0, (-1, tiles)).split([1, tiles - 1], dim=1)
        inner = self.enter(F.layer_norm(canvas.flatten(1, 2), canvas.shape[-1:]).to(dtype))  # [B, S, H]
        inner = inner + self.attended(self._over_windows(F.layer_norm(inner, inner.shape[-1:]).to(dtype), context))
        change = self.out(F.gelu(self.mix(F.layer_norm(inner, inner.shape[-1:]).to(dtype)))).to(tokens.dtype)
        changed = canvas + change.view_as(canvas)
        return FusionOutput(torch.cat([overview, changed], dim=1).flatten(0, 1))

    def _over_windows(self, inner: Tensor, context: FusionContext) -> Tensor:
        """[B, S, H] -> [B, S, H]: each token's attention over those of its window."""
        held, run, home = self._windows(context)
        query, key, value = (
            in_heads(layer(inner).index_select(1, held).unflatten(1, run.shape), self.heads)  # [B, W, heads, w*w, H / heads]
            for layer in (self.query, self.key, self.value)
        )
        bias = self.position[:, tile_offsets(self.window, inner.device)]
        read = attended(query, key, value, bias, (run[:, :, None] == run[:, None])[:, None])
        return read.flatten(1, 2).index_select(1, home)

    def _windows(self, context: FusionContext) -> tuple[Tensor, Tensor, Tensor]:
        """Of the W windows of a canvas, slot by slot: the token that each holds, int64 [W * w*w], any where it is empty, and the run that
        it belongs to, [W, w*w], -1 where it is empty; and the slot of each token, [S], tile by tile."""
        g, w, device = context.grid, self.window, context.row.device
        down, across = (axis_windows(self.own, tiles, g, self.reach == "canvas") for tiles in (context.rows, context.cols))
        row, col = (torch.arange(tiles * g, device=device).view(tiles, g) for tiles in (context.rows, context.cols))
        row, col = torch.broadcast_tensors(row[:, None, :, None], col[None, :, None, :])  # [rows, cols, g, g]
        row, col = row.flatten(), col.flatten()
        (rows, row_slots, row_runs), (cols, col_slots, col_runs) = (
            torch.tensor([axis.window, axis.slot, axis.run], device=device) for axis in (down, across)
        )
        home = ((rows[row] * across.count + cols[col]) * w + row_slots[row]) * w + col_slots[col]
        held = home.new_zeros(down.count * across.count * w * w).index_copy(0, home, torch.arange(len(home), device=device))
        runs = row_runs[row] * (int(across.run[-1]) + 1) + col_runs[col]
        run = torch.full_like(held, -1).index_copy(0, home, runs)
        return held, run.view(-1, w * w), home
