"""The frozen-feature cache: a frozen ConvNeXt sees every page once, for all arms and seeds.

A record is one page's four stage maps, in bfloat16, one after the other; records of one canvas lie in one memory-mapped
file. Training reads the written record whether it was there already or not, so a hit and a miss give the same bits. Chunks
have fixed borders and are computed by one thread each, so the number of workers does not change them either.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor

from fila_lab.config import ConvNextConfig, RunConfig
from fila_lab.config.counts import FEATURE_CHUNK, STRIDES
from fila_lab.config.faults import cannot_write
from fila_lab.config.strategies import has_convnext
from fila_lab.config.tower_cards import CLIP
from fila_lab.data.parallel import in_chunks
from fila_lab.data.pool import Bucket
from fila_lab.data.pool_build import reserve
from fila_lab.data.sealed import digests, look, opened, seal
from fila_lab.data.stored_pool import Group, StoredPool
from fila_lab.modeling import build_convnext
from fila_lab.modeling.convnext import ConvNextTower
from fila_lab.modeling.detail_input import stage_maps
from fila_lab.modeling.fingerprints import tower_sha256
from fila_lab.modeling.pixels import tower_statistics
from fila_lab.modeling.precision import autocast
from fila_lab.training.cache_room import FEATURES, evict

SCHEMA = 2
MARK = "complete.json"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Features:
    """Stage maps of a pool's pages: by canvas, records [N, sum of C*h*w] as int16 (bfloat16's bits), and the shapes (C, h, w) in them."""

    records: dict[str, np.ndarray]
    shapes: dict[str, list[tuple[int, int, int]]]

    def maps(self, canvas: str, rows: np.ndarray) -> list[Tensor]:
        """Four tensors [B, C, h, w] in bfloat16 for rows of a canvas group."""
        shapes = self.shapes[canvas]
        flat = torch.from_numpy(self.records[canvas][rows]).view(torch.bfloat16)
        parts = flat.split([c * h * w for c, h, w in shapes], dim=1)
        return [part.reshape(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True)]


def needs_detail(config: RunConfig) -> bool:
    """Whether this run looks at what the ConvNeXt sees, in a fusion or to hand it on."""
    return has_convnext(config)


def cacheable(config: RunConfig) -> bool:
    """Whether this run reads cached ConvNeXt features: those of a frozen tower that a fusion looks at, unless the run wants none."""
    return needs_detail(config) and not config.convnext.trainable and config.runtime.feature_cache


def frozen_maps(tower: ConvNextTower, pixels: Tensor, config: RunConfig, rows: int, cols: int) -> list[Tensor]:
    """uint8 [B, H, W, 3] of rows x cols tiles -> the four stage maps [B, C, h, w] of a frozen tower, in the cache's bfloat16."""
    with torch.no_grad():
        return [m.to(torch.bfloat16) for m in stage_maps(tower, pixels, config, rows, cols)]


