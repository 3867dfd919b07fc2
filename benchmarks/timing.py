"""Interleaved rounds, ratios within a round, and the floor: FLOPs over the measured peak of a matrix product."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.subjects import Subject
from fila_lab.config import RunConfig
from fila_lab.cost.count import flops_of
from fila_lab.modeling.precision import autocast

Tick = Callable[[str], None]


@dataclass
class Rounds:
    """Per subject, seconds of each round's call, and how many of them were fusion."""

    total: dict[str, list[float]] = field(default_factory=dict)
    inside: dict[str, list[float]] = field(default_factory=dict)


def run_rounds(subjects: Sequence[Subject], precision: str, rounds: int, tick: Tick = lambda _: None, warm_up: int = 1) -> Rounds:
    """Every subject once a round, in an order drawn anew each time, so that what disturbs the machine disturbs all alike, and none always
    follows the same other, whose memory it would find."""
    result = Rounds({s.name: [] for s in subjects}, {s.name: [] for s in subjects})
    collecting = gc.isenabled()
    gc.disable()
    try:
        with torch.inference_mode(), autocast(precision):
            for turn in range(-warm_up, rounds):
                for one in random.Random(turn).sample(subjects, len(subjects)):
                    tick(one.name)
                    seconds = one.seconds()
                    if turn >= 0:
                        result.total[one.name].append(seconds)
                        result.inside[one.name].append(one.inside)
    finally:
        if collecting:
            gc.enable()
    return result


def matmul_peak(config: RunConfig, tokens: int, precision: str, repeats: int = 7) -> float:
    """FLOP/s: the better of the ViT's own widest product and a square one, each the median of `repeats`."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    width = config.vit.width
    best = 0.0
    for n, k, m in ((tokens, width, 4 * width), (2048, 2048, 2048)):
        left, right = torch.randn(n, k).to(kind), torch.randn(k, m).to(kind)
        left @ right
        seconds = []
        for _ in range(repeats):
            began = time.perf_counter()
            left @ right
            seconds.append(time.perf_counter() - began)
        best = max(best, 2 * n * k * m / statistics.median(seconds))
    return best


def count(one: Subject) -> int:
    """FLOPs of a subject's call (products, convolutions, attention), on shapes alone."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        return flops_of(one.call)
