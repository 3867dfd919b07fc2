"""The detail branch: timm's ConvNeXt trunk, giving the maps of its four stages."""

from __future__ import annotations

import torch
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from fila_lab.config.towers import ConvNextConfig
from fila_lab.modeling.pixels import tower_statistics
from fila_lab.modeling.regions import Regions


class ConvNextTower(nn.Module):
    """timm's ConvNeXt without its head. The residual branches of a random tower are scaled by 1.

    timm starts them at 1e-6, meant for hundreds of epochs: a random tower would mix nothing across cells, a short training barely start.
    """

    def __init__(self, config: ConvNextConfig) -> None:
        super().__init__()
        self.config = config
        self.dims = config.dims
        self.statistics = tower_statistics(config)
        self.trunk = ConvNeXt(
            depths=config.depths, dims=config.dims, conv_mlp=config.conv_mlp, num_classes=0, ls_init_value=1.0, norm_eps=config.norm_eps
        )
        self.trunk.head = nn.Identity()  # type: ignore[assignment]
        self.regions: Regions | None = None
        """Compiles its stages, where a run wants that and no gradients are taken: torch's code generator fails on what is kept for a
        backward pass whose sizes are symbols."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.trunk.parameters()).dtype

    def forward(self, detail: Tensor) -> list[Tensor]:
        """Normalised detail input [B, 3, H, W], H and W multiples of 32 -> stage maps [B, C_s, H/4, W/4] ... [B, C_4, H/32, W/32]."""
        maps: list[Tensor] = []
        trains = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in self.trunk.parameters())
        regions = None if trains else self.regions
        detail = detail.to(self.dtype)
        cells = self.trunk.stem(detail)
        for stage in self.trunk.stages:
            cells = stage(cells) if regions is None else regions(stage, cells)
            maps.append(cells)
        return maps
