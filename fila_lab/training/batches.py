"""From pools and cached features to batches: one canvas shape each, in an order that only the seed decides."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedTokenizerBase

from fila_lab.config import FilaError, RunConfig
from fila_lab.data.pool import Pool, draw_seed_items
from fila_lab.data.sampler import BucketBatches
from fila_lab.data.seam.truth import token_truth, truth_maps
from fila_lab.modeling import VisionBatch
from fila_lab.modeling.language import closing_token, text_ids
from fila_lab.training.features import Features, needs_detail

IGNORE = -100
FOREIGN_STRIDE = 7
"""`foreign` reads the maps of the item this many items further on in the pool (same canvas, same place); see `foreign_rows`."""


@dataclass
class Batch:
    """What the module consumes: the model's input, labels [B, L], the answers as text, and, where train.truth_weight asks for it, what the
    tokens show (`token_truth`). A spare batch is there so that a rank without rows of its own takes the step too: it counts for nothing."""

    vision: VisionBatch
    labels: Tensor
    answers: list[str]
    answer_tokens: int
    rows: list[int]
    truth: Tensor | None = None
    spare: bool = False


class Collator:
    """Rows of a pool to a Batch. Texts are encoded and padded once.

    Raises:
        FilaError: the control `foreign` with a canvas that has a single item; train.truth_weight where tokens are not the canvas's own.
    """

    def __init__(self, config: RunConfig, pool: Pool, features: Features | None, tokenizer: PreTrainedTokenizerBase) -> None:
        self.config, self.pool, self.features = config, pool, features
        self.canvas = pool.meta["canvas"].to_numpy()
        self.group_row = pool.meta["row"].to_numpy()
        self.answers = pool.meta["answer"].tolist()
        end = closing_token(tokenizer)
        targets = [[*ids, end] for ids in text_ids(tokenizer, self.answers)]
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
        self.texts = Texts(text_ids(tokenizer, pool.meta["question"].tolist()), targets, pad)
        self.answer_tokens = max(map(len, targets))
        self.seconds = 0.0
        """Time spent in making batches so far."""
        if config.train.truth_weight:
            check_plain(pool)
        self.foreign: dict[str, np.ndarray] = {}
        if config.fusion.control == "foreign":
            places = 3 if pool.split == "test" else 1
            for name, group in pool.groups.items():
                self.foreign[name] = foreign_rows(len(group), places, f"{name} of the {pool.split} pool")

    def __call__(self, rows: np.ndarray, training: bool, spare: bool = False) -> Batch:
        """rows: indices into pool.meta, all of one canvas. Training sequences carry the answers; evaluation ones end at the question."""
        started = time.perf_counter()
        name = self.canvas[rows[0]]
        group = self.pool.groups[name]
        at = self.group_row[rows]
        ids, lengths, labels = self.texts(rows, training)
        vision = VisionBatch(
            tiles=torch.from_numpy(group.tiles[at]),
            overview=torch.from_numpy(group.overview[at]),
            rows=group.geometry.rows,
            cols=group.geometry.cols,
            detail=self._detail(name, at),
            maps=self._maps(name, at),
            oracle=self._oracle(name, at),
            layout=group.geometry.layout,
            input_ids=ids,
            prompt_lengths=lengths,
        )
        truth = self._truth(name, at) if training else None
        batch = Batch(vision, labels, [self.answers[i] for i in rows], self.answer_tokens, rows.tolist(), truth)
        if spare:
            uncounted = torch.full_like(labels, IGNORE)
            batch = Batch(vision, uncounted, [], self.answer_tokens, [], None if truth is None else truth[:0], spare=True)
        self.seconds += time.perf_counter() - started
        return batch

    def _detail_rows(self, name: str, at: np.ndarray) -> np.ndarray:
        """Whose detail maps are read: the item's own or, under the `foreign` control, another item's."""
        return self.foreign[name][at] if self.foreign else at

    def _maps(self, name: str, at: np.ndarray) -> list[Tensor] | None:
        return self.features.maps(name, self._detail_rows(name, at)) if self.features is not None else None

    def _detail(self, name: str, at: np.ndarray) -> Tensor | None:
        if self.features is not None or not needs_detail(self.config):
            return None
        return torch.from_numpy(self.pool.groups[name].detail[self._detail_rows(name, at)])

    def _oracle(self, name: str, at: np.ndarray) -> list[Tensor] | None:
        if self.config.fusion.control != "oracle_map":
            return None
        group = self.pool.groups[name]
        return [
            torch.from_numpy(grid).to(torch.bfloat16)
            for grid in truth_maps(group.glyphs[at], group.counts[at], group.geometry, group.canvas)
        ]

    def _truth(self, name: str, at: np.ndarray) -> Tensor | None:
        if not self.config.train.truth_weight:
            return None
        group = self.pool.groups[name]
        geometry = group.geometry
        return torch.from_numpy(token_truth(group.glyphs[at], group.counts[at], geometry.canvas, geometry.tile, geometry.patch))


def check_plain(pool: Pool) -> None:
    """FilaError where visual tokens are not a canvas's own, side by side: what they show is not known then."""
    for group in pool.groups.values():
        if not group.geometry.layout.plain or group.geometry.resized != group.canvas:
            raise FilaError("train.truth_weight needs tiles side by side that fill the canvas; set geometry.tiling back, or truth_weight=0")


