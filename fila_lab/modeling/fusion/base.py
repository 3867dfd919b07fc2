"""The contract of a fusion: what it is given, what it returns, what it may rely on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

Aggregate = Literal["pool", "unfold", "attend"]
Combine = Literal["concat", "add"]


def window_side(cells: int, grid: int) -> int:
    """Cells per side of one token's window: cells / grid where that is whole, else the nearest whole number, at least 1."""
    return max(1, math.floor(cells / grid + 0.5))


@dataclass(frozen=True)
class FusionSpec:
    """Widths and factors a fusion is built from. `cells` counts the stage's cells per tile side; null factors are the strategy's own."""

    token_width: int
    detail_width: int
    grid: int
    cells: int
    hidden: int
    heads: int = 4
    aggregate: Aggregate | None = None
    combine: Combine | None = None
    gate: bool | None = None

    @property
    def window(self) -> int:
        """Cells per side of one token's window."""
        return window_side(self.cells, self.grid)


@dataclass(frozen=True)
class FusionContext:
    """Where the N tiles lie, and views of a detail map by token.

    Tiles come image by image: the overview first, then the canvas in raster order. image, row, col: int64 [N]; an overview has
    row = col = -1. `stage_map(s)` gives stage s of all tiles, [N, C_s, h_s, w_s], whole cells per token.
    """

    grid: int
    rows: int
    cols: int
    stage: int
    image: Tensor
    row: Tensor
    col: Tensor
    stage_map: Callable[[int], Tensor]

    def windows(self, detail: Tensor) -> Tensor:
        """detail [N, C, g*w, g*w] -> each token's own window of cells, [N, g*g, w*w, C], cells in raster order.

        In memory the cells come last, so `.transpose(2, 3)` is contiguous: gathering then copies runs of w, not single values.
        """
        n, channels, side, _ = detail.shape
        g, w = self.grid, side // self.grid
        return detail.view(n, channels, g, w, g, w).permute(0, 2, 4, 1, 3, 5).reshape(n, g * g, channels, w * w).transpose(2, 3)

    def pooled(self, detail: Tensor) -> Tensor:
        """detail [N, C, g*w, g*w] -> the mean of each token's own window, [N, g*g, C]."""
        w = detail.shape[-1] // self.grid
        return (F.avg_pool2d(detail, w) if w > 1 else detail).flatten(2).transpose(1, 2)


@dataclass(frozen=True)
class FusionOutput:
    """tokens [N, g*g, D]; `detail`, where a strategy changes the map too, replaces the stage's map for later interactions."""

    tokens: Tensor
    detail: Tensor | None = None


class Fusion(nn.Module, ABC):
    """One interaction's fusion.

    At initialisation the output equals `tokens` exactly, through exactly one zero factor, so that gradients reach that factor at step 0.
    `local` says that a token depends on its own window of the detail map and on no other cell.
    """

    local: bool = False

    @abstractmethod
    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> FusionOutput:
        """tokens [N, g*g, D] (no class token), detail [N, C, g*w, g*w] -> FusionOutput."""
