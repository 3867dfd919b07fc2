"""The large presets run from pixels to visual tokens at their own size: on the meta device, which has shapes and no numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fila_lab.config import resolve_run
from fila_lab.config.counts import llm_tokens
from fila_lab.config.tiling import TileLayout
from fila_lab.modeling import VisionBatch, build_model

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random", "language.tokenizer": "characters"}
ARMS: tuple[dict[str, Any], ...] = (
    {},
    {"fusion.name": "bidirectional"},
    {"fusion.name": "mini_gemini", "fusion.depth": "after"},
    {"fusion.handoff": "append", "runtime.attention": "auto"},
)


@pytest.mark.parametrize("preset", ["base", "paper"])
@pytest.mark.parametrize("arm", ARMS, ids=str)
def test_visual_tokens_are_as_many_as_planned(preset: str, arm: dict[str, Any]) -> None:
    config = resolve_run(preset, RANDOM, arm)
    tile, side = config.geometry.tile, 32 * config.geometry.cells_a_side
    with torch.device("meta"):
        model = build_model(config)
        batch = VisionBatch.of(
            TileLayout.side_by_side(config.geometry.grid, 1, 2),
            torch.zeros(1, 5, dtype=torch.long),
            torch.tensor([3]),
            tiles=torch.zeros(1, 2, tile, tile, 3, dtype=torch.uint8),
            overview=torch.zeros(1, tile, tile, 3, dtype=torch.uint8),
            detail=torch.zeros(1, side, 2 * side, 3, dtype=torch.uint8),
        )
        assert model.see(batch).shape == (1, llm_tokens((2 * tile, tile), config), config.language.width)
