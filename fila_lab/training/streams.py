"""Batches in an order that only the seed decides, shared among ranks, made by one process or several."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.util import Finalize

import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from fila_lab.data.read_pool import ReadPool
from fila_lab.data.sampler import ORDER, BucketBatches
from fila_lab.training.batches import Batch, Collator
from fila_lab.training.texts import IGNORE

AHEAD = 2
"""Batches that each worker process makes before they are asked for."""
FEEDER = "QueueFeederThread"
"""What Python calls the thread that empties a queue's buffer into its pipe."""
HAND_OVER = 4.0
"""Seconds: the loader kills a process that has not ended five seconds after it was asked to."""


class Stream(IterableDataset):
    """Ready batches: endless and shuffled by the seed for training, each row once and in order for evaluation.

    Ranks share the rows of a training batch; of evaluation batches, whose answers must not depend on the number of ranks, each rank takes
    its own whole ones: rank, rank + world, ... A rank that would be left without gets a spare one. Of n worker processes each makes every
    n-th batch, and the loader takes them in turn: their number changes nothing.

    Where a step of training takes several forward passes (`accumulate`), they share the rows of a batch of all of them, as ranks do, and
    the stream gives lists: the batches of one step, each of which knows how many answer tokens the step has.

    Args:
        start: training batches, of whole steps, that are left out.
        order: names the random stream of the order.
    """

    def __init__(
        self,
        collator: Collator,
        rows: np.ndarray,
        batch_size: int,
        seed: int | None,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        order: str = ORDER,
    ) -> None:
        self.collator, self.rows, self.batch_size, self.seed = collator, rows, batch_size, seed
        self.start, self.rank, self.world = start, rank, world
        self.accumulate, self.order = accumulate, order

    def __iter__(self) -> Iterator[Batch | list[Batch]]:
        worker = get_worker_info()
        turn, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for number, passes in enumerate(self._planned()):
            if number % workers == turn:
                made = [self.collator(rows, training=self.seed is not None, spare=spare) for rows, spare in passes]
                yield made[0] if self.accumulate == 1 else of_one_step(made)

    def _planned(self) -> Iterator[list[tuple[np.ndarray, bool]]]:
        """(rows, spare) of each forward pass of each batch of this rank."""
        batches = BucketBatches(
            self.collator.pool.canvases.tolist(), self.rows, self.batch_size * self.accumulate, self.seed, order=self.order
        )
        if self.seed is None:
            everyones = list(batches)
            for first in range(0, len(everyones), self.world):
                number = first + self.rank
                spare = number >= len(everyones)
                yield [(everyones[first][:1] if spare else everyones[number], spare)]
            return
        shares = range(self.rank, self.world * self.accumulate, self.world)
        for number, batch in enumerate(batches.epochs()):
            if number >= self.start:
                yield [(_share(batch, share, self.world * self.accumulate), share >= len(batch)) for share in shares]


def of_one_step(batches: list[Batch]) -> list[Batch]:
    """The batches of a step, told how many answer tokens they have together."""
    tokens = sum(int((batch.labels != IGNORE).sum()) for batch in batches)
    return [replace(batch, step_tokens=tokens) for batch in batches]


class Passes:
    """The forward passes of a loader of steps, one after another."""

    def __init__(self, steps: DataLoader) -> None:
        self.steps = steps

    def __iter__(self) -> Iterator[Batch]:
        for step in self.steps:
            yield from step


def loader(stream: Stream, workers: int) -> DataLoader | Passes:
    """The stream's batches, of files made by `workers` processes ahead of time, by this one where there are none or the pool is stored."""
    made = _loader(stream, workers)
    return made if stream.accumulate == 1 else Passes(made)


def _loader(stream: Stream, workers: int) -> DataLoader:
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
        worker_init_fn=begin,
    )


def begin(worker: int) -> None:
    """A process that makes batches leaves the other cores to training, NumPy's products would take them all, and hands over what it has
    made before it ends."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    Finalize(None, hand_over, exitpriority=0)


def hand_over() -> None:
    """Wait for the thread that copies batches into shared memory, at most HAND_OVER seconds.

    The loader has closed its queue by then, and forgets the thread. But an interpreter that ends while the thread copies, which it does
    without the interpreter's lock, aborts the process: "terminate called without an active exception".
    """
    for thread in threading.enumerate():
        if thread.name == FEEDER:
            thread.join(HAND_OVER)


def reads_files(collator: Collator) -> bool:
    """Whether making a batch means reading and preparing images."""
    pools = getattr(collator.pool, "pools", [collator.pool])
    return any(isinstance(pool, ReadPool) for pool in pools)


def _share(batch: np.ndarray, rank: int, world: int) -> np.ndarray:
    """A rank's rows of a batch; where there are more ranks than rows, the ranks beyond read one again (a spare batch)."""
    return batch[rank::world] if len(batch) >= world else batch[[rank % len(batch)]]
