"""Drawing a pool's items into preallocated arrays, in one or several processes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fila_lab.config.base import FilaError
from fila_lab.config.geometry import GeometryConfig
from fila_lab.data.parallel import Progress, in_chunks
from fila_lab.data.pool import Bucket, bucket_of
from fila_lab.data.suite import Item, Oracle, Suite
from fila_lab.imaging import prepare

CHUNK = 64
"""Headings a worker draws between two reports."""

Drawing = tuple[int, str, int]
"""Index of a heading, its bucket's name, row of its (first) item there."""


@dataclass(frozen=True)
class Plan:
    """Where every item goes, known before it is drawn."""

    drawings: list[Drawing]
    sizes: dict[str, int]
    """Bucket -> items."""
    buckets: dict[str, Bucket]


def plan_rows(suite: Suite, split: str, geometry: GeometryConfig) -> Plan:
    """What to draw and where its rows are.

    FilaError for a text-only heading, which has nothing to draw.
    """
    plan = Plan([], {}, {})
    known: dict[tuple[object, str], Bucket] = {}
    for index in range(suite.length(split)):
        heading = suite.heading(split, index)
        if heading.size is None:
            raise FilaError(f"suite {suite.name!r}: item {index} of {split} has no image, and a stored suite draws every item")
        which = (heading.size, heading.bucket)
        bucket = known.get(which) or known.setdefault(which, bucket_of(heading.size, geometry, heading.bucket))
        plan.buckets.setdefault(bucket.name, bucket)
        row = plan.sizes.get(bucket.name, 0)
        plan.drawings.append((index, bucket.name, row))
        plan.sizes[bucket.name] = row + heading.rows
    return plan


def held_arrays(geometry: GeometryConfig, oracle: Oracle | None) -> tuple[str, ...]:
    """The arrays a pool of this geometry holds."""
    return ("tiles", "overview", *(("detail",) if geometry.has_detail else ()), *(("glyphs", "counts") if oracle else ()))


def fill(folder: Path, suite: Suite, split: str, geometry: GeometryConfig, plan: Plan, workers: int, progress: Progress | None) -> None:
    """Writes the arrays and the table of a split into `folder`."""
    import pandas as pd

    painter = (folder, suite, split, geometry)
    _allocate(*painter, plan)
    chunks = [plan.drawings[i : i + CHUNK] for i in range(0, len(plan.drawings), CHUNK)]
    lines: list[dict[str, Any]] = []
    what, total = f"drawing {split} items", len(plan.drawings)
    if progress:
        progress(what, 0, total)
    for done, rows in enumerate(in_chunks(_Painter, painter, chunks, workers, f"{split} items"), 1):
        lines += rows
        if progress:
            progress(what, min(total, done * CHUNK), total)
    lines.sort(key=lambda line: line["index"])  # stable: the items of a heading keep their order
    with (folder / "meta.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    pd.DataFrame(lines).to_parquet(folder / "meta.parquet", index=False)


def _allocate(folder: Path, suite: Suite, split: str, geometry: GeometryConfig, plan: Plan) -> None:
    """Creates the arrays with their disk space: on a full disk a memory map would kill the process instead of raising OSError."""
    records = 0 if suite.oracle is None else suite.oracle.records((), 1.0).shape[1]
    for name, size in plan.sizes.items():
        placed = plan.buckets[name].geometry
        assert placed is not None  # `plan_rows` refuses the text bucket
        tile, (detail_width, detail_height) = placed.tile, placed.detail_size
        shapes: dict[str, tuple[tuple[int, ...], str]] = {
            "tiles": ((size, placed.tiles, tile, tile, 3), "|u1"),
            "overview": ((size, tile, tile, 3), "|u1"),
            "detail": ((size, detail_height, detail_width, 3), "|u1"),
            "glyphs": ((size, suite.oracle.most if suite.oracle else 0, records), "<f4"),
            "counts": ((size,), "<i4"),
        }
        for array in held_arrays(geometry, suite.oracle):
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

    def __init__(self, folder: Path, suite: Suite, split: str, geometry: GeometryConfig) -> None:
        self.folder, self.suite, self.split, self.geometry = folder, suite, split, geometry
        self.open: dict[str, dict[str, np.ndarray]] = {}

    def __call__(self, chunk: list[Drawing]) -> list[dict[str, Any]]:
        lines = []
        for index, name, first in chunk:
            for row, item in enumerate(self.suite.items(self.split, index), first):
                self._write(name, row, item)
                lines.append(described(item, index) | {"canvas": name, "row": row})
        return lines

    def _write(self, name: str, row: int, item: Item) -> None:
        arrays = self.open.setdefault(name, {})
        if not arrays:
            names = held_arrays(self.geometry, self.suite.oracle)
            arrays |= {array: np.load(self.folder / f"{name}_{array}.npy", mmap_mode="r+") for array in names}
        image = item.pixels()
        assert image is not None  # its heading has a size
        prepared = prepare(image, self.geometry, detail="detail" in arrays)
        arrays["tiles"][row], arrays["overview"][row] = prepared.tiles, prepared.overview
        if prepared.detail is not None:
            arrays["detail"][row] = prepared.detail
        if self.suite.oracle is not None:
            canvas = bucket_of(image.size, self.geometry).canvas
            records = self.suite.oracle.records(item.glyphs or (), canvas[0] / image.width)
            arrays["glyphs"][row, : len(records)] = records
            arrays["counts"][row] = len(records)


def described(item: Item, index: int) -> dict[str, Any]:
    """What a table says of an item of one turn."""
    (turn,) = item.turns
    core = {"item_id": item.item_id, "index": index, "task": item.task, "place": item.place}
    return core | {"question": turn.question, "answer": turn.answers[0], "image_id": item.image_id, **item.known}


__all__ = ["Plan", "described", "fill", "held_arrays", "plan_rows", "reserve"]