def stage_shapes(config: ConvNextConfig, detail_hw: tuple[int, int]) -> list[tuple[int, int, int]]:
    """(C, h, w) of the four stages for a detail input of (H, W) pixels."""
    height, width = detail_hw
    return [(dim, height // stride, width // stride) for dim, stride in zip(config.dims, STRIDES, strict=True)]


def features_key(config: RunConfig, pool: StoredPool) -> str:
    """16 hex digits over everything that shapes a record."""
    parts = {
        "schema": SCHEMA,
        "pool": pool.content_hash,
        "convnext": config.convnext.model_dump(mode="json", exclude={"weights", "trainable"}),
        "weights": tower_sha256(config, "convnext"),
        "shown": [config.fusion.detail_resolution, config.fusion.detail_context],
        "precision": config.runtime.precision,
        "dtype": "bfloat16",
        "chunk": FEATURE_CHUNK,
        "threads": 1,
        "versions": [torch.__version__, timm.__version__],
    }
    if (statistics := tower_statistics(config.convnext)) != CLIP:
        parts["pixels"] = statistics
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def cached_features(config: RunConfig, pool: StoredPool, cache_dir: Path, workers: int = 1, progress: Progress | None = None) -> Features:
    """The pool's features: from the cache, or computed into it first; what is damaged there is computed anew, with a warning.

    Raises:
        MachineError: the cache folder cannot be written.
    """
    shapes = {name: stage_shapes(config.convnext, group.detail.shape[1:3]) for name, group in pool.groups.items()}
    wanted = {name: (len(pool.groups[name].detail), sum(c * h * w for c, h, w in each)) for name, each in shapes.items()}

    def read(folder: Path) -> Features:
        look(folder, MARK, contents=True)
        records = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in wanted}
        if {name: record.shape for name, record in records.items()} != wanted:
            raise ValueError("records of another shape")
        os.utime(folder)
        return Features(records, shapes)

    def make(folder: Path) -> None:
        seconds = _compute(config, pool, folder, wanted, workers, progress)
        card = {"shapes": shapes, "seconds": round(seconds, 2), "weights": config.convnext.weights}
        seal(folder, MARK, card, digests(folder))

    def make_room() -> None:
        evict(cache_dir, sum(2 * rows * length for rows, length in wanted.values()))

    try:
        return opened(cache_dir / FEATURES / features_key(config, pool), f"features of the {pool.split} pool", read, make, make_room)
    except OSError as error:
        raise cannot_write(error, f"cache_dir={cache_dir}: features", "set FILA_LAB_CACHE to another folder") from error


def _compute(
    config: RunConfig, pool: StoredPool, folder: Path, wanted: dict[str, tuple[int, int]], workers: int, progress: Progress | None
) -> float:
    """Fill the records [N, length] of every canvas; returns the seconds. Their disk space is taken first: on a full disk a memory map
    would kill the process instead of raising OSError."""
    chunks: list[tuple[str, int]] = []
    for name, shape in wanted.items():
        path = folder / f"{name}.npy"
        np.lib.format.open_memmap(path, mode="w+", dtype=np.int16, shape=shape).flush()
        reserve(path)
        chunks += [(name, start) for start in range(0, shape[0], FEATURE_CHUNK)]
    started, threads = time.perf_counter(), torch.get_num_threads()
    try:
        for done, _ in enumerate(in_chunks(_Tower, (config, pool.folder, pool.buckets, folder), chunks, workers, "features"), 1):
            if progress:
                progress("features", done, len(chunks))
    finally:
        torch.set_num_threads(threads)
    return time.perf_counter() - started


class _Tower:
    """Computes the records of a chunk, with one thread."""

    def __init__(self, config: RunConfig, pool_folder: Path, buckets: Mapping[str, Bucket], folder: Path) -> None:
        torch.set_num_threads(1)
        self.config, self.folder = config, folder
        self.groups = {name: Group(pool_folder, bucket) for name, bucket in buckets.items()}
        self.tower = build_convnext(config).eval().to(memory_format=torch.channels_last)
        self.records: dict[str, np.ndarray] = {}

    def __call__(self, chunk: tuple[str, int]) -> None:
        name, start = chunk
        if name not in self.records:
            self.records[name] = np.load(self.folder / f"{name}.npy", mmap_mode="r+")
        group = self.groups[name]
        geometry = group.bucket.geometry
        assert geometry is not None  # stored items have images
        pixels = torch.from_numpy(np.array(group.detail[start : start + FEATURE_CHUNK]))
        with autocast(self.config.runtime.precision):
            maps = frozen_maps(self.tower, pixels, self.config, geometry.rows, geometry.cols)
        flat = torch.cat([m.contiguous().flatten(1) for m in maps], dim=1)
        self.records[name][start : start + FEATURE_CHUNK] = flat.view(torch.int16).numpy()
