"""Several pools as one: the rows of each in turn, buckets shared where they are alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fila_lab.config.base import FilaError
from fila_lab.config.hashing import config_hash
from fila_lab.data.pool import Bucket, Pixels, Pool
from fila_lab.data.streams import stream
from fila_lab.data.suite import Turn

if TYPE_CHECKING:
    import pandas as pd


class MixedPool(Pool):
    """Rows of several pools of one split and geometry. `parts`: the pools and their shares of what a seed draws.

    FilaError where two pools have a task of the same name that is asked or judged in different ways.
    """

    def __init__(self, parts: Sequence[tuple[Pool, float]]) -> None:
        import pandas as pd

        self.pools = [pool for pool, _ in parts]
        self.shares = np.array([share for _, share in parts], float)
        self.split = self.pools[0].split
        self.content_hash = config_hash({"parts": [[pool.content_hash, share] for pool, share in parts]})
        self.starts = np.cumsum([0, *(len(pool) for pool in self.pools)])
        self.rules = {}
        self.buckets: dict[str, Bucket] = {}
        self.aside = [row for pool in self.pools for row in pool.aside]
        frames, headings, taken = [], 0, dict.fromkeys((name for pool in self.pools for name in pool.buckets), 0)
        for pool in self.pools:
            for name, rule in pool.rules.items():
                if self.rules.setdefault(name, rule) != rule:
                    raise FilaError(f"data.train: two suites have a task {name!r} with different prompts or scores; give one another name")
            self.buckets |= {name: bucket for name, bucket in pool.buckets.items() if name not in self.buckets}
            frame = pool.meta[["index", "task", "canvas", "row"]].copy()
            own = frame["canvas"].astype(str)
            frame["index"] += headings
            frame["row"] += own.map(taken).to_numpy()
            for bucket, count in own.value_counts().items():
                taken[str(bucket)] += int(count)
            headings = int(frame["index"].max()) + 1
            frames.append(frame.astype({"task": str, "canvas": str}))
        self.meta = pd.concat(frames, ignore_index=True).astype({"task": "category", "canvas": "category"})

    def _by_pool(self, rows: np.ndarray) -> list[tuple[Pool, np.ndarray, np.ndarray]]:
        """(pool, its own rows, their places among `rows`)."""
        rows = np.asarray(rows)
        whose = np.searchsorted(self.starts, rows, side="right") - 1
        at = [(number, np.flatnonzero(whose == number)) for number in np.unique(whose)]
        return [(self.pools[number], rows[places] - self.starts[number], places) for number, places in at]

    def pixels(self, rows: np.ndarray, detail: bool) -> Pixels:
        parts = [(pool.pixels(own, detail), self.starts[self.pools.index(pool)]) for pool, own, _ in self._by_pool(rows)]
        kept = np.concatenate([part.rows + start for part, start in parts])
        order = np.argsort([int(np.flatnonzero(np.asarray(rows) == row)[0]) for row in kept], kind="stable")
        tiles, overview, seen = (_joined([getattr(part, name) for part, _ in parts], order) for name in ("tiles", "overview", "detail"))
        return Pixels(kept[order], tiles, overview, seen, tuple(row for part, _ in parts for row in part.aside))

    def turns(self, rows: np.ndarray) -> list[tuple[Turn, ...]]:
        found: dict[int, tuple[Turn, ...]] = {}
        for pool, own, places in self._by_pool(rows):
            found |= dict(zip(places.tolist(), pool.turns(own), strict=True))
        return [found[place] for place in range(len(rows))]

    def describe(self, rows: np.ndarray) -> pd.DataFrame:
        import pandas as pd

        frames = [pool.describe(own).set_axis(places, axis=0) for pool, own, places in self._by_pool(rows)]
        return pd.concat(frames).sort_index().set_axis(np.asarray(rows), axis=0)

    def images(self) -> np.ndarray:
        found, most = [], 0
        for pool in self.pools:
            own = pool.images() + most
            most = int(own.max()) + 1
            found.append(own)
        return np.concatenate(found)

    def drawn(self, seed: int, n: int, name: str) -> np.ndarray:
        """The `n` rows that a seed draws: of each pool its share, without repetition, in random order.

        FilaError where a pool has fewer rows than its share.
        """
        wanted = np.floor(np.cumsum(self.shares / self.shares.sum()) * n + 0.5).astype(int)
        counts = np.diff(np.r_[0, wanted])
        chosen = []
        for number, (pool, count) in enumerate(zip(self.pools, counts, strict=True)):
            if count > len(pool):
                raise FilaError(
                    f"data.train_items={n}: suite {number} of data.train is to give {count} of them and has {len(pool)} rows; "
                    "lower train_items, or its share"
                )
            chosen.append(self.starts[number] + stream(seed, name, number).permutation(len(pool))[:count])
        rows = np.concatenate(chosen)
        return rows[stream(seed, name, "mixed").permutation(len(rows))]


def _joined(parts: Sequence[np.ndarray | None], order: np.ndarray) -> np.ndarray | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there)[order] if there else None


__all__ = ["MixedPool"]
