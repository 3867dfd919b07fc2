"""The pools of a run: the one place that turns `data.train`, `data.validate` and `data.evaluate` into rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fila_lab.config.base import ConfigError, FilaError
from fila_lab.config.data import DataConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.suites import SEAM, SuiteConfig
from fila_lab.data.mixed_pool import MixedPool
from fila_lab.data.parallel import Progress
from fila_lab.data.pool import Pool
from fila_lab.data.read_pool import ReadPool
from fila_lab.data.renamed import Renamed
from fila_lab.data.stored_pool import stored_pool
from fila_lab.data.suite import Opening, Suite, TaskRule, open_suite

PREFERRED = {"data.train": ("train",), "data.validate": ("val", "train"), "data.evaluate": ("test", "val", "train")}
"""The split of a suite that a section's rows come from: the first that it has. Without `data.validate` it is the training suites' `val`."""


@dataclass(frozen=True)
class Source:
    """One suite of a run: `field` names it in messages, `split` is the suite's own."""

    field: str
    config: SuiteConfig
    suite: Suite
    split: str


def sources(data: DataConfig, geometry: GeometryConfig, cache_dir: Path, split: str) -> list[Source]:
    """The suites behind a run's `train`, `val` or `test` rows, opened.

    Raises:
        FilaError: one cannot be opened, or lacks the split; the message names the field.
    """
    if split == "train":
        entries: Iterable[tuple[str, str, SuiteConfig]] = [
            (f"data.train[{number}]" if len(data.train) > 1 else "data.train", "", one) for number, one in enumerate(data.train)
        ]
    elif split == "val":
        chosen: Iterable[SuiteConfig] = data.train if data.validate is None else data.validate
        entries = [("data.validate" if data.validate is not None else "data.train", "", one) for one in chosen]
    else:
        entries = [(f"data.evaluate.{name}", name, one) for name, one in data.evaluate.items()]
    return [_opened(field, name, one, data, geometry, cache_dir, split) for field, name, one in entries]


def _opened(field: str, name: str, config: SuiteConfig, data: DataConfig, geometry: GeometryConfig, cache_dir: Path, split: str) -> Source:
    try:
        suite = open_suite(config.suite, Opening(config.opening, geometry, cache_dir, data))
    except FilaError as error:
        raise ConfigError(f"{field}: {error}") from error
    there = suite.splits()
    section = ".".join(field.partition("[")[0].split(".")[:2])
    preferred = ("val",) if (section, split) == ("data.train", "val") else PREFERRED[section]
    wanted = next((one for one in preferred if one in there), None)
    if wanted is None:
        remedy = "give data.validate, or for files the option validate_share" if split == "val" else "give another path"
        raise ConfigError(f"{field}: suite {config.suite!r} has {', '.join(there)} and no rows for {split}; {remedy}")
    if name and config.suite != SEAM and len(suite.tasks()) == 1 and name not in suite.tasks():
        suite = Renamed(suite, name)
    return Source(field, config, suite, wanted)


def open_pools(
    data: DataConfig, geometry: GeometryConfig, cache_dir: Path, split: str, workers: int = 1, progress: Progress | None = None
) -> dict[str, Pool]:
    """The pools of a run by name: `train`, `val`, or the names of `data.evaluate`. Stored ones are drawn into the cache if need be.

    Raises:
        FilaError: a suite cannot be opened, or more of its rows than `data.bad_rows` cannot be used.
    """
    found: list[tuple[Source, Pool]] = []
    for source in sources(data, geometry, cache_dir, split):
        if source.suite.stored:
            pool: Pool = stored_pool(source.suite, source.split, geometry, cache_dir, workers, progress)
        else:
            pool = ReadPool(source.suite, source.split, geometry, source.config.limit, progress)
        _check_aside(pool, source.field, data)
        found.append((source, pool))
    if split == "test":
        return {source.field.removeprefix("data.evaluate."): pool for source, pool in found}
    return {split: found[0][1] if len(found) == 1 else MixedPool([(pool, source.config.share) for source, pool in found])}


def further_tasks(data: DataConfig, geometry: GeometryConfig, cache_dir: Path, split: str) -> dict[str, TaskRule]:
    """The tasks of a run's `val` or `test` rows that are not the seam suite's, and how each is asked and judged.

    Raises:
        FilaError: a suite cannot be opened.
    """
    if split == "test":
        entries: Iterable[SuiteConfig] = data.evaluate.values()
    else:
        entries = data.validate or data.train
    if all(entry.suite == SEAM for entry in entries):
        return {}
    opened = [source for source in sources(data, geometry, cache_dir, split) if source.config.suite != SEAM]
    return {task: rule for source in opened for task, rule in source.suite.tasks().items()}


def _check_aside(pool: Pool, field: str, data: DataConfig) -> None:
    """FilaError where more than `data.bad_rows` of a pool's rows were set aside when it was opened."""
    aside, rows = len(pool.aside), len(pool) + len(pool.aside)
    if aside > data.bad_rows * rows:
        raise FilaError(
            f"{field}: {aside} of {rows} rows cannot be used, more than data.bad_rows={data.bad_rows:g}, the first because "
            f"{pool.aside[0].message}; mend the file (fila-lab data check lists them), or raise data.bad_rows"
        )


__all__ = ["Source", "further_tasks", "open_pools", "sources"]
