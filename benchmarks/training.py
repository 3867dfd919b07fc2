"""Training speed of the arms on `mini`: one step after the other, maps as the cache would hand them over, everything else left out."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from benchmarks.timing import Tick
from fila_lab.config import RunConfig, resolve_run
from fila_lab.config.counts import STRIDES, detail_size
from fila_lab.config.strategies import has_convnext
from fila_lab.cost import largest_canvas, synthetic_batch
from fila_lab.modeling import FilaModel, VisionBatch, build_model
from fila_lab.modeling.precision import autocast

STEPS = 4
"""Steps a turn."""


@dataclass
class Learner:
    """A model with its optimiser and one batch."""

    model: FilaModel
    batch: VisionBatch
    labels: torch.Tensor
    optimiser: torch.optim.Optimizer
    precision: str

    @classmethod
    def build(cls, config: RunConfig) -> Learner:
        """An arm with random weights, and a batch of the largest canvas with bfloat16 maps."""
        torch.manual_seed(0)
        model = build_model(config, detail_branch=False)
        if config.runtime.compile:
            model.encoder.compile_towers()
        canvas = largest_canvas(config)
        batch = synthetic_batch(config, config.train.batch_size, canvas)
        if has_convnext(config):
            width, height = detail_size(canvas, config.geometry)
            maps = [
                torch.randn(len(batch), channels, height // stride, width // stride).bfloat16()
                for channels, stride in zip(config.convnext.dims, STRIDES, strict=True)
            ]
            batch = replace(batch, maps=maps, detail=None)
        labels = batch.input_ids.clone()
        labels[:, : int(batch.prompt_lengths[0])] = -100
        optimiser = torch.optim.AdamW(model.trainable_parameters(), lr=config.train.learning_rate, foreach=True)
        return cls(model, batch, labels, optimiser, config.runtime.precision)

    def steps(self, count: int = STEPS) -> float:
        """Images a second over some steps: forward, backward, clip, AdamW."""
        began = time.perf_counter()
        for _ in range(count):
            self.optimiser.zero_grad()
            with autocast(self.precision):
                loss = self.model(self.batch, self.labels).loss
            assert loss is not None
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.trainable_parameters(), 1.0)
            self.optimiser.step()
        return count * len(self.batch) / (time.perf_counter() - began)


def training_config(preset: str, arm: str, precision: str, attention: str, batch_size: int, compiled: bool = False) -> RunConfig:
    """The preset's arm, random weights."""
    return resolve_run(
        preset,
        {
            "fusion.name": arm,
            "vit.weights": "random",
            "convnext.weights": "random",
            "language.weights": "random",
            "runtime.precision": precision,
            "runtime.attention": attention,
            "runtime.compile": compiled,
            "train.batch_size": batch_size,
        },
    )


def training_speeds(configs: dict[str, RunConfig], rounds: int, tick: Tick = lambda _: None) -> dict[str, dict[str, float]]:
    """Arm -> images_per_second, and its ratio to `none`: medians over rounds, ratios within a round; one round more to warm up."""
    learners = {arm: Learner.build(config) for arm, config in configs.items()}
    speeds: dict[str, list[float]] = {arm: [] for arm in learners}
    arms = list(learners)
    for turn in range(-1, rounds):
        first = turn % len(arms)
        for arm in arms[first:] + arms[:first]:
            tick(f"training {arm}")
            speed = learners[arm].steps()
            if turn >= 0:
                speeds[arm].append(speed)
    return {arm: {"images_per_second": statistics.median(s), "ratio": _ratio(s, speeds["none"])} for arm, s in speeds.items()}


def _ratio(own: Sequence[float], none: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(own, none, strict=True))


def one_thread(measure: Callable[[], dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """As a cell of `mini` runs: on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return measure()
    finally:
        torch.set_num_threads(threads)
