"""LLaVA-HR's mixture-of-resolution adapter: convolutions on both sides, and one gate a tile."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.modeling.fusion.aggregate import unit_scale
from fila_lab.modeling.fusion.base import Fusion, FusionContext, FusionOutput, FusionSpec, Reads, product_dtype
from fila_lab.modeling.fusion.registry import register

KERNEL = 7
"""Side of the depth-wise kernel; 2g - 1 where that is less, because no token lies farther from another."""


@register("llava_hr")
class LlavaHR(Fusion):
    """tokens + scale * (local + tanh(gate) * slow), after LLaVA-HR (Luo et al., 2024, arXiv 2403.03003; read from its source).

    slow: 1x1 convolution of the cells to the hidden width, GELU, mean of the window, 1x1 convolution to the ViT width. local: depth-wise
    convolution of the tokens' grid, GELU, 1x1 convolution. gate: two-layer net on the mean over the tile's tokens of
    [tokens + local; slow], one number a tile; fusion.gate=false leaves it out.

    What differs: LLaVA-HR starts both last convolutions at zero, two zero factors; here one learned scale a channel is zero, and they are
    not (its block of 6,085,121 parameters at widths 1,024 and 1,536, hidden 1,536, has 1,024 more here). It keeps the detail width inside,
    here it is the hidden width. It applies both convolutions before the mean, the second of which is linear and comes after it here. Cells
    and tokens are normalised, as in every strategy here; it sees one last-stage map at three layers and trains the ViT.
    """

    reads: Reads = "windows"

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        spec.refuse("llava_hr", "aggregate", "combine")
        width, self.grid = spec.token_width, spec.grid
        kernel = min(KERNEL, 2 * spec.grid - 1)
        self.slow_in = nn.Linear(spec.detail_width, spec.hidden)
        self.slow_out = nn.Linear(spec.hidden, width)
        self.local_in = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.local_out = nn.Linear(width, width)
        self.gate = None if spec.gate is False else nn.Sequential(nn.Linear(2 * width, width // 2), nn.GELU(), nn.Linear(width // 2, 1))
        self.scale = ChannelScale(width)
        self.local = self.gate is None  # the gate sees the whole tile

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> FusionOutput:
        usual = F.layer_norm(tokens, tokens.shape[-1:])
        slow = self._slow(context.windows(detail).to(product_dtype(tokens)))
        grid = usual.transpose(1, 2).unflatten(2, (self.grid, self.grid))  # [N, D, g, g]
        local = self.local_out(F.gelu(self.local_in(grid)).flatten(2).transpose(1, 2))
        if self.gate is not None:
            joint = torch.cat([usual.to(slow.dtype) + local, slow], dim=-1).mean(1)
            slow = slow * self.gate(joint).tanh()[:, None]
        return FusionOutput(tokens + self.scale((local + slow).to(tokens.dtype)))

    def _slow(self, cells: Tensor) -> Tensor:
        """[N, g*g, w*w, C] -> [N, g*g, D]; cells brought to unit root mean square, after the product, which costs less."""
        unit = unit_scale(cells.flatten(0, 1)).view(*cells.shape[:3], 1)
        hidden = F.linear(cells, self.slow_in.weight) * unit + self.slow_in.bias.to(cells.dtype)
        return self.slow_out(F.gelu(hidden).mean(2))


class ChannelScale(nn.Module):
    """A learned scale of each channel that starts at zero (CaiT's LayerScale, Touvron et al., 2021, at its limit): [..., D]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, change: Tensor) -> Tensor:
        return change * self.weight
