"""The data of a cell: the seed's training and validation rows, and what it is tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from fila_lab.config import FilaError, LanguageConfig, RunConfig
from fila_lab.config.stage_runs import naming, stages_of
from fila_lab.data.opening import open_pools
from fila_lab.data.parallel import Progress
from fila_lab.data.pool import Pool, draw_seed_items
from fila_lab.data.read_pool import ReadPool
from fila_lab.data.sampler import ORDER, BucketBatches
from fila_lab.data.stored_pool import StoredPool
from fila_lab.evaluation import check_judged
from fila_lab.training.batches import Collator
from fila_lab.training.features import Features, cacheable, cached_features
from fila_lab.training.streams import Passes, Stream, loader

TRAIN, VAL = "train", "val"


def open_data(
    config: RunConfig, cache_dir: Path, splits: Sequence[str], workers: int = 1, progress: Progress | None = None
) -> dict[str, Pool]:
    """The pools of a run: `train` and `val` by these names, those of `test` by the names of `data.evaluate`.

    Raises:
        FilaError: a suite cannot be opened, or too many of its rows cannot be used.
        MachineError: the cache cannot be written.
    """
    pools: dict[str, Pool] = {}
    for split in splits:
        pools |= open_pools(config.data, config.geometry, cache_dir, split, workers, progress)
    return pools


def open_stages(
    config: RunConfig, cache_dir: Path, splits: Sequence[str], workers: int = 1, progress: Progress | None = None
) -> list[dict[str, Pool]]:
    """The pools of each training stage: what it trains on as `train`, opened once for all stages alike, and the run's `val`; of the last
    stage, after which they are asked, the tests too.

    splits: of the run, `train` among them.

    Raises:
        FilaError, MachineError: as `open_data`; of a stage's own suites, naming the stage.
    """
    opened: list[tuple[Any, Pool]] = []
    trained: list[Pool] = []
    for stage in stages_of(config):
        suites = stage.run.data.train
        known = next((pool for other, pool in opened if other == suites), None)
        if known is None:
            with naming(stage):
                known = open_data(stage.run, cache_dir, (TRAIN,), workers, progress)[TRAIN]
            opened.append((suites, known))
        trained.append(known)
    others = open_data(config, cache_dir, [split for split in splits if split != TRAIN], workers, progress)
    validated = {name: pool for name, pool in others.items() if name == VAL}
    return [*({TRAIN: pool} | validated for pool in trained[:-1]), {TRAIN: trained[-1]} | others]


def seen_features(
    config: RunConfig, pools: Mapping[str, Pool], cache_dir: Path, workers: int = 1, progress: Progress | None = None
) -> dict[str, Features | None]:
    """The frozen tower's features of each stored pool; of files, and where the run reads none, None."""
    return {
        name: cached_features(config, pool, cache_dir, workers, progress) if cacheable(config) and isinstance(pool, StoredPool) else None
        for name, pool in pools.items()
    }


def stage_features(
    config: RunConfig, pools: Sequence[Mapping[str, Pool]], cache_dir: Path, workers: int = 1, progress: Progress | None = None
) -> list[dict[str, Features | None]]:
    """`seen_features` of the pools of each training stage."""
    return [seen_features(stage.run, own, cache_dir, workers, progress) for stage, own in zip(stages_of(config), pools, strict=True)]


def check_judged_pools(pools: Mapping[str, Pool]) -> None:
    """FilaError where the rows of files, training's apart, cannot be judged as their tasks say."""
    for name, pool in pools.items():
        if name != TRAIN and isinstance(pool, ReadPool):
            try:
                check_judged(pool.describe(np.arange(len(pool))), pool.rules)
            except FilaError as error:
                field = "data.validate" if name == VAL else f"data.evaluate.{name}"
                raise FilaError(f"{field}: {error}") from error


def look_at_data(config: RunConfig, cache_dir: Path, splits: Sequence[str], progress: Progress | None = None) -> None:
    """Open what all ranks of a cell will, before they start: rows that cannot be used are told at once, and caches are filled.

    Raises:
        FilaError, MachineError: as `open_stages`; rows that cannot be judged.
    """
    check_judged_pools(open_stages(config, cache_dir, splits, progress=progress)[-1])


class CellData(L.LightningDataModule):
    """Batches of a run's pools, in the order that its seed gives them."""

    def __init__(
        self,
        config: RunConfig,
        pools: Mapping[str, Pool],
        features: Mapping[str, Features | None],
        tokenizer: PreTrainedTokenizerBase,
        order: str = ORDER,
        asked: LanguageConfig | None = None,
        losses: bool = False,
    ) -> None:
        """order: names the seed's stream in which training batches come; asked: how validation rows and tests are put into words, where not
        as training rows are; losses: whether the answers of validation rows have a loss besides."""
        super().__init__()
        self.config, self.order = config, order
        others = config if asked is None else config.model_copy(update={"language": asked})
        self.collators = {
            name: Collator(config if name == TRAIN else others, pool, features[name], tokenizer, answered=losses and name == VAL)
            for name, pool in pools.items()
        }
        data, train = config.data, pools[TRAIN]
        drawn = draw_seed_items(train, config.seed, data.train_items, "train_items")
        # A specialist sees of the same draw what a generalist sees of its tasks.
        own = np.isin(train.tasks[drawn].astype(str), data.train_tasks) if data.train_tasks else slice(None)
        self.rows = {name: np.arange(len(pool)) for name, pool in pools.items()}
        self.rows[TRAIN] = drawn[own]
        self.rows[VAL] = draw_seed_items(pools[VAL], config.seed, data.val_items, "val_items")

    @property
    def tests(self) -> list[str]:
        """The names of what it is tested on."""
        return [name for name in self.collators if name not in (TRAIN, VAL)]

    @property
    def seconds(self) -> float:
        """Time that this process spent in making batches."""
        return sum(collator.seconds for collator in self.collators.values())

    @property
    def steps_an_epoch(self) -> int:
        """Training steps in which every row comes once."""
        train, rows = self.config.train, self.rows[TRAIN]
        return len(BucketBatches(self.collators[TRAIN].pool.canvases.tolist(), rows, train.batch_size * train.accumulate, self.config.seed))

    def train_dataloader(self) -> DataLoader | Passes:
        """Endless; after a resume it goes on where the checkpoint stopped."""
        return self.training(self.trainer.global_step if self.trainer else 0)

    def training(self, start: int) -> DataLoader | Passes:
        """Training batches from those of step `start` on."""
        train, seed = self.config.train, self.config.seed
        stream = Stream(
            self.collators[TRAIN], self.rows[TRAIN], train.batch_size, seed, start, *self._place(), train.accumulate, self.order
        )
        return loader(stream, self.config.data.workers)

    def _place(self) -> tuple[int, int]:
        """This process's rank, and the number of ranks."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def val_dataloader(self) -> DataLoader | Passes:
        return self._evaluation(VAL)

    def predict_dataloader(self) -> list[DataLoader | Passes]:
        """Validation rows, then those of each test."""
        return [self._evaluation(name) for name in (VAL, *self.tests)]

    def _evaluation(self, name: str) -> DataLoader | Passes:
        stream = Stream(self.collators[name], self.rows[name], self.config.train.eval_batch_size, None, 0, *self._place())
        return loader(stream, self.config.data.workers)
