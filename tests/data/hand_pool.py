"""A pool made by hand: small random arrays in place of pages, so that what a batch holds can be told from where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from fila_lab.config.geometry import GeometryConfig
from fila_lab.data import Pixels, Pool, TaskRule, Turn
from fila_lab.data.pool import bucket_of

GEOMETRY = GeometryConfig(tile=42, patch=14, canvases=((84, 42), (42, 84), (84, 84)), detail_cells=3)
SIZES = {(84, 42): (192, 96), (42, 84): (96, 192), (84, 84): (192, 192)}


class HandPool(Pool):
    """Headings on these canvases, each with `places` rows. The tile of row r is filled with r, its detail input with 100 + r."""

    def __init__(self, canvases: Sequence[tuple[int, int]], places: int = 1, split: str = "test") -> None:
        self.split, self.content_hash = split, "by hand"
        self.rules = {"reading": TaskRule(), "counting": TaskRule("exact", "?")}
        self.buckets = {bucket.name: bucket for canvas in canvases for bucket in [bucket_of(SIZES[canvas], GEOMETRY)]}
        names = [f"{width}x{height}" for width, height in canvases for _ in range(places)]
        taken: dict[str, int] = {}
        at = []
        for name in names:
            at.append(taken.get(name, 0))
            taken[name] = at[-1] + 1
        index = np.repeat(np.arange(len(canvases)), places)
        tasks = ["reading" if i % 3 else "counting" for i in index]
        self.meta = pd.DataFrame({"index": index, "task": tasks, "canvas": names, "row": at})
        self.oracle = SimpleNamespace(maps=lambda records, counts, geometry, made_for: [records[:, None]], tokens=lambda *told: told[0])

    def pixels(self, rows: np.ndarray, detail: bool) -> Pixels:
        geometry = self.bucket(rows).geometry
        assert geometry is not None
        width, height = geometry.detail_size

        def filled(*shape: int, plus: int = 0) -> np.ndarray:
            return np.stack([np.full(shape, row + plus, np.uint8) for row in rows])

        tiles, overview = filled(geometry.tiles, 42, 42, 3), filled(42, 42, 3, plus=50)
        return Pixels(np.asarray(rows), tiles, overview, filled(height, width, 3, plus=100) if detail else None)

    def turns(self, rows: np.ndarray) -> list[tuple[Turn, ...]]:
        return [(Turn(f"Q{row}", (f"A{row}", "other")),) for row in rows]

    def describe(self, rows: np.ndarray) -> pd.DataFrame:
        return self.meta.iloc[rows].assign(item_id=[f"item-{row}" for row in rows])

    def truth(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(rows, np.float32)[:, None], np.ones(len(rows), np.int32)


def features() -> Any:
    """Stage maps that say which bucket and which places in it were asked for."""
    return SimpleNamespace(maps=lambda name, places: [(name, places.tolist())])
