"""Tiny models and batches for the modeling tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fila_lab.config.fusion import FusionConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.language import LanguageConfig
from fila_lab.config.run import RunConfig
from fila_lab.config.runtime import RuntimeConfig
from fila_lab.config.seam_words import ORACLE_CHANNELS
from fila_lab.config.tiling import TileLayout
from fila_lab.config.towers import ConvNextConfig, VitConfig
from fila_lab.modeling import VisionBatch
from fila_lab.modeling.model import IGNORED

DIMS = (8, 12, 16, 20)
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_config() -> Callable[..., RunConfig]:
    """A run with g = 3 and four fusion points after layers 1, 2, 3, 5; keywords are fusion fields, `k` the stage-4 cells per tile side."""

    def make(name: str = "concat", *, k: int = 3, seed: int = 0, language: dict[str, Any] | None = None, **fusion: Any) -> RunConfig:
        return RunConfig(
            preset="test",
            seed=seed,
            geometry=GeometryConfig(tile=42, patch=14, canvases=((84, 84),), detail_cells=k),
            vit=VitConfig(width=32, layers=6, heads=4, feature_layer=-1),
            convnext=ConvNextConfig(depths=(1, 1, 1, 1), dims=DIMS),
            fusion=FusionConfig(name=name, **fusion),
            language=LanguageConfig(width=32, layers=2, heads=4, intermediate=64, **(language or {})),
            runtime=RuntimeConfig(precision="fp32"),
        )

    return make


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., tuple[VisionBatch, torch.Tensor]]:
    """(batch, labels): random pixels, cached maps and truth maps, prompts of different lengths."""

    def make(images: int = 3, rows: int = 1, cols: int = 2, k: int = 3, length: int = 7) -> tuple[VisionBatch, torch.Tensor]:
        draw = torch.Generator().manual_seed(0)
        sizes = [(rows * k * n, cols * k * n) for n in (8, 4, 2, 1)]
        lengths = 3 + torch.arange(images) % 3
        ids = torch.randint(3, 98, (images, length), generator=draw)
        batch = VisionBatch.of(
            TileLayout.side_by_side(3, rows, cols),
            ids,
            lengths,
            tiles=torch.randint(0, 256, (images, rows * cols, 42, 42, 3), dtype=torch.uint8, generator=draw),
            overview=torch.randint(0, 256, (images, 42, 42, 3), dtype=torch.uint8, generator=draw),
            maps=[torch.randn(images, c, *size, generator=draw) for c, size in zip(DIMS, sizes, strict=True)],
            oracle=[torch.randint(0, 2, (images, ORACLE_CHANNELS, *size), generator=draw).float() for size in sizes],
        )
        labels = ids.masked_fill(torch.arange(length) < lengths[:, None], IGNORED)
        return batch, labels

    return make
