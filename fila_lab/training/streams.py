"""Batches in an order that only the seed decides, shared among ranks, made by one process or several."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from fila_lab.data.read_pool import ReadPool
from fila_lab.data.sampler import BucketBatches
from fila_lab.training.batches import Batch, Collator

AHEAD = 2
"""Batches that each worker process makes before they are asked for."""


class Stream(IterableDataset):
    """Ready batches: endless and shuffled by the seed for training, each row once and in order for evaluation.

    Ranks share the rows of a training batch; of evaluation batches, whose answers must not depend on the number of ranks, each rank takes
    its own whole ones: rank, rank + world, ... A rank that would be left without gets a spare one. Of n worker processes each makes every
    n-th batch, and the loader takes them in turn: their number changes nothing.
    """

    def __init__(
        self, collator: Collator, rows: np.ndarray, batch_size: int, seed: int | None, start: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.collator, self.rows, self.batch_size, self.seed = collator, rows, batch_size, seed
        self.start, self.rank, self.world = start, rank, world

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        turn, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for number, (rows, training, spare) in enumerate(self._planned()):
            if number % workers == turn:
                yield self.collator(rows, training=training, spare=spare)

    def _planned(self) -> Iterator[tuple[np.ndarray, bool, bool]]:
        """(rows, training, spare) of each batch of this rank."""
        batches = BucketBatches(self.collator.pool.canvases.tolist(), self.rows, self.batch_size, self.seed)
        if self.seed is None:
            everyones = list(batches)
            for first in range(0, len(everyones), self.world):
                number = first + self.rank
                spare = number >= len(everyones)
                yield (everyones[first][:1] if spare else everyones[number]), False, spare
            return
        for number, batch in enumerate(batches.epochs()):
            if number >= self.start:
                yield _share(batch, self.rank, self.world), True, self.rank >= len(batch)


def loader(stream: Stream, workers: int) -> DataLoader:
    """The stream's batches, of files made by `workers` processes ahead of time, by this one where there are none or the pool is stored."""
    processes = workers if reads_files(stream.collator) else 0
    if not processes:
        return DataLoader(stream, batch_size=None)
    return DataLoader(
        stream,
        batch_size=None,
        num_workers=processes,
        prefetch_factor=AHEAD,
        persistent_workers=True,
        multiprocessing_context="spawn",
        worker_init_fn=one_thread,
    )


def one_thread(worker: int) -> None:
    """A process that makes batches leaves the other cores to training: NumPy's products would take them all."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def reads_files(collator: Collator) -> bool:
    """Whether making a batch means reading and preparing images."""
    pools = getattr(collator.pool, "pools", [collator.pool])
    return any(isinstance(pool, ReadPool) for pool in pools)


def _share(batch: np.ndarray, rank: int, world: int) -> np.ndarray:
    """A rank's rows of a batch; where there are more ranks than rows, the ranks beyond read one again (a spare batch)."""
    return batch[rank::world] if len(batch) >= world else batch[[rank % len(batch)]]
