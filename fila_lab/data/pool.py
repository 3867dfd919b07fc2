"""A split's rows, and how batches read them: what training, evaluation and costs know of data.

Two kinds stand behind the contract. A *StoredPool* holds items that were drawn once, as memory maps; a *ReadPool* reads files when a batch
asks for them. `fila_lab.data.opening` chooses by the suite.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fila_lab.config.base import FilaError
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.tiling import chosen_canvas, tile_layout
from fila_lab.data.streams import stream
from fila_lab.data.suite import Oracle, SetAside, TaskRule, Turn
from fila_lab.imaging import Geometry

if TYPE_CHECKING:
    import pandas as pd

TEXT = "text"
"""Bucket of the rows without an image."""
FOREIGN_STRIDE = 7
"""`foreign` reads the maps of the image this many further on in its bucket, or the next one where that is the image itself."""


@dataclass(frozen=True)
class Bucket:
    """What the rows of one batch share. `geometry`: of one of its images (canvas, tiles, layout and detail size are those of all), None
    where there is no image; `canvas`: the canvas the images are made for, which the tiling can have chosen otherwise."""

    name: str
    geometry: Geometry | None
    canvas: tuple[int, int]


@dataclass(frozen=True)
class Pixels:
    """B rows of one bucket, in the order asked for, less those that cannot be read.

    rows: int64 [B]; tiles: uint8 [B, n, T, T, 3]; overview: uint8 [B, T, T, 3]; detail: uint8 [B, Hd, Wd, 3], where it was asked for; all
    None without images.
    """

    rows: np.ndarray
    tiles: np.ndarray | None
    overview: np.ndarray | None
    detail: np.ndarray | None
    aside: tuple[SetAside, ...] = ()


class Pool(ABC):
    """Rows of one split.

    `meta` has a row an item: index (of its heading), task, canvas (its bucket) and row (its place there), and further columns where they
    are at hand; `describe` gives the rest.
    """

    split: str
    content_hash: str
    """Of all that its rows are."""
    meta: pd.DataFrame
    buckets: Mapping[str, Bucket]
    rules: Mapping[str, TaskRule]
    oracle: Oracle | None = None
    aside: Sequence[SetAside] = ()
    """Rows that were found unusable when it was opened."""

    @abstractmethod
    def pixels(self, rows: np.ndarray, detail: bool) -> Pixels:
        """The pixels of rows of one bucket."""

    @abstractmethod
    def turns(self, rows: np.ndarray) -> list[tuple[Turn, ...]]:
        """What is asked of each row, and its accepted answers."""

    @abstractmethod
    def describe(self, rows: np.ndarray) -> pd.DataFrame:
        """item_id, task, place, question, answer, image_id and what else is known of each row; with `answers` (a list) where more than
        one is accepted."""

    def truth(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(records float32 [B, G, R], padded, and how many are valid [B]) of rows of one bucket.

        Raises:
            FilaError: the suite does not know what stands where.
        """
        raise FilaError(
            f"the {self.split} items come without glyphs, so fusion.control='oracle_map' and train.truth_weight have no truth to tell; "
            "only suites that draw their items know it"
        )

    def __len__(self) -> int:
        return len(self.meta)

    @cached_property
    def canvases(self) -> np.ndarray:
        """The bucket of each row."""
        return self.meta["canvas"].to_numpy(dtype=object)

    @cached_property
    def tasks(self) -> np.ndarray:
        """The task of each row."""
        return self.meta["task"].to_numpy(dtype=object)

    @cached_property
    def places(self) -> np.ndarray:
        """Where each row stands in its bucket."""
        return self.meta["row"].to_numpy()

    def bucket(self, rows: np.ndarray | Sequence[int]) -> Bucket:
        """The bucket that some rows share. ValueError where they do not share one."""
        names = set(self.canvases[np.asarray(rows)])
        if len(names) != 1:
            raise ValueError(f"items of one canvas are needed, got {sorted(names)}")
        return self.buckets[names.pop()]

    def drawn(self, seed: int, n: int, name: str) -> np.ndarray:
        """`n` rows by the stream (seed, name)."""
        return stream(seed, name).permutation(len(self))[:n]

    def images(self) -> np.ndarray:
        """A number a row, equal where rows share an image or the page of a triplet."""
        return self.meta["index"].to_numpy()

    @cached_property
    def foreign(self) -> np.ndarray:
        """For each row another row of its bucket, with another image and at the same place of its heading: whose maps `foreign` reads.

        Raises:
            FilaError: a bucket has a single image.
        """
        image, index = self.images(), self.meta["index"].to_numpy()
        other = np.arange(len(self))
        for name in self.buckets:
            own = np.flatnonzero(self.canvases == name)
            if name == TEXT or not len(own):
                continue
            own = own[np.argsort(self.meta["row"].to_numpy()[own], kind="stable")]
            heading = np.r_[0, np.cumsum(np.diff(index[own]) != 0)]
            first = np.flatnonzero(np.r_[True, np.diff(heading) != 0])
            other[own] = own[_another(heading, first, image[own], f"canvas {name} of the {self.split} pool")]
        return other


