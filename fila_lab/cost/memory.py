"""Peak memory of a training step, and of each component of a forward pass: measured in this process, best a fresh one (fresh.py)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from fila_lab.config.run import RunConfig
from fila_lab.cost.closed.heap import give_back_large_blocks
from fila_lab.cost.passes import language_inputs
from fila_lab.cost.probe import LANGUAGE, OTHER, probed
from fila_lab.cost.resident import MEBIBYTE, Peaks, forget_peak, resident
from fila_lab.cost.subject import build_language_subject, build_subject, build_vision, device_of, synthetic_batch
from fila_lab.modeling.attention import attention_backend
from fila_lab.modeling.precision import autocast

STEPS = 2
"""The second step has the optimiser's moments as well."""


def train_steps(config: RunConfig, batch_size: int | None) -> None:
    """A few training steps on one synthetic batch, as a cell takes them."""
    device = device_of(config)
    model = build_subject(config, device)
    batch = synthetic_batch(config, batch_size or config.train.batch_size, None, device)
    labels = batch.input_ids.clone()
    labels[:, : int(batch.prompt_lengths[0])] = -100
    trainable = model.trainable_parameters()
    optimiser = torch.optim.AdamW(trainable, lr=1e-4, foreach=True)
    for _ in range(STEPS):
        with autocast(config.runtime.precision, device):
            loss = model(batch, labels).loss
        assert loss is not None
        optimiser.zero_grad()  # the last step's gradients lie beside activations, as Lightning's loop has it
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, config.train.gradient_clip)
        optimiser.step()


def _training(config: RunConfig, batch_size: int | None) -> Peaks:
    """{"peak": MiB of training steps}."""
    give_back_large_blocks(config)
    base = 0 if device_of(config) == "cuda" else resident(peak=False)
    _forget(device_of(config))
    train_steps(config, batch_size)
    return {"peak": (_peak(device_of(config)) - base) / MEBIBYTE}


def _seeing(config: RunConfig) -> Peaks:
    """Component -> most memory while it runs in a forward pass of one image, above weights and pixels, MiB; what earlier components
    left for later ones (tokens, detail maps) is in it. `encoder`: the most of all of them, the projector aside."""
    device = device_of(config)
    model = build_vision(config, {})
    batch = synthetic_batch(config, 1, None, device)
    peaks: dict[str, int] = defaultdict(int)
    base = _now(device)

    def settle(name: str) -> None:
        peaks[name] = max(peaks[name], _peak(device))
        _forget(device)

    @contextmanager
    def probe(name: str) -> Iterator[None]:
        settle(OTHER)
        yield
        settle(name)

    _forget(device)
    with torch.inference_mode(), autocast(config.runtime.precision, device), probed(model, probe):
        model.see(batch)
    settle(OTHER)
    return {name: max(0, peak - base) / MEBIBYTE for name, peak in peaks.items()}


def _reading(config: RunConfig) -> Peaks:
    """{"language prefill": MiB above one layer's weights while it reads an image}: without a cache one layer runs at a time."""
    device = device_of(config)
    language = build_language_subject(config, layers=1)
    prompt = language_inputs(config)
    base = _now(device)
    _forget(device)
    with torch.inference_mode(), autocast(config.runtime.precision, device), attention_backend(config.runtime.attention):
        language.model(inputs_embeds=prompt, use_cache=False)
    return {LANGUAGE: max(0, _peak(device) - base) / MEBIBYTE}


MEASUREMENTS: dict[str, Callable[..., Peaks]] = {"training": _training, "seeing": _seeing, "reading": _reading}


def _now(device: str) -> int:
    return torch.cuda.memory_allocated() if device == "cuda" else resident(peak=False)


def _peak(device: str) -> int:
    return torch.cuda.max_memory_allocated() if device == "cuda" else resident(peak=True)


def _forget(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        forget_peak()
