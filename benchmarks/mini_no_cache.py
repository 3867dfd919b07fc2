"""What the frozen-feature cache saves a study: `mini` cells with warm caches against cells that run the ConvNeXt in every step.

`python -m benchmarks.mini_no_cache`: blocks of training steps and of evaluation, with and without, alternate in one process; the time of a
whole study is its plan at these speeds, the features computed once where they are cached.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.mini_training import ARMS, arm_config, lightning_block, one_thread, open_cell, quiet
from fila_lab.config import RunConfig, load_study
from fila_lab.data.stored_pool import StoredPool
from fila_lab.modeling.precision import autocast
from fila_lab.studies.plan import make_plan
from fila_lab.training import FilaModule, prepare_caches
from fila_lab.training.data import CellData, open_data
from fila_lab.training.features import cached_features

STUDY, BUDGET = Path(__file__).parents[1] / "experiments" / "fusion_methods.yaml", "small"
WAYS = {"cache": True, "no_cache": False}
Seconds = dict[str, dict[str, float]]
"""Phase (`train`, `evaluate`) -> way -> seconds an image."""


def measure(cache_dir: Path, arms: tuple[str, ...] = ARMS, steps: int = 8, rounds: int = 3) -> dict[str, Any]:
    """Seconds an image of every arm with and without the cache, of a page's features, and of the study; on one thread."""
    with one_thread():
        prepare_caches([arm_config(arm, steps) for arm in arms], cache_dir, 1)
        seconds = {arm: image_seconds(cache_dir, arm, steps, rounds) for arm in arms}
        page = feature_seconds(cache_dir)
    plan = make_plan(load_study(STUDY), BUDGET)
    whole = {way: sum(cell_seconds(cell.config, seconds[cell.arm], way) for cell in plan.cells) for way in WAYS}
    pools = plan.cells[0].config.data
    whole["cache"] += page * (pools.train_pool + pools.val_pool + 3 * pools.test_triplets)
    return {
        "threads": 1,
        "milliseconds_an_image": {arm: {phase: _milliseconds(ways) for phase, ways in phases.items()} for arm, phases in seconds.items()},
        "features_milliseconds_a_page": round(1e3 * page, 3),
        "study": {
            "name": STUDY.stem,
            "budget": BUDGET,
            "cells": len(plan.cells),
            "seconds": {way: round(s, 1) for way, s in whole.items()},
        },
        "speed_up": round(whole["no_cache"] / whole["cache"], 3),
    }


def image_seconds(cache_dir: Path, arm: str, steps: int, rounds: int) -> Seconds:
    """Medians over rounds, the first, which warms up, left out."""
    runs: dict[tuple[str, str], Callable[[], float]] = {}
    for way, cached in WAYS.items():
        config = arm_config(arm, steps, feature_cache=cached)
        module, data = FilaModule.from_config(config), open_cell(config, cache_dir)
        runs["train", way] = partial(lightning_block, config, module, data)
        runs["evaluate", way] = partial(evaluation_block, module, data)
    speeds: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for _ in range(1 + rounds):
        for key, run in runs.items():
            speeds[key].append(run())
    return {phase: {way: 1 / statistics.median(speeds[phase, way][1:]) for way in WAYS} for phase in ("train", "evaluate")}


def evaluation_block(module: FilaModule, data: CellData) -> float:
    """Validation pages read and answered per second."""
    module.eval()
    started, images = time.perf_counter(), 0
    with torch.inference_mode(), autocast(module.config.runtime.precision):
        for batch in data.val_dataloader():
            module.predict_step(batch, 0)
            images += len(batch.rows)
    return images / (time.perf_counter() - started)


def feature_seconds(cache_dir: Path) -> float:
    """Seconds a page of filling an empty cache."""
    config = arm_config("concat", 1)
    pool = open_data(config, cache_dir, ("val",))["val"]
    assert isinstance(pool, StoredPool)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        cached_features(config, pool, Path(folder))
        return (time.perf_counter() - started) / len(pool)


def cell_seconds(config: RunConfig, seconds: Seconds, way: str) -> float:
    """Steps of a cell at measured speeds: training, validations, the last reading of the validation items, and the test pool."""
    train, data = config.train, config.data
    assert data.val_items is not None
    read = data.val_items * (1 + train.steps // min(train.steps, train.validate_every)) + 3 * data.test_triplets
    return train.steps * train.batch_size * seconds["train"][way] + read * seconds["evaluate"][way]


def _milliseconds(ways: dict[str, float]) -> dict[str, float]:
    return {way: round(1e3 * value, 3) for way, value in ways.items()}


def lines(found: dict[str, Any]) -> list[str]:
    """The figures as text."""
    text = []
    for arm, phases in found["milliseconds_an_image"].items():
        parts = [f"{phase} {ways['no_cache']:.2f} over {ways['cache']:.2f} ms" for phase, ways in phases.items()]
        text.append(f"{arm}, an image, --no-cache over cache: {', '.join(parts)}")
    study = found["study"]
    took = study["seconds"]
    text.append(f"features: {found['features_milliseconds_a_page']:.2f} ms a page, once")
    text.append(f"{study['name']} --budget {study['budget']}, {study['cells']} cells, one worker, steps at these speeds: ")
    text[-1] += f"{took['no_cache']:.0f} s over {took['cache']:.0f} s = {found['speed_up']:.2f}x"
    return text


def main() -> None:
    """Measure with the cache of --cache and print; --json for the raw figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "fila_lab-bench", help="pools and features")
    parser.add_argument("--json", type=Path, help="write the figures there")
    chosen = parser.parse_args()
    quiet()
    found = measure(chosen.cache)
    print("\n".join(lines(found)))
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
