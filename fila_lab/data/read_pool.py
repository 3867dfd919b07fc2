"""A pool of files: rows are read and prepared when a batch asks for them, in whichever process does, and only the batch is ever held."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fila_lab.config.base import FilaError
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.hashing import config_hash
from fila_lab.data.parallel import Progress
from fila_lab.data.pool import Bucket, Pixels, Pool, bucket_of
from fila_lab.data.suite import Item, SetAside, Suite, Turn, UnusableRow
from fila_lab.imaging import Prepared, prepare

if TYPE_CHECKING:
    import pandas as pd

REPORTED = 4096
"""Headings between two reports of progress."""


class ReadPool(Pool):
    """The rows of a suite's split, by their headings; `limit`: only so many headings, the first.

    Items that share an `image_id` within a batch are read once. A row whose image cannot be read is set aside: it is missing from the
    batch, and the batch says why; where its header shows it already, it is set aside at once.

    Raises:
        FilaError: the split has no usable row.
    """

    def __init__(
        self, suite: Suite, split: str, geometry: GeometryConfig, limit: int | None = None, progress: Progress | None = None
    ) -> None:
        import pandas as pd

        self.suite, self.split, self.geometry = suite, split, geometry
        self.content_hash = suite.identity(split) if limit is None else config_hash({"items": suite.identity(split), "limit": limit})
        self.rules, self.oracle = suite.tasks(), None
        aside = list(suite.set_aside(split))
        total = suite.length(split) if limit is None else min(limit, suite.length(split))
        self.buckets = {}
        known: dict[tuple[object, str], int] = {}
        names: list[str] = []
        tasks: dict[str, int] = {}
        columns = np.zeros((total, 3), np.int32)  # bucket, task, items
        for index in range(total):
            if progress and (index % REPORTED == 0 or index == total - 1):
                progress(f"listing {split} rows", index + 1, total)
            try:
                heading = suite.heading(split, index)
            except UnusableRow as error:
                aside.append(error.aside)
                continue
            which = (heading.size, heading.bucket)
            if which not in known:
                bucket = bucket_of(heading.size, geometry, heading.bucket)
                if bucket.name not in self.buckets:
                    self.buckets[bucket.name] = bucket
                    names.append(bucket.name)
                known[which] = names.index(bucket.name)
            columns[index] = known[which], tasks.setdefault(heading.task, len(tasks)), heading.rows
        if not columns[:, 2].any():
            raise FilaError(f"{suite.name}: {split} has no usable row{_first_of(aside)}")
        self.aside = tuple(aside)
        headings = np.repeat(np.arange(total, dtype=np.int32), columns[:, 2])
        self._within = np.arange(len(headings), dtype=np.int32) - np.searchsorted(headings, headings).astype(np.int32)
        which_bucket, which_task = (columns[headings, column].tolist() for column in (0, 1))
        self.meta = pd.DataFrame(
            {
                "index": headings,
                "task": pd.Categorical.from_codes(which_task, pd.Index(list(tasks))),
                "canvas": pd.Categorical.from_codes(which_bucket, pd.Index(names)),
                "row": _places(columns[headings, 0]),
            }
        )

    def _item(self, row: int) -> Item:
        return self.suite.items(self.split, int(self._index[row]))[self._within[row]]

    @cached_property
    def _index(self) -> np.ndarray:
        return self.meta["index"].to_numpy()

    def pixels(self, rows: np.ndarray, detail: bool) -> Pixels:
        bucket = self.bucket(rows)
        if bucket.geometry is None:
            return Pixels(np.asarray(rows), None, None, None)
        prepared: dict[str, Prepared | SetAside] = {}
        kept, aside = [], []
        for row in rows:
            item = self._item(row)
            if item.image_id not in prepared:
                prepared[item.image_id] = self._prepared(item, bucket, detail)
            seen = prepared[item.image_id]
            if isinstance(seen, SetAside):
                aside.append(SetAside(item.item_id, seen.reason, seen.message))
            else:
                kept.append((row, seen))
        if not kept:
            return Pixels(np.zeros(0, np.int64), None, None, None, tuple(aside))
        return Pixels(
            np.array([row for row, _ in kept]),
            np.stack([seen.tiles for _, seen in kept]),
            np.stack([seen.overview for _, seen in kept]),
            np.stack([seen.detail for _, seen in kept if seen.detail is not None]) if detail else None,
            tuple(aside),
        )

    def _prepared(self, item: Item, bucket: Bucket, detail: bool) -> Prepared | SetAside:
        try:
            image = item.pixels()
        except UnusableRow as error:
            return error.aside
        assert image is not None
        assert bucket.geometry is not None
        prepared = prepare(image, self.geometry, detail)
        if prepared.geometry.layout != bucket.geometry.layout or prepared.geometry.canvas != bucket.geometry.canvas:
            message = f"{item.item_id}: the image is {image.width}x{image.height} px, another size than when it was listed; list it anew"
            return SetAside(item.item_id, "changed image", message)
        return prepared

    def turns(self, rows: np.ndarray) -> list[tuple[Turn, ...]]:
        return [self._item(row).turns for row in rows]

    def describe(self, rows: np.ndarray) -> pd.DataFrame:
        import pandas as pd

        canvases = self.canvases
        lines = [described(self._item(row)) | {"canvas": canvases[row]} for row in rows]
        return pd.DataFrame(lines, index=np.asarray(rows))

    def images(self) -> np.ndarray:
        """Numbers in the order of first use; items are listed for it."""
        known: dict[str, int] = {}
        return np.array([known.setdefault(self._item(row).image_id, len(known)) for row in range(len(self))])


def described(item: Item) -> dict[str, object]:
    """What a frame says of an item: the last turn is the one that is scored."""
    turn = item.turns[-1]
    line = {"item_id": item.item_id, "task": item.task, "place": item.place, "question": turn.question, "image_id": item.image_id}
    first = turn.answers[0] if turn.answers else ""
    return line | {"answer": first, "answers": list(turn.answers), **item.known}


def _places(bucket: np.ndarray) -> np.ndarray:
    """For each row its place among those of its bucket."""
    place = np.empty(len(bucket), np.int32)
    for name in np.unique(bucket):
        own = np.flatnonzero(bucket == name)
        place[own] = np.arange(len(own))
    return place


def _first_of(aside: Sequence[SetAside]) -> str:
    if not aside:
        return "; give a file with rows"
    return f": {len(aside)} were set aside, the first because {aside[0].message}"


__all__ = ["ReadPool", "described"]
