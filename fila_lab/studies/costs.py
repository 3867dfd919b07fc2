"""The cost pass: one exclusive measurement of every arm after the cells, kept in `costs.json`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fila_lab.config import RunConfig, config_hash
from fila_lab.config.files import try_lock, write_atomically
from fila_lab.config.json_files import read_json
from fila_lab.studies.result import without_nan

log = logging.getLogger("fila_lab")

COSTS, RECORD = "costs.json", "costs.manifest.json"
Progress = Callable[[str, int, int], None]
Measure = Callable[[dict[str, RunConfig], Path, Progress], dict[str, Any]]
"""(arm -> run, folder, told (phase, done, total)) -> arm -> its costs."""


def costs_are_current(root: Path, configs: Mapping[str, RunConfig], code: str) -> bool:
    """Whether `costs.json` holds these arms, measured with these configurations and this code."""
    try:
        measured = read_json(root / COSTS)
        record = read_json(root / RECORD)
    except (OSError, ValueError):
        return False
    expected = {"code_hash": code, "arms": {arm: cost_identity(config) for arm, config in configs.items()}}
    return bool(record == expected) and set(configs) <= set(measured)


def measure_costs(
    root: Path, configs: dict[str, RunConfig], code: str, measure: Measure | None = None, progress: Progress = lambda *_: None
) -> bool:
    """Measure and write, unless another driver of the same folder is measuring. A failure costs the columns, never the study.

    Returns:
        Whether `costs.json` is current now.
    """
    try:
        with (root / "costs.lock").open("w", encoding="utf-8") as handle:
            if not try_lock(handle):
                return False
            costs = without_nan((measure or arms_measure())(configs, root, progress))
            write_atomically(root / COSTS, (json.dumps(costs, indent=1) + "\n").encode())
            record = {"code_hash": code, "arms": {arm: cost_identity(config) for arm, config in configs.items()}}
            write_atomically(root / RECORD, (json.dumps(record, indent=1) + "\n").encode())
            return True
    except Exception as error:
        log.warning(
            "costs could not be measured (%s: %s); results are complete without, the same command tries again", type(error).__name__, error
        )
        return False


def arms_measure() -> Measure:
    """What measures where nothing else is named: `fila_lab.cost`."""
    from fila_lab.cost import measure_arms

    return lambda configs, root, progress: measure_arms(configs, root, progress=progress)


def cost_identity(config: RunConfig) -> str:
    """Seed and learning rate do not change what an arm costs."""
    return config_hash(config.model_dump(mode="json", exclude={"seed": True, "train": {"learning_rate", "weight_decay", "warmup"}}))
