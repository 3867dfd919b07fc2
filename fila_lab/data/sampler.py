"""Batches of one canvas each, in an order that depends on the seed alone: every arm of a seed sees the same data in the same order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fila_lab.config.base import FilaError
from fila_lab.data.streams import stream

ORDER = "data_order"
"""The random stream of the order of rows and batches."""


class BucketBatches:
    """Batches of rows that share a canvas: no padding tiles, no masks.

    `canvases` names the canvas of every row of the pool, `indices` are the rows to go through. Iterating gives one epoch (the first),
    `epochs()` one after another without end, each in its own order; every row comes exactly once an epoch, and a bucket's last, smaller
    batch is kept. With `seed` None rows and batches keep the order of `indices`, bucket by bucket (evaluation). `order` names the seed's
    stream.
    """

    def __init__(
        self, canvases: Sequence[str], indices: Sequence[int] | np.ndarray, batch_size: int, seed: int | None, order: str = ORDER
    ) -> None:
        self.indices = np.asarray(indices, np.int64)
        if not len(self.indices):
            raise FilaError("indices: no item is selected, so there is no batch; raise data.train_items or the pool's size")
        self.names = np.asarray(canvases, dtype=object)[self.indices]
        self.batch_size, self.seed, self.order = batch_size, seed, order

    def __len__(self) -> int:
        """Batches in an epoch."""
        _, counts = np.unique(self.names.astype(str), return_counts=True)
        return int(sum(-(-count // self.batch_size) for count in counts))

    def epoch(self, number: int) -> list[np.ndarray]:
        """The batches of one epoch, arrays of pool rows."""
        order = np.arange(len(self.indices))
        generator = None if self.seed is None else stream(self.seed, self.order, number)
        if generator is not None:
            order = generator.permutation(order)
        batches = []
        for name in sorted(set(self.names)):
            rows = self.indices[order[self.names[order] == name]]
            batches += [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]
        return batches if generator is None else [batches[i] for i in generator.permutation(len(batches))]

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.epoch(0))

    def epochs(self) -> Iterator[np.ndarray]:
        """Batches without end, epoch after epoch."""
        number = 0
        while True:
            yield from self.epoch(number)
            number += 1
