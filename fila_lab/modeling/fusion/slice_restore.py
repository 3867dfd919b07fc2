"""HiRes-LLaVA's slice restore adapter: a convolution and pooled attention on the canvas that its tiles are joined to again."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.config.base import FilaError
from fila_lab.config.fusion_options import SliceRestoreOptions
from fila_lab.modeling.fusion.attention import Attention
from fila_lab.modeling.fusion.base import Fusion, FusionContext, FusionOutput, FusionSpec, Reads, product_dtype
from fila_lab.modeling.fusion.canvas import maps_of, tokens_of
from fila_lab.modeling.fusion.llava_hr import ChannelScale
from fila_lab.modeling.fusion.registry import register
from fila_lab.modeling.resample import resample


@register("slice_restore")
class SliceRestore(Fusion):
    """tokens + scale * (local + pooled), after HiRes-LLaVA (Huang et al., 2024, arXiv 2407.08706; its code was not found, nor its full
    text read).

    Theirs: inside the ViT, the slices' tokens form one map of the canvas again; one depth-wise 3x3 convolution (local), and self-attention
    of a smaller map, enlarged again (global, here pooled); their sum joins the tokens. The overview does not meet the slices.

    Ours, because theirs is not known: tokens are normalised first; the smaller map has half the tokens a side, rounded up, each a true area
    mean (`fusion.options.pooled`); attention is `fusion.heads` heads in the hidden width, without places, its means enlarged between the
    four nearest centres; one learned scale a channel is zero at the start; the convolution has stride 1 and pads with zeros at the canvas's
    edge alone; it acts at this laboratory's fusion points; the overview is a map by itself and goes through the same module.
    `fusion.options.parts` leaves one of the two out. With reach `tile` each tile is such a map by itself.
    """

    reads: Reads = "nothing"
    reaches = True
    options = SliceRestoreOptions

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        spec.refuse("slice_restore", "aggregate", "combine", "gate")
        options, width = spec.own(SliceRestoreOptions), spec.token_width
        self.grid, self.reach = spec.grid, spec.reach
        try:
            self.pooled = options.pooled_side(spec.grid)
        except ValueError as error:
            raise FilaError(f"fusion.options.{error}") from None
        self.local_in = None if options.parts == "pooled" else nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.attention = None if options.parts == "local" else Attention(spec, width, width)
        self.attention_out = None if options.parts == "local" else nn.Linear(spec.hidden, width)
        self.scale = ChannelScale(width)

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> FusionOutput:
        usual = F.layer_norm(tokens, tokens.shape[-1:]).to(product_dtype(tokens))
        restored = [self._restored(one) for one in maps_of(usual, context, self.reach)]
        return FusionOutput(tokens + self.scale(tokens_of(restored, context).to(tokens.dtype)))

    def _restored(self, usual: Tensor) -> Tensor:
        """What is added to a map [M, D, H, W], before the scale."""
        parts = [] if self.local_in is None else [self.local_in(usual)]
        if self.attention is not None and self.attention_out is not None:
            size = [side // self.grid * self.pooled for side in usual.shape[-2:]]
            cells = resample(usual, size, "area").flatten(2).transpose(1, 2)  # [M, P, D]
            gist = self.attention_out(self.attention(cells, cells)).transpose(1, 2).unflatten(2, size)
            parts.append(resample(gist, usual.shape[-2:], "bilinear"))
        return parts[0] if len(parts) == 1 else torch.add(*parts)
