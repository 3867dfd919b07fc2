"""The shared work before the cells, run as one job with all cores: the pools of items and the frozen towers' features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fila_lab.config import RunConfig, config_hash
from fila_lab.config.stage_runs import stages_of
from fila_lab.config.strategies import needs_map

PREPARE_FUNCTION = "fila_lab.studies.prepare:prepare"


@dataclass
class Prepared:
    """An outcome without a result, in the shape of a cell's."""

    result: dict[str, Any]
    predictions: None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def prepare(
    config: RunConfig,
    *,
    workdir: Path,
    cache_dir: Path,
    progress: Callable[[str, int, int], None] | None,
    configs: Sequence[RunConfig],
    workers: int,
) -> Prepared:
    """Fill the caches that `configs` will read; the first of them, `config`, sets the threads."""
    from fila_lab.training import prepare_caches

    prepare_caches(list(configs), cache_dir, workers, progress)
    return Prepared({"status": "done"})


def use_of_caches(config: RunConfig) -> str:
    """A hash of what pools and features depend on: optimisation and language model do not enter, a seed only through random weights."""
    used = config.model_dump(mode="json", include={"geometry", "convnext", "data", "runtime"})
    random = config.convnext.weights == "random" and config.fusion.control != "random_weights"
    fusion = config.fusion
    seen = {"control": fusion.control, "shown": [fusion.detail_resolution, fusion.detail_context], "plain": not needs_map(config)}
    stages = [
        [stage.run.data.model_dump(mode="json", include={"train"}), stage.run.convnext.trainable, stage.run.runtime.feature_cache]
        for stage in stages_of(config)
    ]
    return config_hash({**used, **seen, "seed": config.seed if random else None, "stages": stages})


def distinct(configs: Iterable[RunConfig], known: Set[str] = frozenset()) -> dict[str, RunConfig]:
    """One configuration for each use of the caches that is not `known`, by its hash."""
    by_use: dict[str, RunConfig] = {}
    for config in configs:
        use = use_of_caches(config)
        if use not in known:
            by_use.setdefault(use, config)
    return by_use
