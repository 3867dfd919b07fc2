"""All costs of all arms, as a study's report shows them beside quality."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from fila_lab.config.files import write_atomically
from fila_lab.config.run import RunConfig
from fila_lab.cost.closed.components import component_costs
from fila_lab.cost.closed.memory import memory_bytes, widest_bytes
from fila_lab.cost.count import count_flops, count_parameters
from fila_lab.cost.fresh import peak_memory_mib
from fila_lab.cost.latency import forward_seconds
from fila_lab.cost.subject import largest_canvas

log = logging.getLogger("fila_lab")

Progress = Callable[[str, int, int], None]
ROUNDS_FILE = "costs.rounds.json"


def measure_arms(
    configs: Mapping[str, RunConfig],
    out: Path,
    *,
    batch_size: int = 8,
    rounds: int = 21,
    memory_batch_size: int | None = None,
    progress: Progress = lambda *_: None,
) -> dict[str, dict[str, float]]:
    """Arm -> its costs, measured on its real classes with random weights and synthetic images of the largest canvas.

    parameters, trainable_parameters, fusion_parameters: counted; all towers and the language model included in the first.
    flops: 2 x multiply-adds of one forward pass of the whole model for one image and its text (see count.py).
    latency_ms, latency_iqr_ms: median and interquartile range over `rounds` interleaved rounds of a forward pass of a batch of
    `batch_size`, from pixels to the language model's prefill, milliseconds an image (see latency.py).
    peak_memory_mib: of training steps with the arm's batch (or `memory_batch_size`), above a process that has only imported (fresh.py).

    progress: told (phase, done, total).

    `out` gets costs.rounds.json, every round's milliseconds an image. The caller sees to it that nothing else runs. What this machine has
    no memory for is NaN, with a warning; parameters and FLOPs are counted all the same.
    """
    trainable = {arm: c for arm, c in configs.items() if _fits(arm, "peak memory", _training_bytes(c, memory_batch_size))}
    runnable = {arm: c for arm, c in configs.items() if _fits(arm, "latency", _forward_bytes(c, batch_size))}
    progress("peak memory", 0, len(trainable))
    peaks = peak_memory_mib(trainable, batch_size=memory_batch_size) if trainable else {}
    timing: dict[str, Any] = {"batch_size": batch_size, "rounds": rounds, "progress": progress}
    seconds = forward_seconds(runnable, **timing) if runnable else {}
    milliseconds = {arm: [1000 * value for value in values] for arm, values in seconds.items()}
    out.mkdir(parents=True, exist_ok=True)
    told = {"batch_size": batch_size, "milliseconds_per_image": milliseconds}
    write_atomically(out / ROUNDS_FILE, (json.dumps(told) + "\n").encode())
    costs: dict[str, dict[str, float]] = {}
    for number, (arm, config) in enumerate(configs.items()):
        progress("counting", number, len(configs))
        low, median, high = np.percentile(milliseconds.get(arm, [math.nan]), [25, 50, 75])
        costs[arm] = {
            **count_parameters(config),
            "flops": count_flops(config),
            "latency_ms": float(median),
            "latency_iqr_ms": float(high - low),
            "peak_memory_mib": peaks.get(arm, math.nan),
        }
    return costs


def _training_bytes(config: RunConfig, batch_size: int | None) -> float:
    """Estimated peak of training steps from pixels, without evaluation."""
    images = batch_size or config.train.batch_size
    train = config.train.model_copy(update={"batch_size": images, "eval_batch_size": images})
    runtime = config.runtime.model_copy(update={"feature_cache": False})
    return memory_bytes(config.model_copy(update={"train": train, "runtime": runtime}))


def _forward_bytes(config: RunConfig, batch_size: int) -> float:
    """Estimated peak of building (twice the weights, float32) and of a forward pass (the widest of the ConvNeXt)."""
    canvas = largest_canvas(config)
    return 8 * sum(cost.parameters for cost in component_costs(config, canvas).values()) + batch_size * widest_bytes(config, canvas)


def _fits(arm: str, what: str, needed: float) -> bool:
    """Whether a measurement fits in the memory that is free; a warning where it does not."""
    free = psutil.virtual_memory().available
    if needed > free:
        log.warning("arm %s: no %s measured: about %.0f GiB needed, %.0f GiB free", arm, what, needed / 2**30, free / 2**30)
    return needed <= free
