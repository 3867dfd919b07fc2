"""Peak memory of a training step, each arm in a fresh process. `python -m fila_lab.cost.memory` is where these processes start.

Peak memory never falls within a process, and a driver that has run cells has had its peak: only a fresh process can tell. One parent
imports the libraries once and forks a child an arm; a child begins with the parent's memory, which is its base, and with a peak of its own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import resource
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import torch

from fila_lab.config.part_costs import ORACLE_CHANNELS
from fila_lab.config.run import RunConfig
from fila_lab.cost.subject import autocast, build_subject, device_of, synthetic_batch

log = logging.getLogger("fila_lab")

STEPS = 2
"""The second step has the optimiser's moments as well."""
LONGEST = 1800.0
"""Seconds after which an arm's process is given up."""
MEBIBYTE = 2**20


def peak_memory_mib(
    configs: Mapping[str, RunConfig], *, batch_size: int | None = None, oracle_channels: int = ORACLE_CHANNELS
) -> dict[str, float]:
    """Arm -> peak resident memory of training steps minus resident memory after imports, MiB: weights, gradients, moments, activations.

    A step: forward from pixels (a frozen ConvNeXt runs too, without gradients: no cached features), loss, backward, clip, AdamW, on one
    batch of `batch_size` (default: the arm's) on the largest canvas, in the arm's precision and threads. On a GPU: its allocator's peak.
    NaN for an arm whose process ended before it could tell, with the cause in the log.
    """
    request = {
        "arms": {arm: config.model_dump(mode="json") for arm, config in configs.items()},
        "batch_size": batch_size,
        "oracle_channels": oracle_channels,
    }
    ended = subprocess.run([sys.executable, "-m", "fila_lab.cost.memory"], input=json.dumps(request), capture_output=True, text=True)
    try:
        told: dict[str, float | None] = json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        told = {}
    peaks = {arm: told.get(arm) for arm in configs}
    if None in peaks.values():
        log.warning("peak memory of an arm could not be measured (exit code %d): %s", ended.returncode, ended.stderr.strip()[-500:])
    return {arm: float("nan") if peak is None else peak for arm, peak in peaks.items()}


def train_steps(config: RunConfig, batch_size: int | None, oracle_channels: int) -> None:
    """A few training steps on one synthetic batch, as a cell takes them."""
    device = device_of(config)
    model = build_subject(config, device, oracle_channels)
    batch = synthetic_batch(config, batch_size or config.train.batch_size, None, device, oracle_channels)
    labels = batch.input_ids.clone()
    labels[:, : int(batch.prompt_lengths[0])] = -100
    trainable = model.trainable_parameters()
    optimiser = torch.optim.AdamW(trainable, lr=1e-4, foreach=True)
    for _ in range(STEPS):
        optimiser.zero_grad()
        with autocast(config, device):
            loss = model(batch, labels).loss
        assert loss is not None
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, config.train.gradient_clip)
        optimiser.step()


def _child(config: RunConfig, batch_size: int | None, oracle_channels: int, answer: Connection) -> None:
    """Measure one arm in this process and tell the MiB."""
    torch.set_num_threads(config.runtime.threads)
    device = device_of(config)
    _load_kernels(config, device)
    base = _resident(peak=False)
    _forget_peak()
    train_steps(config, batch_size, oracle_channels)
    grown = torch.cuda.max_memory_allocated() if device == "cuda" else _resident(peak=True) - base
    answer.send(grown / MEBIBYTE)


def _load_kernels(config: RunConfig, device: str) -> None:
    """A tiny product and convolution with their gradients: libraries and threads that come with the first are no arm's memory."""
    pixels = torch.rand(1, 3, 32, 32, device=device)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 4), torch.nn.Flatten(), torch.nn.Linear(512, 8)).to(device)
    with autocast(config, device):
        model(pixels).float().sum().backward()


def _resident(peak: bool) -> int:
    """Bytes of this process in memory, now or at most.

    Linux: VmRSS and VmHWM of /proc. `ru_maxrss` would not do there: a process started from a larger one inherits its peak.
    """
    status = Path("/proc/self/status")
    if status.exists():
        field = "VmHWM:" if peak else "VmRSS:"
        line = next(line for line in status.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024
    if peak:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return int(psutil.Process().memory_info().rss)


def _forget_peak() -> None:
    """Let the peak start from now, where Linux permits it: imports may have had a peak above where they ended."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    """Read {"arms": {name: config}, "batch_size", "oracle_channels"} from stdin; write {name: MiB or null} as the last line of stdout."""
    request: dict[str, Any] = json.load(sys.stdin)
    context = multiprocessing.get_context("fork")
    told: dict[str, float | None] = {}
    for arm, raw in request["arms"].items():
        receiver, sender = context.Pipe(duplex=False)
        config = RunConfig.model_validate(raw)
        child = context.Process(target=_child, args=(config, request["batch_size"], request["oracle_channels"], sender))
        child.start()
        sender.close()
        told[arm] = None
        with contextlib.suppress(EOFError):  # it ended without an answer
            if receiver.poll(LONGEST):
                told[arm] = receiver.recv()
            else:
                child.kill()
        child.join()
        if told[arm] is None:
            print(f"arm {arm}: its process ended with exit code {child.exitcode}", file=sys.stderr)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