class Texts:
    """Prompts and answers of a pool as padded arrays, so that a batch of texts is a slice."""

    def __init__(self, prompts: list[list[int]], targets: list[list[int]], pad: int) -> None:
        whole = [[*prompt, *target] for prompt, target in zip(prompts, targets, strict=True)]
        self.pad = pad
        self.prompt_lengths = torch.tensor([len(prompt) for prompt in prompts])
        self.lengths = torch.tensor([len(text) for text in whole])
        self.ids = torch.full((len(whole), max(map(len, whole))), pad)
        for n, text in enumerate(whole):
            self.ids[n, : len(text)] = torch.tensor(text)

    def __call__(self, rows: np.ndarray, answered: bool) -> tuple[Tensor, Tensor, Tensor]:
        """(ids [B, L], lengths of the prompts [B], labels [B, L]) of some rows; without answers every label is IGNORE."""
        at = torch.from_numpy(rows)
        prompts = self.prompt_lengths[at]
        lengths = self.lengths[at] if answered else prompts
        width = int(lengths.max())
        place = torch.arange(width)
        ids = self.ids[at, :width].masked_fill(place >= lengths[:, None], self.pad)
        return ids, prompts, ids.masked_fill((place < prompts[:, None]) | (place >= lengths[:, None]), IGNORE)


def foreign_rows(size: int, places: int, where: str) -> np.ndarray:
    """For each of a canvas group's rows, the row of another item at the same place; an item fills `places` rows.

    The item FOREIGN_STRIDE further on, or the next one where that would be the item itself.
    """
    items = size // places
    if items < 2:
        raise FilaError(
            f"fusion.control='foreign': canvas {where} has {items} item, and no other whose map could be read; "
            "enlarge data.train_pool, data.val_pool or data.test_triplets"
        )
    stride = FOREIGN_STRIDE if FOREIGN_STRIDE % items else 1
    return (np.arange(size) + stride * places) % size


class Stream(IterableDataset):
    """Ready batches: endless and shuffled by the seed for training, each row once and in order for evaluation.

    Ranks share the rows of a training batch; of evaluation batches, whose answers must not depend on the number of ranks, each rank takes
    its own whole ones: rank, rank + world, ... A rank that would be left without gets a spare one.
    """

    def __init__(
        self, collator: Collator, rows: np.ndarray, batch_size: int, seed: int | None, start: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.collator, self.rows, self.batch_size, self.seed = collator, rows, batch_size, seed
        self.start, self.rank, self.world = start, rank, world

    def __iter__(self) -> Iterator[Batch]:
        batches = BucketBatches(self.collator.canvas.tolist(), self.rows, self.batch_size, self.seed)
        if self.seed is None:
            everyones = list(batches)
            for first in range(0, len(everyones), self.world):
                number = first + self.rank
                spare = number >= len(everyones)
                yield self.collator(everyones[first][:1] if spare else everyones[number], training=False, spare=spare)
            return
        for number, batch in enumerate(batches.epochs()):
            if number >= self.start:
                yield self.collator(_share(batch, self.rank, self.world), training=True, spare=self.rank >= len(batch))


def _share(batch: np.ndarray, rank: int, world: int) -> np.ndarray:
    """A rank's rows of a batch; where there are more ranks than rows, the ranks beyond read one again (a spare batch)."""
    return batch[rank::world] if len(batch) >= world else batch[[rank % len(batch)]]


class CellData(L.LightningDataModule):
    """The seed's training and validation items and the fixed test pool."""

    def __init__(self, config: RunConfig, train: Collator, val: Collator, test: Collator | None) -> None:
        super().__init__()
        self.config, self.train, self.val, self.test = config, train, val, test
        data = config.data
        drawn = draw_seed_items(train.pool, config.seed, data.train_items, "train_items")
        # A specialist sees of the same draw what a generalist sees of its tasks.
        own = np.isin(train.pool.meta["task"].to_numpy()[drawn], data.train_tasks) if data.train_tasks else slice(None)
        self.train_rows = drawn[own]
        self.val_rows = draw_seed_items(val.pool, config.seed, data.val_items, "val_items")

    def train_dataloader(self) -> DataLoader:
        """Endless; after a resume it goes on where the checkpoint stopped."""
        trainer = self.trainer
        start = trainer.global_step if trainer else 0
        stream = Stream(self.train, self.train_rows, self.config.train.batch_size, self.config.seed, start, *self._place())
        return DataLoader(stream, batch_size=None)

    def _place(self) -> tuple[int, int]:
        """This process's rank, and the number of ranks."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def val_dataloader(self) -> DataLoader:
        return self._evaluation(self.val, self.val_rows)

    def predict_dataloader(self) -> list[DataLoader]:
        """Validation items, then the test pool."""
        loaders = [self.val_dataloader()]
        if self.test is not None:
            loaders.append(self._evaluation(self.test, np.arange(len(self.test.pool.meta))))
        return loaders

    def _evaluation(self, collator: Collator, rows: np.ndarray) -> DataLoader:
        return DataLoader(Stream(collator, rows, self.config.train.eval_batch_size, None, 0, *self._place()), batch_size=None)
