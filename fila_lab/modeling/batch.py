"""What the model is given and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from fila_lab.config.tiling import TileLayout


@dataclass(frozen=True)
class VisionBatch:
    """B images of one canvas with their texts.

    tiles: uint8 [B, rows*cols, T, T, 3] in raster order; overview: uint8 [B, T, T, 3]; detail: uint8 [B, Hd, Wd, 3], the ConvNeXt's input;
    maps: its four cached stage maps [B, C_s, H_s, W_s], which take precedence over `detail`;
    oracle: four one-hot truth maps of the same sizes; layout: where the rows x cols tiles lie on the canvas and which tokens are handed
    over, by default side by side and all;
    input_ids: int64 [B, L], prompt and answer, padded on the right; prompt_lengths: int64 [B], how many of them are the prompt.
    """

    tiles: Tensor
    overview: Tensor
    rows: int
    cols: int
    input_ids: Tensor
    prompt_lengths: Tensor
    detail: Tensor | None = None
    maps: list[Tensor] | None = None
    oracle: list[Tensor] | None = None
    layout: TileLayout | None = None

    def to(self, device: torch.device | str) -> VisionBatch:
        """The same batch on a device."""

        def moved(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.to(device, non_blocking=True)
            return [moved(v) for v in value] if isinstance(value, list) else value

        return replace(self, **{f.name: moved(getattr(self, f.name)) for f in fields(self)})

    def __len__(self) -> int:
        return len(self.tiles)


@dataclass(frozen=True)
class FilaOutput:
    """With labels: loss (mean cross-entropy per answer token), logits [M, V] of the M answer tokens, image by image, the share of them
    predicted, and the projected tokens [B, g*g + T, D_llm], the overview's first. Without: logits [B, L, V], at each text position those
    of the next token.
    """

    logits: Tensor
    loss: Tensor | None = None
    token_accuracy: Tensor | None = None
    projected: Tensor | None = None
