"""The frozen-feature cache: a frozen ConvNeXt sees every page once, for all arms and seeds.

A record is one page's four stage maps, in bfloat16, one after the other; records of one canvas lie in one memory-mapped
file. Training reads the written record whether it was there already or not, so a hit and a miss give the same bits. Chunks
have fixed borders and are computed by one thread each, so the number of workers does not change them either.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor

from fila_lab.config import ConvNextConfig, FilaError, RunConfig
from fila_lab.config.files import cache_limit, file_lock
from fila_lab.config.strategies import has_convnext
from fila_lab.data.parallel import CHUNKS_A_WORKER
from fila_lab.data.pool import Pool
from fila_lab.modeling import build_convnext
from fila_lab.modeling.convnext import ConvNextTower
from fila_lab.modeling.detail_input import stage_maps
from fila_lab.modeling.weights import weights_sha256

CHUNK = 32
_KEY = re.compile(r"[0-9a-f]{16}")
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
    return [(dim, height // stride, width // stride) for dim, stride in zip(config.dims, (4, 8, 16, 32), strict=True)]


def features_key(config: RunConfig, pool: Pool) -> str:
    """16 hex digits over everything that shapes a record."""
    parts = {
        "pool": pool.content_hash,
        "convnext": config.convnext.model_dump(mode="json", exclude={"weights", "trainable"}),
        "weights": weights_sha256(build_convnext(config)),
        "shown": [config.fusion.detail_resolution, config.fusion.detail_context],
        "precision": config.runtime.precision,
        "dtype": "bfloat16",
        "chunk": CHUNK,
        "threads": 1,
        "versions": [torch.__version__, timm.__version__],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def cached_features(config: RunConfig, pool: Pool, cache_dir: Path, workers: int = 1, progress: Progress | None = None) -> Features:
    """The pool's features: from the cache, or computed into it first.

    Raises:
        FilaError: the cache folder cannot be written.
    """
    root = cache_dir / "features"
    key = features_key(config, pool)
    folder = root / key
    shapes = {name: stage_shapes(config.convnext, group.detail.shape[1:3]) for name, group in pool.groups.items()}
    if not (folder / "complete.json").exists():
        try:
            root.mkdir(parents=True, exist_ok=True)
            with file_lock(root / f"{key}.lock"):
                if not (folder / "complete.json").exists():
                    _evict(root, sum(len(pool.groups[n].detail) * sum(c * h * w for c, h, w in s) * 2 for n, s in shapes.items()))
                    _compute(config, pool, folder, shapes, workers, progress)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise FilaError(
                f"cache_dir={cache_dir}: cannot write features ({error.strerror or error}); free space or set FILA_LAB_CACHE"
            ) from error
    os.utime(folder)
    return Features({name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in shapes}, shapes)


def _evict(root: Path, needed: int) -> None:
    """Keep the cache under its limit, dropping what was used longest ago; open maps stay readable."""
    limit = cache_limit()
    ours = (f for f in root.iterdir() if _KEY.fullmatch(f.name) and f.is_dir() and not f.is_symlink())  # the folder may be a user's
    folders = sorted(ours, key=lambda f: f.stat().st_mtime)
    sizes = {f: sum(part.stat().st_size for part in f.iterdir()) for f in folders}
    total = sum(sizes.values()) + needed
    for folder in folders:
        if total <= limit:
            return
        shutil.rmtree(folder, ignore_errors=True)
        total -= sizes[folder]


def _compute(config: RunConfig, pool: Pool, folder: Path, shapes: dict, workers: int, progress: Progress | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    chunks = []
    for name, group in pool.groups.items():
        length = sum(c * h * w for c, h, w in shapes[name])
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.int16, shape=(len(group.detail), length)).flush()
        chunks += [(name, start) for start in range(0, len(group.detail), CHUNK)]
    workers = max(1, min(workers, len(chunks) // CHUNKS_A_WORKER))
    work = [(config, pool.folder, folder, chunks[i::workers]) for i in range(workers)]
    started = time.perf_counter()
    if workers == 1:
        for done in _compute_chunks(*work[0]):
            if progress:
                progress("features", done, len(chunks))
    else:
        context = multiprocessing.get_context("spawn")
        with context.Pool(workers) as processes:
            jobs = [processes.apply_async(_drain, job) for job in work]
            for number, job in enumerate(jobs):
                job.get()
                if progress:
                    progress("features", (number + 1) * len(chunks) // workers, len(chunks))
    seconds = time.perf_counter() - started
    (folder / "complete.json").write_text(
        json.dumps({"shapes": shapes, "seconds": round(seconds, 2), "weights": config.convnext.weights}), encoding="utf-8"
    )


def _drain(config: RunConfig, pool_folder: Path, folder: Path, chunks: list[tuple[str, int]]) -> None:
    for _ in _compute_chunks(config, pool_folder, folder, chunks):
        pass


def _compute_chunks(config: RunConfig, pool_folder: Path, folder: Path, chunks: list[tuple[str, int]]) -> Iterator[int]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = Pool(pool_folder, config.geometry, 32 * config.data.page_scale)
    tower = build_convnext(config)
    tower.eval().to(memory_format=torch.channels_last)
    records = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name, _ in chunks}
    for done, (name, start) in enumerate(chunks, 1):
        group = pool.groups[name]
        pixels = torch.from_numpy(np.array(group.detail[start : start + CHUNK]))
        with torch.autocast("cpu", torch.bfloat16, enabled=config.runtime.precision == "bf16"):
            maps = frozen_maps(tower, pixels, config, group.geometry.rows, group.geometry.cols)
        flat = torch.cat([m.contiguous().flatten(1) for m in maps], dim=1)
        records[name][start : start + CHUNK] = flat.view(torch.int16).numpy()
        yield done
    for record in records.values():
        record.flush()
    torch.set_num_threads(threads)
