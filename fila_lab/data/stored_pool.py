"""A pool of items that were drawn once: memory-mapped arrays by canvas, a table of what is asked, and a content hash.

It lives in `<cache_dir>/pools/<key>/`; the key hashes everything its bytes depend on. It is a sealed folder (`fila_lab.data.sealed`):
built under a temporary name, renamed when complete, and looked at before it is believed. Seeds draw their items from the pool, they never
make new ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fila_lab.config.base import FilaError
from fila_lab.config.faults import cannot_write
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.hashing import config_hash
from fila_lab.data.parallel import Progress
from fila_lab.data.pool import Bucket, Pixels, Pool
from fila_lab.data.pool_build import fill, held_arrays, plan_rows
from fila_lab.data.sealed import Files, digests, look, opened, seal
from fila_lab.data.suite import Oracle, Suite, TaskRule, Turn

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 3
MARK = "pool.json"


@dataclass(frozen=True)
class Group:
    """The items of one bucket, as read-only memory maps: N items of n tiles. Pickles as its place: another process opens its own."""

    folder: Path
    bucket: Bucket

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "bucket": self.bucket}

    def _open(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{self.bucket.name}_{name}.npy", mmap_mode="r")

    @cached_property
    def tiles(self) -> np.ndarray:
        """uint8 [N, n, T, T, 3]"""
        return self._open("tiles")

    @cached_property
    def overview(self) -> np.ndarray:
        """uint8 [N, T, T, 3]"""
        return self._open("overview")

    @cached_property
    def detail(self) -> np.ndarray:
        """uint8 [N, Hd, Wd, 3]; only where the geometry `has_detail`"""
        return self._open("detail")

    @cached_property
    def glyphs(self) -> np.ndarray:
        """float32 [N, G, R], padded records of what stands where; only where the suite knows"""
        return self._open("glyphs")

    @cached_property
    def counts(self) -> np.ndarray:
        """int32 [N], valid records of each item"""
        return self._open("counts")

    def __len__(self) -> int:
        return len(self.tiles)


class StoredPool(Pool):
    """An opened pool whose files have the sizes that were written; `stored_pool` looks at their contents too.

    `meta` has all columns of `describe`, and length and distractors and what else the suite knows.
    """

    def __init__(
        self, folder: Path, buckets: Mapping[str, Bucket], arrays: tuple[str, ...], rules: Mapping[str, TaskRule], oracle: Oracle | None
    ) -> None:
        self.folder = folder
        card = look(folder, MARK, contents=False)
        self.key: str = card["key"]
        self.split = card["split"]
        self.content_hash = card["content_hash"]
        self.buckets = {name: buckets[name] for name in card["groups"]}
        self.rules, self.oracle = rules, oracle
        self._arrays = arrays
        self.groups = {name: Group(folder, bucket) for name, bucket in self.buckets.items()}

    @cached_property
    def meta(self) -> pd.DataFrame:  # type: ignore[override]
        import pandas as pd

        return pd.read_parquet(self.folder / "meta.parquet")

    def hold(self) -> StoredPool:
        """Open every map and the table now: what is open stays readable when the folder is replaced or removed. Returns itself."""
        for group in self.groups.values():
            for name in self._arrays:
                getattr(group, name)
        _ = self.meta
        return self

    def locate(self, rows: np.ndarray) -> tuple[Group, np.ndarray]:
        """The group of some rows of one bucket, and their places in it."""
        return self.groups[self.bucket(rows).name], self.places[np.asarray(rows)]

    def pixels(self, rows: np.ndarray, detail: bool) -> Pixels:
        group, at = self.locate(rows)
        return Pixels(np.asarray(rows), group.tiles[at], group.overview[at], group.detail[at] if detail else None)

    def turns(self, rows: np.ndarray) -> list[tuple[Turn, ...]]:
        asked = self.meta.iloc[rows]
        return [(Turn(question, (answer,)),) for question, answer in zip(asked["question"], asked["answer"], strict=True)]

    def describe(self, rows: np.ndarray) -> pd.DataFrame:
        return self.meta.iloc[rows].drop(columns=["index", "row"])

    def truth(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.oracle is None:
            return super().truth(rows)
        group, at = self.locate(rows)
        return group.glyphs[at], group.counts[at]


def stored_pool(
    suite: Suite, split: str, geometry: GeometryConfig, cache_dir: Path, workers: int = 1, progress: Progress | None = None
) -> StoredPool:
    """The pool of a suite's split, drawn with `workers` processes if it is not there.

    Safe to call from several processes at once: one draws, the others wait. One that is damaged is drawn anew, with a warning.

    Raises:
        MachineError: the folder cannot be written, the disk is full.
        FilaError: there is nothing to draw.
    """
    if suite.length(split) < 1:
        raise FilaError(f"the {split} pool has {suite.length(split)} items, so there is nothing to draw; choose a positive number")
    key, plan = pool_key(suite, split, geometry), plan_rows(suite, split, geometry)
    arrays = held_arrays(geometry, suite.oracle)

    def read(folder: Path) -> StoredPool:
        look(folder, MARK, contents=True)
        return StoredPool(folder, plan.buckets, arrays, suite.tasks(), suite.oracle).hold()

    def make(folder: Path) -> None:
        fill(folder, suite, split, geometry, plan, workers, progress)
        files = digests(folder)
        card = {"schema": SCHEMA, "key": key, "split": split, "groups": sorted(plan.sizes), "content_hash": _content_hash(folder, files)}
        seal(folder, MARK, card, files)

    try:
        return opened(Path(cache_dir) / "pools" / key, f"the {split} pool", read, make, make_room=lambda: None)
    except OSError as error:
        raise cannot_write(error, f"cache_dir={cache_dir}: the {split} pool", "choose another cache folder") from error


def pool_key(suite: Suite, split: str, geometry: GeometryConfig) -> str:
    """16 hex digits over all that the bytes of a pool depend on."""
    state: dict[str, Any] = {"schema": SCHEMA, "split": split, "items": suite.identity(split), "code": list(suite.code())}
    return config_hash(state | {"geometry": geometry.model_dump(mode="json")})


def _content_hash(folder: Path, files: Files) -> str:
    """Over the arrays and what is asked; the parquet file's bytes depend on its library."""
    digest = hashlib.sha256()
    for name, (_, sha256) in files.items():
        if name.endswith(".npy"):
            digest.update(name.encode() + bytes.fromhex(sha256))
    digest.update((folder / "meta.jsonl").read_bytes())
    return digest.hexdigest()


__all__ = ["Group", "StoredPool", "pool_key", "stored_pool"]
