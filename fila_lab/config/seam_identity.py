"""What the items of the seam suite follow from, without drawing any."""

from __future__ import annotations

from fila_lab.config.base import ConfigError
from fila_lab.config.data import DataConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.hashing import config_hash

SCHEMA = 1
"""Version of the generator's items: one that draws others from the same settings needs another."""


def seam_items(data: DataConfig, split: str) -> int:
    """How many headings a split of the suite has. ConfigError for an unknown split."""
    sizes = {"train": data.train_pool, "val": data.val_pool, "test": data.test_triplets}
    if split not in sizes:
        raise ConfigError(f"split={split!r} does not exist; choose {', '.join(sizes)}")
    return sizes[split]


def seam_identity(data: DataConfig, geometry: GeometryConfig, split: str) -> str:
    """Of the generator's settings, the plain canvases and the number of items; how towers see them (`vit_scale`, `tiling`) stays out."""
    canvases = geometry.model_dump(mode="json", include={"tile", "patch", "canvases", "canvas_rule"})
    return config_hash({"schema": SCHEMA, "seam": data.seam, "geometry": canvases, "split": split, "items": seam_items(data, split)})
