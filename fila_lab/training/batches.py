"""From pools and cached features to batches: one canvas shape each, in an order that only the seed decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedTokenizerBase

from fila_lab.config import RunConfig
from fila_lab.data.pool import Pool, draw_seed_items
from fila_lab.data.sampler import BucketBatches
from fila_lab.data.truth import truth_maps
from fila_lab.modeling import VisionBatch
from fila_lab.training.features import Features, needs_detail

IGNORE = -100
FOREIGN_STRIDE = 7
"""`foreign` reads the maps of the item this many items further on in the pool (same canvas, same place)."""


@dataclass
class Batch:
    """What the module consumes: the model's input, labels [B, L], and the answers as text."""

    vision: VisionBatch
    labels: Tensor
    answers: list[str]
    answer_tokens: int
    rows: list[int]


class Collator:
    """Rows of a pool to a Batch. Texts are encoded once."""

    def __init__(self, config: RunConfig, pool: Pool, features: Features | None, tokenizer: PreTrainedTokenizerBase) -> None:
        self.config, self.pool, self.features = config, pool, features
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        self.canvas = pool.meta["canvas"].to_numpy()
        self.group_row = pool.meta["row"].to_numpy()
        self.answers = pool.meta["answer"].tolist()
        self.prompts = tokenizer(pool.meta["question"].tolist(), add_special_tokens=True).input_ids
        self.targets = [[*ids, tokenizer.eos_token_id] for ids in tokenizer(self.answers, add_special_tokens=False).input_ids]
        self.answer_tokens = max(map(len, self.targets))
        self.places = 3 if pool.split == "test" else 1

    def __call__(self, rows: np.ndarray, training: bool) -> Batch:
        """rows: indices into pool.meta, all of one canvas. Training sequences carry the answers; evaluation ones end at the question."""
        name = self.canvas[rows[0]]
        group = self.pool.groups[name]
        at = self.group_row[rows]
        ids, lengths, labels = self._texts(rows, training)
        vision = VisionBatch(
            tiles=torch.from_numpy(group.tiles[at]),
            overview=torch.from_numpy(group.overview[at]),
            rows=group.geometry.rows,
            cols=group.geometry.cols,
            detail=self._detail(name, at),
            maps=self._maps(name, at),
            oracle=self._oracle(name, at),
            input_ids=ids,
            prompt_lengths=lengths,
        )
        return Batch(vision, labels, [self.answers[i] for i in rows], self.answer_tokens, rows.tolist())

    def _texts(self, rows: np.ndarray, training: bool) -> tuple[Tensor, Tensor, Tensor]:
        texts = [self.prompts[i] + (self.targets[i] if training else []) for i in rows]
        lengths = torch.tensor([len(self.prompts[i]) for i in rows])
        ids = torch.full((len(rows), max(map(len, texts))), self.pad)
        labels = torch.full_like(ids, IGNORE)
        for n, text in enumerate(texts):
            ids[n, : len(text)] = torch.tensor(text)
            labels[n, lengths[n] : len(text)] = ids[n, lengths[n] : len(text)]
        return ids, lengths, labels

    def _detail_rows(self, name: str, at: np.ndarray) -> np.ndarray:
        """Whose detail maps are read: the item's own or, under the `foreign` control, another item's."""
        if self.config.fusion.control != "foreign":
            return at
        return (at + FOREIGN_STRIDE * self.places) % len(self.pool.groups[name])

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
        return [torch.from_numpy(grid).to(torch.bfloat16) for grid in truth_maps(group.glyphs[at], group.counts[at], group.geometry)]


class Stream(IterableDataset):
    """Ready batches: endless and shuffled by the seed for training, each row once and in order for evaluation."""

    def __init__(
        self, collator: Collator, rows: np.ndarray, batch_size: int, seed: int | None, start: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.collator, self.rows, self.batch_size, self.seed = collator, rows, batch_size, seed
        self.start, self.rank, self.world = start, rank, world

    def __iter__(self) -> Iterator[Batch]:
        batches = BucketBatches(self.collator.canvas.tolist(), self.rows, self.batch_size, self.seed)
        if self.seed is None:
            yield from (self.collator(batch, training=False) for batch in batches)
            return
        for number, batch in enumerate(batches.epochs()):
            if number >= self.start:
                yield self.collator(batch[self.rank :: self.world], training=True)


class CellData(L.LightningDataModule):
    """The seed's training and validation items and the fixed test pool."""

    def __init__(self, config: RunConfig, train: Collator, val: Collator, test: Collator | None) -> None:
        super().__init__()
        self.config, self.train, self.val, self.test = config, train, val, test
        data = config.data
        self.train_rows = draw_seed_items(train.pool, config.seed, data.train_items, "train_items")
        self.val_rows = draw_seed_items(val.pool, config.seed, data.val_items, "val_items")

    def train_dataloader(self) -> DataLoader:
        """Endless; after a resume it goes on where the checkpoint stopped."""
        trainer = self.trainer
        start, rank, world = (trainer.global_step, trainer.global_rank, trainer.world_size) if trainer else (0, 0, 1)
        stream = Stream(self.train, self.train_rows, self.config.train.batch_size, self.config.seed, start, rank, world)
        return DataLoader(stream, batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return self._evaluation(self.val, self.val_rows)

    def predict_dataloader(self) -> list[DataLoader]:
        """Validation items, then the test pool."""
        loaders = [self.val_dataloader()]
        if self.test is not None:
            loaders.append(self._evaluation(self.test, np.arange(len(self.test.pool.meta))))
        return loaders

    def _evaluation(self, collator: Collator, rows: np.ndarray) -> DataLoader:
        return DataLoader(Stream(collator, rows, self.config.train.eval_batch_size, None), batch_size=None)
