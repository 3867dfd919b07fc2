"""The contract of a fusion: what it is given, what it returns, what it may rely on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.config.base import FilaError
from fila_lab.config.fusion import Aggregate, Combine, Reach

Reads = Literal["cells", "windows", "means", "nothing"]
"""How a strategy is handed the map: `cells` [N, C, g*w, g*w]; `windows` [N, g, g, w*w, C], each token's own cells, in the type products
run in; `means` [N, C, g, g], one mean a token. What is less than `cells` is taken from the whole canvas, without a copy of every tile.
`nothing`: the strategy looks at no map; then none is made, and it is handed one without channels.
"""


def window_side(cells: int, grid: int) -> int:
    """Cells per side of one token's window: cells / grid where that is whole, else the nearest whole number, at least 1."""
    return max(1, math.floor(cells / grid + 0.5))


Options = TypeVar("Options", bound=BaseModel)


@dataclass(frozen=True)
class FusionSpec:
    """Widths and factors a fusion is built from. `cells` counts the stage's cells per tile side; null factors are the strategy's own;
    `coarser` holds (detail width, cells) of the stages above it, the next one first; `options` are of the strategy's own model."""

    token_width: int
    detail_width: int
    grid: int
    cells: int
    hidden: int
    heads: int = 4
    aggregate: Aggregate | None = None
    combine: Combine | None = None
    gate: bool | None = None
    coarser: tuple[tuple[int, int], ...] = ()
    reach: Reach = "canvas"
    options: BaseModel | None = None

    def own(self, model: type[Options]) -> Options:
        """The strategy's options, as it declared them; the usual ones where none were given."""
        return self.options if isinstance(self.options, model) else model()

    def refuse(self, name: str, *factors: str) -> None:
        """FilaError where one of these factors is set, which strategy `name` does not have."""
        for factor in factors:
            if getattr(self, factor) is not None:
                raise FilaError(f"fusion.{factor}={getattr(self, factor)!r} has no meaning with fusion.name={name!r}; leave it out")

    def head_width(self) -> int:
        """Hidden channels of one of `heads` heads; FilaError where they do not divide."""
        if self.hidden % self.heads:
            raise FilaError(
                f"fusion.heads={self.heads} does not divide the hidden width {self.hidden}; choose a divisor or set fusion.hidden"
            )
        return self.hidden // self.heads

    @property
    def window(self) -> int:
        """Cells per side of one token's window."""
        return window_side(self.cells, self.grid)


@dataclass(frozen=True)
class FusionContext:
    """Where the N tiles lie, and views of a detail map by token.

    Tiles come image by image: the overview first, then the canvas in raster order, grid by grid where there are several. image, row, col:
    int64 [N]; an overview has row = col = -1, a strided tile the phase of its pixels. rows, cols: tiles of the first grid, which are all
    only where the canvas is cut once. `stage_map(s)` gives stage s of all tiles, [N, C_s, h_s, w_s], whole cells per token;
    `stage_windows(s, dtype)` each token's own window of it, [N, g, g, w*w, C_s]. `read_again` says whether anything reads this stage's map
    after this fusion point.
    """

    grid: int
    rows: int
    cols: int
    stage: int
    image: Tensor
    row: Tensor
    col: Tensor
    stage_map: Callable[[int], Tensor]
    stage_windows: Callable[[int, torch.dtype], Tensor]
    read_again: bool = True

    def windows(self, detail: Tensor) -> Tensor:
        """detail [N, C, g*w, g*w], or `windows` -> each token's own window of cells, [N, g*g, w*w, C], in raster order.

        In memory the cells come last, so `.transpose(2, 3)` is contiguous: gathering then copies runs of w, not single values.
        """
        if detail.ndim == 5:
            return detail.flatten(1, 2)
        n, channels, side, _ = detail.shape
        g, w = self.grid, side // self.grid
        return detail.view(n, channels, g, w, g, w).permute(0, 2, 4, 1, 3, 5).reshape(n, g * g, channels, w * w).transpose(2, 3)

    def pooled(self, detail: Tensor) -> Tensor:
        """detail [N, C, g*w, g*w], or `means` -> the mean of each token's own window, [N, g*g, C]."""
        w = detail.shape[-1] // self.grid
        return (F.avg_pool2d(detail, w) if w > 1 else detail).flatten(2).transpose(1, 2)


@dataclass(frozen=True)
class FusionOutput:
    """tokens [N, g*g, D]; `detail`, where a strategy changes the map too, replaces the stage's map for later fusion points."""

    tokens: Tensor
    detail: Tensor | None = None


class Fusion(nn.Module, ABC):
    """The fusion at one fusion point.

    At initialisation the output equals `tokens` exactly, through exactly one zero factor, so that gradients reach that factor at step 0.
    `local` says that a token depends on its own window of the detail map and on no other cell. `reads` says in which form the encoder
    hands it the map; a strategy that says less than `cells` must take `cells` too.

    `reaches` says that it can look across a seam. Then it has a twin, built where `spec.reach` is `tile`: the same parameters and nearly
    the same FLOPs, but a tile's tokens depend on that tile alone. (What a twin cannot use, such as a bias of places beyond the seam, it
    keeps all the same.) `options` is the model of the strategy's own options, if it has some.
    """

    local: bool = False
    reads: Reads = "cells"
    reaches: bool = False
    options: ClassVar[type[BaseModel] | None] = None

    @abstractmethod
    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> FusionOutput:
        """tokens [N, g*g, D] (no class token), detail [N, C, g*w, g*w] or as `reads` says -> FusionOutput."""


def widened(values: Tensor) -> Tensor:
    """In the type that sums and norms are taken in: float32, or float64 where the values are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def product_dtype(tokens: Tensor) -> torch.dtype:
    """The type products with tokens run in: autocast's, where the device has it and it is on, else the tokens'."""
    kind = tokens.device.type
    cast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if cast else tokens.dtype