def _another(heading: np.ndarray, first: np.ndarray, image: np.ndarray, where: str) -> np.ndarray:
    """For each place in a bucket the place FOREIGN_STRIDE headings on, or the nearest further one that shows another image."""
    count, place = len(first), np.arange(len(heading))
    if len(set(image)) < 2:
        raise FilaError(
            f"fusion.control='foreign': {where} has 1 image, and no other whose map could be read; "
            "enlarge data.train_pool, data.val_pool or data.test_triplets, or give more files"
        )
    size = np.diff(np.r_[first, len(heading)])
    within = place - first[heading]
    chosen = np.full(len(heading), -1)
    left = place
    strides = (FOREIGN_STRIDE if FOREIGN_STRIDE % count else 1, *range(1, count))
    for stride in strides:
        target = (heading[left] + stride) % count
        there = first[target] + np.minimum(within[left], size[target] - 1)
        fits = image[there] != image[left]
        chosen[left[fits]] = there[fits]
        left = left[~fits]
        if not len(left):
            return chosen
    raise AssertionError("two images, and none differs")


def bucket_of(size: tuple[int, int] | None, config: GeometryConfig, name: str = "") -> Bucket:
    """The bucket of an image of (width, height) px, under the suite's own `name` where it has one.

    ConfigError where the geometry does not fit the image.
    """
    if size is None:
        return Bucket(TEXT, None, (0, 0))
    geometry = Geometry.of(*size, config)
    canvas = chosen_canvas(config.reference, size)
    if not name:
        name = canvas_name(canvas)
        if config.tiling.own_canvases:
            name += f" on {canvas_name(geometry.canvas)}"
        if geometry.layout != tile_layout(config, geometry.canvas):
            kept = [(*grid.kept_x, *grid.kept_y) for grid in geometry.layout.grids]
            name += f" [{'; '.join(f'{left}:{right}, {top}:{bottom}' for left, right, top, bottom in kept)}]"
    return Bucket(name, geometry, canvas)


def canvas_name(canvas: tuple[int, int]) -> str:
    """`84x42` for a canvas of width 84 and height 42."""
    return f"{canvas[0]}x{canvas[1]}"


def draw_seed_items(pool: Pool, seed: int, n: int | None, name: str) -> np.ndarray:
    """The `n` rows of a pool (None: all) that a seed draws, in random order, without repetition; depends on (seed, name) and the pool's
    size."""
    wanted = len(pool) if n is None else n
    if not 0 < wanted <= len(pool):
        field = {"train": "data.train_items", "val": "data.val_items"}.get(pool.split, "items")
        raise FilaError(f"{field}={n}, but the {pool.split} pool has {len(pool)} items; choose 1 to {len(pool)}, or enlarge the pool")
    return pool.drawn(seed, wanted, name)


__all__ = ["TEXT", "Bucket", "Pixels", "Pool", "bucket_of", "canvas_name", "draw_seed_items"]
