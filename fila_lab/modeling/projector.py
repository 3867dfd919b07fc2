"""Vision tokens to the language model's width, and the order in which it reads them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.config.geometry import Size
from fila_lab.config.projector import ProjectorConfig
from fila_lab.config.tiling import TileLayout


def build_projector(config: ProjectorConfig, vision_width: int, language_width: int) -> nn.Module:
    """Merged tokens to the language model's width, [..., D] -> [..., D_llm]: `linear`; `mlp2x_gelu` (two layers, LLaVA-1.5), which follows
    `average_pool` too; behind `pixel_shuffle` a norm before it (InternVL's mlp1), D = D_vit * factor^2."""
    read = vision_width * config.channels
    if config.kind == "linear":
        return nn.Linear(read, language_width)
    layers = [nn.Linear(read, language_width), nn.GELU(), nn.Linear(language_width, language_width)]
    return nn.Sequential(*([nn.LayerNorm(read)] if config.kind == "pixel_shuffle" else []), *layers)


def merge(tokens: Tensor, size: Size, config: ProjectorConfig) -> Tensor:
    """The squares of `config.side` x `config.side` neighbours as one token each: a rectangle of (columns, rows) = `size` tokens in raster
    order, [B, R*C, D] -> [B, R*C / side^2, D'], D' = D * side^2 of `pixel_shuffle` (channels of the square's tokens in raster order), D of
    `average_pool` (their mean). Where the side divides the tile's grid, no square lies in two tiles.

    Pixel shuffle: InternVL 1.5 (arXiv 2404.16821) and nanoVLM; average pooling: e.g. LLaVA-OneVision's frames (arXiv 2408.03326).
    """
    side, (across, down) = config.side, size
    if side == 1:
        return tokens
    squares = tokens.unflatten(1, (down // side, side, across // side, side)).transpose(2, 3).flatten(1, 2)  # [B, R*C / side^2, ...]
    return squares.flatten(2) if config.kind == "pixel_shuffle" else squares.mean(dim=(2, 3))


def merge_visual(tokens: Tensor, layout: TileLayout, config: ProjectorConfig) -> Tensor:
    """`merge` of the overview's tokens, and of the canvas's behind them, grid by grid: [B, g*g + T, D] -> [B, (g*g + T) / side^2, D']."""
    if config.side == 1:
        return tokens
    overview, *grids = by_grid(tokens, layout)
    merged = [merge(own, grid.handed, config) for own, grid in zip(grids, layout.grids, strict=True)]
    return torch.cat([merge(overview, (layout.grid, layout.grid), config), *merged], dim=1)


def by_grid(tokens: Tensor, layout: TileLayout) -> tuple[Tensor, ...]:
    """[B, S, D] -> the overview's tokens, then those of each grid of the canvas."""
    counts = [across * down for across, down in (grid.handed for grid in layout.grids)]
    return tokens.split([layout.grid**2, *counts], dim=1)


class Handoff(nn.Module):
    """Detail tokens for the language model, behind the visual ones: means of stage 4, one a canvas token, normalised without learned gain,
    merged as the visual ones are and projected by a projector of their own, [B, rows*g*cols*g, C_4] -> [B, rows*g*cols*g / side^2, D_llm].

    EAGLE (Shi et al., 2024, arXiv 2408.15998) compares appending a second encoder's tokens with fusing them. A longer sequence cannot be
    the baseline's at initialisation, whatever the tokens hold: attention shares itself out over them too.
    """

    def __init__(self, config: ProjectorConfig, detail_width: int, language_width: int) -> None:
        super().__init__()
        self.config = config
        self.projector = build_projector(config, detail_width, language_width)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.projector.parameters()).dtype

    def forward(self, means: Tensor, layout: TileLayout) -> Tensor:
        return self.projector(merge(F.layer_norm(means.to(self.dtype), means.shape[-1:]), layout.handed, self.config))


def raster(tokens: Tensor, layout: TileLayout) -> Tensor:
    """Patch tokens tile by tile, [B, 1 + n, g*g, D] -> [B, S, D]: the overview, then the canvas in raster order, across tiles, once a grid.

    The layout says which tile's token stands for a canvas position where tiles overlap or are strided, and which positions are left out as
    padding.
    """
    images, _, _, width = tokens.shape
    if not layout.plain:
        sources = torch.tensor(layout.sources(), device=tokens.device)
        return torch.cat([tokens[:, 0], tokens[:, 1:].flatten(1, 2)[:, sources]], dim=1)
    canvas = tokens[:, 1:].view(images, layout.rows, layout.cols, layout.grid, layout.grid, width).transpose(2, 3)
    return torch.cat([tokens[:, 0], canvas.reshape(images, -1, width)], dim=1)


class RowSeparator(nn.Module):
    """A learned token after each canvas row: [B, g*g + R*C, D] -> [B, g*g + R*(C + 1), D] for the R rows of C tokens that the layout hands
    over; so for each grid, where there are several."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.separator = nn.Parameter(width**-0.5 * torch.randn(width))

    def forward(self, tokens: Tensor, layout: TileLayout) -> Tensor:
        images, _, width = tokens.shape
        overview, *grids = by_grid(tokens, layout)
        rows = []
        for own, grid in zip(grids, layout.grids, strict=True):
            across, down = grid.handed
            ends = self.separator.to(tokens.dtype).expand(images, down, 1, width)
            rows.append(torch.cat([own.reshape(images, down, across, width), ends], dim=2).flatten(1, 2))
        return torch.cat([overview, *rows], dim=1)
