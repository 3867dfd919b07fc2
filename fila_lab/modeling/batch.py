"""What the model is given and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fila_lab.config.base import FilaError
from fila_lab.config.tiling import NO_IMAGE, TileLayout

Pixels = np.ndarray | Tensor


@dataclass(frozen=True)
class VisionBatch:
    """B rows of one layout with their texts, made by `of`. Rows without an image are a layout of their own, NO_IMAGE, and hold texts alone.

    layout: where the n tiles lie on the canvas and which tokens are handed over;
    input_ids: int64 [B, L], prompt and answer, padded on the right; prompt_lengths: int64 [B], how many of them are the prompt;
    image_at: how many of them stand before the image, in every row;
    tiles: uint8 [B, n, T, T, 3], grid by grid in raster order; overview: uint8 [B, T, T, 3];
    detail: uint8 [B, Hd, Wd, 3], the ConvNeXt's input;
    maps: its four cached stage maps [B, C_s, H_s, W_s], which take precedence over `detail`;
    oracle: four one-hot truth maps of the same sizes.
    """

    layout: TileLayout
    input_ids: Tensor
    prompt_lengths: Tensor
    image_at: int = 0
    tiles: Tensor | None = None
    overview: Tensor | None = None
    detail: Tensor | None = None
    maps: list[Tensor] | None = None
    oracle: list[Tensor] | None = None

    @classmethod
    def of(
        cls,
        layout: TileLayout,
        ids: Tensor,
        prompt_lengths: Tensor,
        *,
        image_at: int = 0,
        tiles: Pixels | None = None,
        overview: Pixels | None = None,
        detail: Pixels | None = None,
        maps: Sequence[Tensor] | None = None,
        oracle: Sequence[Tensor] | None = None,
    ) -> VisionBatch:
        """The only place that puts a batch together; pixels may be arrays. Parts are as the class says.

        Raises:
            FilaError: parts that do not belong together: numbers of rows or tiles, an image's parts without an image, an image that would
                stand behind a prompt's end, or a row with neither image nor text.
        """
        batch = cls(
            layout=layout,
            input_ids=ids,
            prompt_lengths=prompt_lengths,
            image_at=image_at,
            tiles=_tensor(tiles),
            overview=_tensor(overview),
            detail=_tensor(detail),
            maps=None if maps is None else list(maps),
            oracle=None if oracle is None else list(oracle),
        )
        batch._check()
        return batch

    def _check(self) -> None:
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in parts.items():
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, Tensor) and len(part) != len(self):
                    raise FilaError(f"batch: {name} has {len(part)} rows, input_ids {len(self)}; give every part of the same rows")
        if self.layout == NO_IMAGE:
            if given := [name for name in ("tiles", "overview", "detail", "maps", "oracle") if parts[name] is not None]:
                raise FilaError(f"batch: rows without an image have {', '.join(given)}; give the layout of their image, or leave them out")
            if int(self.prompt_lengths.min()) < 1:
                raise FilaError("batch: a row has neither an image nor a prompt, so there is nothing to go on from; ask something")
        elif self.tiles is None or self.overview is None:
            raise FilaError("batch: rows with an image need tiles and overview; rows without have the layout NO_IMAGE")
        elif self.tiles.shape[1] != self.layout.tiles:
            raise FilaError(f"batch: {self.tiles.shape[1]} tiles for a layout of {self.layout.tiles}; give the tiles of that layout")
        if self.image_at and not 0 <= self.image_at <= (shortest := int(self.prompt_lengths.min())):
            raise FilaError(f"batch: image_at={self.image_at} is no place in a prompt of {shortest} tokens; an image stands in the prompt")

    @property
    def rows(self) -> int:
        """Tiles down, of the first grid; 0 without an image."""
        return self.layout.rows

    @property
    def cols(self) -> int:
        """Tiles across, of the first grid; 0 without an image."""
        return self.layout.cols

    def to(self, device: torch.device | str) -> VisionBatch:
        """The same batch on a device."""

        def moved(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.to(device, non_blocking=True)
            return [moved(v) for v in value] if isinstance(value, list) else value

        return replace(self, **{f.name: moved(getattr(self, f.name)) for f in fields(self)})

    def __len__(self) -> int:
        return len(self.input_ids)


def _tensor(pixels: Pixels | None) -> Tensor | None:
    return torch.from_numpy(pixels) if isinstance(pixels, np.ndarray) else pixels


@dataclass(frozen=True)
class FilaOutput:
    """With labels: loss (mean cross-entropy per answer token), logits [M, V] of the M answer tokens, image by image, and the projected
    tokens [B, g*g + T, D_llm], the overview's first (None without images). Without: logits [B, L, V], at each text position those of the
    next token.
    """

    logits: Tensor
    loss: Tensor | None = None
    projected: Tensor | None = None
