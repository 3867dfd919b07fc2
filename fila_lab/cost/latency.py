"""Time of a forward pass, arms interleaved: what disturbs the machine disturbs all arms alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, TypeVar

import torch

from fila_lab.config.run import RunConfig
from fila_lab.cost.subject import build_subject, device_of, synthetic_batch
from fila_lab.modeling import FilaModel, VisionBatch
from fila_lab.modeling.precision import autocast

WARM_UP = 3
"""Rounds before the clock runs: kernels are chosen and memory is claimed in them."""
WARM_UP_SECONDS = 10.0
"""No further round of the warm-up begins after this; the first is run whole, however long it takes: no pass is timed cold."""
LONGEST = 900.0
"""Seconds after which no further round starts, once there are three."""
Result = TypeVar("Result")


def interleaved(passes: Mapping[str, Callable[[], Result]], rounds: int, first: int = 0) -> Iterator[dict[str, Result]]:
    """After a warm-up of whole rounds, `rounds` more: each calls every pass once, begins with another one than the last, and yields what
    they returned.

    first: how many rounds there are already, so that a measurement that goes on goes on turning. No garbage is collected within a round.
    """
    names, collecting = list(passes), gc.isenabled()
    began = time.perf_counter()
    for turn in range(WARM_UP):
        if turn and time.perf_counter() - began >= WARM_UP_SECONDS:
            break
        for name in names:
            passes[name]()
    for turn in range(first, first + rounds):
        start = turn % len(names)
        gc.collect()
        gc.disable()
        try:
            yield {name: passes[name]() for name in names[start:] + names[:start]}
        finally:
            if collecting:
                gc.enable()


def forward_seconds(
    configs: Mapping[str, RunConfig],
    *,
    batch_size: int = 8,
    rounds: int = 21,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, list[float]]:
    """Arm -> seconds an image of every round: one forward pass of a batch on the largest canvas, divided by its size.

    From uint8 pixels in memory through ConvNeXt, ViT, fusion and projector to the language model's prefill, in the arm's precision,
    attention backend and threads. Arms with equal towers or language models share one copy; runtime.compile is not applied. The caller
    sees to it that nothing else runs. progress: told (phase, done, total) between rounds.
    """
    shared: dict[Hashable, Any] = {}
    passes: dict[str, Callable[[], float]] = {}
    for arm, config in configs.items():
        model = _shared(build_subject(config), config, shared).to(device_of(config))
        batch = synthetic_batch(config, batch_size).to(device_of(config))
        passes[arm] = lambda model=model, batch=batch, config=config: _forward(model, batch, config)  # type: ignore[misc]
    seconds: dict[str, list[float]] = {arm: [] for arm in configs}
    threads, began = torch.get_num_threads(), time.perf_counter()
    try:
        for turn, taken in enumerate(interleaved(passes, rounds)):
            for arm in configs:
                seconds[arm].append(taken[arm] / batch_size)
            progress("latency", turn + 1, rounds)
            if turn >= 2 and time.perf_counter() - began > LONGEST:
                break
    finally:
        torch.set_num_threads(threads)
    return seconds


def _shared(model: FilaModel, config: RunConfig, shared: dict[Hashable, Any]) -> FilaModel:
    """The model with parts that other arms have too replaced by theirs: time does not depend on weights, memory does."""
    encoder = model.eval().encoder
    if encoder.vit is not None:
        encoder.vit = shared.setdefault(("vit", config.vit, config.geometry), encoder.vit)
    model.language = shared.setdefault(("language", config.language), model.language)
    if encoder.convnext is not None:
        tower = encoder.convnext.to(memory_format=torch.channels_last)
        encoder.convnext = shared.setdefault(("convnext", config.convnext), tower)
    return model


def _forward(model: FilaModel, batch: VisionBatch, config: RunConfig) -> float:
    """Seconds of one pass."""
    device = batch.input_ids.device.type
    torch.set_num_threads(config.runtime.threads)
    with torch.inference_mode(), autocast(config.runtime.precision, device):
        began = time.perf_counter()
        model(batch)
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began
