"""Fresh processes to measure memory in. `python -m fila_lab.cost.fresh` is where they start.

Peak memory never falls within a process, and a driver that has run cells has had its peak: only a fresh process can tell. One parent
imports the libraries once and forks a child for each measurement; a child begins with the parent's memory and with a peak of its own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import torch

from fila_lab.config.run import RunConfig
from fila_lab.cost.memory import MEASUREMENTS
from fila_lab.cost.resident import Peaks
from fila_lab.cost.subject import device_of
from fila_lab.modeling.precision import autocast

log = logging.getLogger("fila_lab")

LONGEST = 1800.0
"""Seconds after which a child is given up."""


def measured_afresh(what: str, configs: Mapping[str, RunConfig], **options: Any) -> dict[str, Peaks | str]:
    """Name -> what MEASUREMENTS[what](config, **options) returned in a process of its own (MiB by part), or why it did not."""
    arms = {name: config.model_dump(mode="json") for name, config in configs.items()}
    request = {"what": what, "arms": arms, "options": options}
    ended = subprocess.run([sys.executable, "-m", "fila_lab.cost.fresh"], input=json.dumps(request), capture_output=True, text=True)
    try:
        told: dict[str, Peaks | str] = json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        told = dict.fromkeys(configs, f"the process that measures memory ended with exit code {ended.returncode}: {last[-300:]}")
    return told


def peak_memory_mib(configs: Mapping[str, RunConfig], *, batch_size: int | None = None) -> dict[str, float]:
    """Arm -> peak resident memory of training steps minus resident memory after imports, MiB: weights, gradients, moments, activations.

    A step: forward from pixels (a frozen ConvNeXt runs too, without gradients: no cached features), loss, backward, clip, AdamW, on one
    batch of `batch_size` (default: the arm's) on the largest canvas, in the arm's precision and threads. On a GPU: its allocator's peak.
    NaN for an arm whose process ended before it could tell, with the cause in the log.
    """
    told = measured_afresh("training", configs, batch_size=batch_size)
    for arm, peaks in told.items():
        if isinstance(peaks, str):
            log.warning("peak memory of arm %s could not be measured: %s", arm, peaks)
    return {arm: float("nan") if isinstance(peaks, str) else peaks["peak"] for arm, peaks in told.items()}


def load_kernels(config: RunConfig) -> None:
    """A tiny product and convolution with their gradients: libraries and threads that come with the first are no arm's memory."""
    device = device_of(config)
    pixels = torch.rand(1, 3, 32, 32, device=device)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 4), torch.nn.Flatten(), torch.nn.Linear(512, 8)).to(device)
    with autocast(config.runtime.precision, device):
        model(pixels).float().sum().backward()


def _child(measure: Callable[..., Peaks], config: RunConfig, options: dict[str, Any], answer: Connection) -> None:
    """Measure one arm in this process and tell."""
    torch.set_num_threads(config.runtime.threads)
    load_kernels(config)
    answer.send(measure(config, **options))


def main() -> None:
    """Read {"what", "arms": {name: config}, "options"} from stdin; write {name: {part: MiB} or a reason} as the last line of stdout."""
    request: dict[str, Any] = json.load(sys.stdin)
    context = multiprocessing.get_context("fork")
    told: dict[str, Peaks | str] = {}
    for arm, raw in request["arms"].items():
        receiver, sender = context.Pipe(duplex=False)
        arguments = (MEASUREMENTS[request["what"]], RunConfig.model_validate(raw), request["options"], sender)
        child = context.Process(target=_child, args=arguments)
        child.start()
        sender.close()
        with contextlib.suppress(EOFError):  # it ended without an answer
            if receiver.poll(LONGEST):
                told[arm] = receiver.recv()
            else:
                child.kill()
        child.join()
        if arm not in told:
            told[arm] = f"its process ended with exit code {child.exitcode}{' (killed: out of memory?)' if child.exitcode == -9 else ''}"
    print(json.dumps(told))


if __name__ == "__main__":
    main()
