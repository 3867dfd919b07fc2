"""Drawing a pool's items into preallocated arrays, in one or several processes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from fila_lab.config.base import FilaError
from fila_lab.config.data import PLACES, DataConfig, SeamConfig
from fila_lab.config.run import GeometryConfig
from fila_lab.data.parallel import Progress, in_chunks
from fila_lab.data.seam.suite import SeamItem, SeamSuite
from fila_lab.data.seam.tasks import get_task
from fila_lab.data.seam.truth import RECORD, glyph_records
from fila_lab.imaging import Geometry, prepare

ARRAYS: tuple[str, ...] = ("tiles", "overview", "detail", "glyphs", "counts")
COLUMNS: tuple[str, ...] = (
    "item_id", "index", "split", "task", "place", "question", "answer", "image_id", "cut_fraction", "axis", "addressing", "length",
    "distractors", "evidence", "canvas", "row",
)  # fmt: skip
CHUNK = 64
"""Items a worker draws between two reports."""

Drawing = tuple[int, str, int]  # index, canvas name, row of its (first) item


def page_geometry(canvas: tuple[int, int], geometry: GeometryConfig, patch_px: int) -> Geometry:
    """The geometry of the suite's pages on a canvas."""
    width, height = (side // geometry.patch * patch_px for side in canvas)
    return Geometry.of(width, height, geometry)


def fill(folder: Path, data: DataConfig, geometry: GeometryConfig, split: str, workers: int, progress: Progress | None) -> list[str]:
    """Writes the arrays and the table of a split into `folder`; returns the canvas names."""
    import pandas as pd

    suite = SeamSuite(data.seam, geometry)
    total = {"train": data.train_pool, "val": data.val_pool, "test": data.test_triplets}[split]
    if total <= 0:
        raise FilaError(f"the {split} pool has {total} items, so there is nothing to draw; choose a positive number")
    per_index = len(PLACES) if split == "test" else 1
    drawings, sizes = _drawings(suite, split, total, per_index)
    _allocate(folder, suite, sizes)
    chunks = [drawings[i : i + CHUNK] for i in range(0, len(drawings), CHUNK)]
    lines: list[dict[str, Any]] = []
    what = f"drawing {split} items"
    if progress:
        progress(what, 0, total)
    for done, rows in enumerate(in_chunks(_Painter, (folder, data.seam, geometry, split), chunks, workers, f"{split} items"), 1):
        lines += rows
        if progress:
            progress(what, min(total, done * CHUNK), total)
    order = {place: i for i, place in enumerate(PLACES)}
    lines.sort(key=lambda line: (line["index"], order[line["place"]]))
    with (folder / "meta.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    pd.DataFrame(lines, columns=list(COLUMNS)).to_parquet(folder / "meta.parquet", index=False)
    return sorted(sizes)


def _drawings(suite: SeamSuite, split: str, total: int, per_index: int) -> tuple[list[Drawing], dict[str, int]]:
    """What to draw and where its rows are: an item's canvas is known before it is drawn."""
    sizes: dict[str, int] = {}
    drawings = []
    for index in range(total):
        width, height = suite.heading(split, index)[1]
        name = f"{width}x{height}"
        drawings.append((index, name, sizes.get(name, 0)))
        sizes[name] = sizes.get(name, 0) + per_index
    return drawings, sizes


def held_arrays(geometry: GeometryConfig) -> tuple[str, ...]:
    """The arrays a pool of this geometry holds."""
    return tuple(array for array in ARRAYS if array != "detail" or geometry.has_detail)


def _allocate(folder: Path, suite: SeamSuite, sizes: dict[str, int]) -> None:
    """Creates the arrays with their disk space: on a full disk a memory map would kill the process instead of raising OSError."""
    glyphs = (suite.seam.codes_per_page + suite.seam.clutter) * max(get_task(name).most_marks for name, _ in suite.tasks) + 1
    for name, size in sizes.items():
        width, height = (int(side) for side in name.split("x"))
        geometry = page_geometry((width, height), suite.geometry, suite.patch)
        tile, (detail_width, detail_height) = geometry.tile, geometry.detail_size
        shapes: dict[str, tuple[tuple[int, ...], str]] = {
            "tiles": ((size, geometry.tiles, tile, tile, 3), "|u1"),
            "overview": ((size, tile, tile, 3), "|u1"),
            "detail": ((size, detail_height, detail_width, 3), "|u1"),
            "glyphs": ((size, glyphs, RECORD), "<f4"),
            "counts": ((size,), "<i4"),
        }
        for array in held_arrays(suite.geometry):
            shape, dtype = shapes[array]
            path = folder / f"{name}_{array}.npy"
            np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape).flush()
            reserve(path)


def reserve(path: Path) -> None:
    """Take a file's disk space, where the system can. OSError where the disk is full."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


class _Painter:
    """Draws items into the arrays of a folder."""

    def __init__(self, folder: Path, seam: SeamConfig, geometry: GeometryConfig, split: str) -> None:
        self.folder, self.suite, self.split = folder, SeamSuite(seam, geometry), split
        self.open: dict[str, dict[str, np.ndarray]] = {}

    def __call__(self, chunk: list[Drawing]) -> list[dict[str, Any]]:
        lines = []
        for index, name, first in chunk:
            items = self.suite.triplet(self.split, index) if self.split == "test" else (self.suite.item(self.split, index),)
            for row, item in enumerate(items, first):
                self._write(name, row, item)
                lines.append(item_line(item, index) | {"canvas": name, "row": row})
        return lines

    def _write(self, name: str, row: int, item: SeamItem) -> None:
        arrays = self.open.setdefault(name, {})
        if not arrays:
            arrays |= {array: np.load(self.folder / f"{name}_{array}.npy", mmap_mode="r+") for array in held_arrays(self.suite.geometry)}
        prepared = prepare(item.image, self.suite.geometry, detail="detail" in arrays)
        records = glyph_records(item)
        arrays["tiles"][row], arrays["overview"][row] = prepared.tiles, prepared.overview
        if prepared.detail is not None:
            arrays["detail"][row] = prepared.detail
        arrays["glyphs"][row, : len(records)] = records
        arrays["counts"][row] = len(records)


def item_line(item: SeamItem, index: int) -> dict[str, Any]:
    """What a table says of an item."""
    values = {name: getattr(item, name) for name in COLUMNS if hasattr(item, name)}
    return values | {"index": index, "distractors": len(item.shown)}
