"""Time of a forward pass, arms interleaved: what disturbs the machine disturbs all arms alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Hashable, Mapping
from typing import Any

import torch

from fila_lab.config.part_costs import ORACLE_CHANNELS
from fila_lab.config.run import RunConfig
from fila_lab.cost.subject import autocast, build_subject, device_of, synthetic_batch
from fila_lab.modeling import FilaModel, VisionBatch

WARM_UP = 3
"""Rounds before the clock runs: kernels are chosen and memory is claimed in them."""
LONGEST = 900.0
"""Seconds after which no further round starts, once there are three."""


def forward_seconds(
    configs: Mapping[str, RunConfig], *, batch_size: int = 8, rounds: int = 21, oracle_channels: int = ORACLE_CHANNELS
) -> dict[str, list[float]]:
    """Arm -> seconds an image of every round: one forward pass of a batch on the largest canvas, divided by its size.

    From uint8 pixels in memory through ConvNeXt, ViT, fusion and projector to the language model's prefill, in the arm's precision,
    attention backend and threads. Each round runs every arm once and starts with another arm. Arms with equal towers or language models
    share one copy; runtime.compile is not applied. The caller sees to it that nothing else runs.
    """
    arms = list(configs)
    shared: dict[Hashable, Any] = {}
    models = {arm: _shared(build_subject(config, oracle_channels=oracle_channels), config, shared) for arm, config in configs.items()}
    batches = {arm: synthetic_batch(config, batch_size, oracle_channels=oracle_channels) for arm, config in configs.items()}
    for arm, config in configs.items():
        models[arm].to(device_of(config))
        batches[arm] = batches[arm].to(device_of(config))
    seconds: dict[str, list[float]] = {arm: [] for arm in arms}
    threads, collecting = torch.get_num_threads(), gc.isenabled()
    gc.disable()
    try:
        began = time.perf_counter()
        for turn in range(-WARM_UP, rounds):
            if turn > 2 and time.perf_counter() - began > LONGEST:
                break
            first = turn % len(arms)
            for arm in arms[first:] + arms[:first]:
                taken = _forward(models[arm], batches[arm], configs[arm])
                if turn >= 0:
                    seconds[arm].append(taken / batch_size)
    finally:
        torch.set_num_threads(threads)
        if collecting:
            gc.enable()
    return seconds


def _shared(model: FilaModel, config: RunConfig, shared: dict[Hashable, Any]) -> FilaModel:
    """The model with parts that other arms have too replaced by theirs: time does not depend on weights, memory does."""
    encoder = model.eval().encoder
    encoder.vit = shared.setdefault(("vit", config.vit, config.geometry), encoder.vit)
    model.language = shared.setdefault(("language", config.language), model.language)
    if encoder.convnext is not None:
        tower = encoder.convnext.to(memory_format=torch.channels_last)
        encoder.convnext = shared.setdefault(("convnext", config.convnext), tower)
    return model


def _forward(model: FilaModel, batch: VisionBatch, config: RunConfig) -> float:
    """Seconds of one pass."""
    device = batch.tiles.device.type
    torch.set_num_threads(config.runtime.threads)
    with torch.inference_mode(), autocast(config, device):
        began = time.perf_counter()
        model(batch)
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began
