"""FilaData: a run's data as a LightningDataModule of its own, for LightningCLI and for a Trainer in one's own script."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from pydantic import ValidationError
from torch.utils.data import DataLoader

from fila_lab.config import ConfigError, DataConfig, GeometryConfig, RunConfig
from fila_lab.config.checks import check_run
from fila_lab.config.errors import config_error
from fila_lab.config.files import default_cache
from fila_lab.config.language_folder import template_warning
from fila_lab.data.suite import SPLITS, SetAside
from fila_lab.training.batches import Batch
from fila_lab.training.data import TRAIN, VAL, CellData, open_data, seen_features
from fila_lab.training.features import needs_detail
from fila_lab.training.module import FilaModule
from fila_lab.training.record import check_bad_rows
from fila_lab.training.streams import Passes

log = logging.getLogger("fila_lab")


class FilaData(L.LightningDataModule):
    """Batches of a run's suites for a FilaModule, in the order that a seed gives them.

    What is left out is the module's: how images are seen, prompts, batch sizes, and the seed. Training rows come without end, so the
    Trainer needs `max_steps`; a fit that goes on from a checkpoint (`ckpt_path`) goes on with the next batch.

    Args:
        data: where items come from, and how many.
        geometry: how images become tiles; null: the module's, and no other than that.
        cache_dir: where pools and features lie; null: FILA_LAB_CACHE, or the usual place.
        seed: of the rows that are drawn and their order; null: the module's.
        workers: processes that help to draw generated items and to compute features.

    Raises:
        ConfigError: data that are no DataConfig.
    """

    def __init__(
        self,
        data: dict[str, Any] | DataConfig,
        geometry: GeometryConfig | None = None,
        cache_dir: str | None = None,
        seed: int | None = None,
        workers: int = 1,
    ) -> None:
        super().__init__()
        try:
            self.data = DataConfig.model_validate(dict(data) if isinstance(data, Mapping) else data)
        except ValidationError as error:
            raise config_error(error, DataConfig) from None
        self.geometry, self.seed, self.workers = geometry, seed, workers
        self.cache_dir = default_cache() if cache_dir is None else Path(cache_dir)
        self.cell: CellData | None = None
        """What makes the batches, from `setup` on."""
        self.aside: dict[str, SetAside] = {}
        """Rows that could not be read or asked so far, by pool and id."""

    def setup(self, stage: str | None = None) -> None:
        """Open the suites, draw and compute what is cached.

        Raises:
            ConfigError: a module, a Trainer or data that do not go together; each with field, value and remedy.
            FilaError: a suite cannot be opened, or too many of its rows cannot be used.
        """
        trainer = self.trainer
        if trainer is None or not isinstance(trainer.lightning_module, FilaModule):
            raise ConfigError("FilaData makes batches for a FilaModule; fit it with a Trainer and such a module")
        module = trainer.lightning_module
        config = self._run_of(module)
        if config.train.stages is not None:
            raise ConfigError(
                "model.train.stages: a Trainer fits once, and training stages are several fits; leave them out, or train the run with "
                "fila_lab.training.run_cell"
            )
        if stage == "fit":
            _check_steps(trainer, config)
        if warning := template_warning(config.language, module.prompt.lacking):
            log.warning("%s", warning)
        pools = open_data(config, self.cache_dir, SPLITS if stage == "predict" else (TRAIN, VAL), self.workers)
        features = seen_features(config, pools, self.cache_dir, self.workers)
        uncached = [name for name, cached in features.items() if cached is None]
        if uncached and needs_detail(config) and module.model.encoder.convnext is None:
            raise ConfigError(
                f"model.runtime.feature_cache = true: the module was built without its ConvNeXt, but the rows of {', '.join(uncached)} "
                "are read from files, whose features no cache holds; set model.runtime.feature_cache=false, or model.detail_branch=true"
            )
        self.cell = CellData(config, pools, features, module.model.tokenizer)
        self.cell.trainer = trainer

    def _run_of(self, module: FilaModule) -> RunConfig:
        """The module's run with these data."""
        own = module.config
        if self.geometry is not None and self.geometry != own.geometry:
            differing = [name for name in type(own.geometry).model_fields if getattr(own.geometry, name) != getattr(self.geometry, name)]
            raise ConfigError(
                f"data.geometry.{differing[0]} = {getattr(self.geometry, differing[0])} is not the module's "
                f"({getattr(own.geometry, differing[0])}); leave data.geometry out, or make the two equal"
            )
        config = own.model_copy(update={"data": self.data, "seed": own.seed if self.seed is None else self.seed})
        check_run(config)
        return config

    def _made(self) -> CellData:
        if self.cell is None:
            raise ConfigError("FilaData has not been set up; give it to a Trainer: trainer.fit(module, datamodule=data)")
        return self.cell

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Says once for each reason that rows are left out. FilaError where they are more than `data.bad_rows` of a pool's."""
        if not batch.aside:
            return batch
        cell = self._made()
        pool = TRAIN if self.trainer is not None and self.trainer.training else (VAL, *cell.tests)[dataloader_idx]
        told = {row.reason for row in self.aside.values()}
        self.aside |= {f"{pool}/{row.row}": row for row in batch.aside}
        for row in batch.aside:
            if row.reason not in told:
                told.add(row.reason)
                log.warning("rows are left out (%s), the first because %s", row.reason, row.message)
        check_bad_rows(self.aside, pool, len(cell.rows[pool]), self.data.bad_rows)
        return batch

    def train_dataloader(self) -> DataLoader | Passes:
        """Endless; after a resume it goes on behind the batches of the checkpoint."""
        trainer = self.trainer
        assert trainer is not None
        batches: Any = trainer.fit_loop.epoch_loop.batch_progress.total
        behind = batches.processed  # a checkpoint of a batch's end is written before it counts as completed
        return self._made().training(start=behind // self._made().config.train.accumulate)

    def val_dataloader(self) -> DataLoader | Passes:
        return self._made().val_dataloader()

    def predict_dataloader(self) -> list[DataLoader | Passes]:
        """Validation rows, then those of each test."""
        return self._made().predict_dataloader()


def _check_steps(trainer: L.Trainer, config: RunConfig) -> None:
    """A Trainer that ends, and a learning rate that comes to its end with it; forward passes a step as the batches are made for."""
    steps, accumulate = config.train.steps, config.train.accumulate
    if accumulate > 1 and trainer.accumulate_grad_batches != accumulate:
        raise ConfigError(
            f"trainer.accumulate_grad_batches = {trainer.accumulate_grad_batches} with model.train.accumulate = {accumulate}; "
            f"set trainer.accumulate_grad_batches={accumulate}"
        )
    if trainer.max_steps == -1:
        raise ConfigError(f"trainer.max_steps is not set, and training rows come without end; set trainer.max_steps={steps} (train.steps)")
    if trainer.max_steps != steps:
        log.warning("trainer.max_steps = %d, but the learning rate is scheduled for train.steps = %d", trainer.max_steps, steps)
