"""How many rows a run's suites have, which of them a cache holds, and what reading or training on one costs. Imports no torch."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fila_lab.config import ConfigError, DataConfig, GeometryConfig, RunConfig
from fila_lab.config.files import default_cache
from fila_lab.config.geometry import Size
from fila_lab.config.stage_runs import Stage, naming, stages_of
from fila_lab.config.suites import SEAM
from fila_lab.cost.closed.components import component_costs, forward_flops, training_flops

if TYPE_CHECKING:
    from fila_lab.data.suite import Suite

SAMPLED = 200
"""Rows of files whose image sizes are looked at, spread evenly over them."""
Shown = tuple[Size, Size]
"""(the canvas as the ViT sees it, the image's size), pixels."""


@dataclass(frozen=True)
class Part:
    """The rows of one suite. stored: drawn once into a cache, its features with it; else read from files whenever a batch asks for them.
    weight: its share of what is trained on; shown: of a sample of its rows, where their images are put (None: text alone), empty for
    generated pages, whose sizes are the geometry's."""

    suite: str
    rows: int
    stored: bool
    weight: float = 1.0
    shown: tuple[Shown | None, ...] = ()


def parts_of(config: RunConfig, split: str) -> tuple[Part, ...]:
    """The suites behind a run's `train`, `val` or `test` rows, in their order; opened once for all runs that see them alike.

    Raises:
        FilaError: one cannot be opened.
    """
    if config.data.generated:
        return (Part(SEAM, _generated(config.data, split), stored=True),)
    return _opened(*_files_of(config), split)


def further_scores(config: RunConfig, split: str) -> dict[str, str]:
    """Of the tasks behind a run's `val` or `test` rows that are not the seam suite's, the score each is judged by; opened as `parts_of`."""
    return {} if config.data.generated else dict(_scores(*_files_of(config), split))


@functools.lru_cache(maxsize=64)
def _scores(data_json: str, geometry_json: str, times: tuple[int, ...], split: str) -> dict[str, str]:
    from fila_lab.data.opening import further_tasks

    data, geometry = DataConfig.model_validate_json(data_json), GeometryConfig.model_validate_json(geometry_json)
    return {task: rule.score for task, rule in further_tasks(data, geometry, default_cache(), split).items()}


def _files_of(config: RunConfig) -> tuple[str, str, tuple[int, ...]]:
    """All that decides what is opened: data and geometry as JSON, and when the files were changed."""
    paths = [path for suite in config.data.suites for path in (suite.path, suite.images, suite.definition) if path is not None]
    return config.data.model_dump_json(), config.geometry.model_dump_json(), tuple(map(_changed, paths))


@functools.lru_cache(maxsize=64)
def _opened(data_json: str, geometry_json: str, times: tuple[int, ...], split: str) -> tuple[Part, ...]:
    from fila_lab.data.opening import sources

    data, geometry = DataConfig.model_validate_json(data_json), GeometryConfig.model_validate_json(geometry_json)
    found = []
    for source in sources(data, geometry, default_cache(), split):
        entry, suite = source.config, source.suite
        if entry.suite == SEAM:
            found.append(Part(SEAM, _generated(data, split), True, entry.share))
            continue
        headings = suite.length(source.split)
        if entry.limit is not None and not suite.stored:
            headings = min(headings, entry.limit)
        found.append(Part(entry.suite, headings, suite.stored, entry.share, _sample(suite, source.split, headings, geometry)))
    return tuple(found)


def _generated(data: DataConfig, split: str) -> int:
    return {"train": data.train_pool, "val": data.val_pool, "test": len(data.seam.test_places) * data.test_triplets}[split]


def _changed(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except (OSError, ValueError):
        return 0


def check_rows(config: RunConfig) -> None:
    """Refuse a run on files that is to draw more rows than there are.

    Raises:
        ConfigError: the field, how many rows there are, and what to set.
    """
    for stage in stages_of(config):
        with naming(stage):
            _check_rows(stage.run, "train", config.data.train_items)
    _check_rows(config, "val", config.data.val_items)


def _check_rows(config: RunConfig, split: str, items: int | None) -> None:
    if items is None or config.data.generated:
        return
    parts = parts_of(config, split)
    weights = sum(part.weight for part in parts)
    for part in parts:
        wanted = items * part.weight / weights
        if wanted >= part.rows + 1:
            share = f", {wanted:.0f} of them from {part.suite}" if len(parts) > 1 else ""
            raise ConfigError(
                f"data.{split}_items = {items}{share}, but {part.suite} has {part.rows} {split} rows; "
                f"set data.{split}_items=null for all, or lower it"
            )


def stored_rows(config: RunConfig) -> int:
    """Rows of all its pools that are drawn into the cache."""
    trained: list[RunConfig] = []
    for stage in stages_of(config):
        if all(stage.run.data.train != other.data.train for other in trained):
            trained.append(stage.run)
    pools = [parts_of(run, "train") for run in trained] + [parts_of(config, split) for split in ("val", "test")]
    return sum(part.rows for parts in pools for part in parts if part.stored)


def reading(config: RunConfig, part: Part, seen: bool = False) -> float:
    """FLOPs of reading one of a part's rows and its question; the features of stored ones come from the cache where a run has one.

    seen: whether its detail maps are there.
    """
    known = seen or _cached(config, part)
    if not part.shown:
        return forward_flops(config) - (component_costs(config)["convnext"].flops if known else 0)
    costs = [component_costs(config, *one) for one in part.shown if one is not None]
    total = sum(cost.flops for each in costs for cost in each.values())
    return (total - (sum(each["convnext"].flops for each in costs) if known else 0)) / len(part.shown)


def row_flops(config: RunConfig) -> float | None:
    """FLOPs of reading one row that is tested, nothing cached, mean over the rows of files; None where all are generated."""
    parts = [part for part in parts_of(config, "test") if part.shown]
    rows = sum(part.rows for part in parts)
    bare = config.model_copy(update={"runtime": config.runtime.model_copy(update={"feature_cache": False})})
    return sum(part.rows * reading(bare, part) for part in parts) / rows if rows else None


def training(config: RunConfig, part: Part) -> float:
    """FLOPs of training on one of a part's rows."""
    if not part.shown:
        return training_flops(config, cached_features=_cached(config, part))
    cached = _cached(config, part)
    return sum(training_flops(config, one[0], cached, one[1]) for one in part.shown if one is not None) / len(part.shown)


def cell_flops(config: RunConfig, test: bool = True) -> float:
    """FLOPs of a cell: its steps, its validations, and its tests (tuning cells leave them alone)."""
    stages = stages_of(config)
    asked = stages[-1].run
    tests = sum(part.rows * reading(asked, part) for part in parts_of(config, "test")) if test else 0.0
    return sum(stage_flops(config, stage) for stage in stages) + tests


def stage_flops(config: RunConfig, stage: Stage) -> float:
    """FLOPs of a training stage, its validations among them."""
    run, train, steps = stage.run, stage.run.train, planned_steps(stage)
    trained = parts_of(run, "train")
    weights = sum(part.weight for part in trained)
    a_row = sum(part.weight * training(run, part) for part in trained) / weights
    return steps * train.batch_size * train.accumulate * a_row + max(1, steps // train.validate_every) * _validation(config, run)


def _validation(config: RunConfig, run: RunConfig) -> float:
    """FLOPs of a validation in a training stage, `run`: every row is asked and, where the run declares stages, read with its answer."""
    validated = parts_of(config, "val")
    rows = sum(part.rows for part in validated)
    asked = rows if config.data.val_items is None else min(config.data.val_items, rows)
    flops = sum(part.rows * reading(run, part) for part in validated)
    if config.train.stages is not None:
        flops += sum(part.rows * reading(run, part, seen=not run.convnext.trainable) for part in validated)
    return asked * flops / max(rows, 1)


def taken_rows(run: RunConfig) -> int:
    """Rows that are trained on in a stage, of a seed."""
    there = sum(part.rows for part in parts_of(run, "train"))
    return min(run.data.train_items or there, there)


def planned_steps(stage: Stage) -> int:
    """Optimiser steps of a training stage; of one that counts epochs about so many, for each canvas's last batch of an epoch is smaller."""
    if stage.epochs is None:
        return stage.steps
    return max(1, math.ceil(stage.epochs * taken_rows(stage.run) / (stage.run.train.batch_size * stage.run.train.accumulate)))


def _cached(config: RunConfig, part: Part) -> bool:
    return part.stored and not config.convnext.trainable and config.runtime.feature_cache


def _spread(count: int) -> list[int]:
    """At most SAMPLED numbers below `count`, evenly over them."""
    wanted = min(SAMPLED, count)
    return [number * (count - 1) // max(wanted - 1, 1) for number in range(wanted)]


def _sample(suite: Suite, split: str, count: int, geometry: GeometryConfig) -> tuple[Shown | None, ...]:
    from fila_lab.data.suite import UnusableRow
    from fila_lab.imaging import Geometry

    found: list[Shown | None] = []
    for index in _spread(count):
        try:
            size = suite.heading(split, index).size
        except UnusableRow:
            continue
        made = None if size is None else Geometry.of(*size, geometry)
        found.append(None if made is None else (made.canvas, made.image_size))
    return tuple(found)
