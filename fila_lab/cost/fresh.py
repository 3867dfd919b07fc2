"""Fresh processes to measure memory in. `python -m fila_lab.cost.fresh` is where they start.

Peak memory never falls within a process, and a driver that has run cells has had its peak: only a fresh process can tell. One parent
imports the libraries once and forks a child for each measurement; a child begins with the parent's memory and with a peak of its own.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import torch

from fila_lab.config.run import RunConfig
from fila_lab.cost.subject import autocast, device_of

LONGEST = 1800.0
"""Seconds after which a child is given up."""
MEBIBYTE = 2**20
Peaks = dict[str, float]


def measured_afresh(what: str, configs: Mapping[str, RunConfig], **options: Any) -> dict[str, Peaks | str]:
    """Name -> what memory.MEASUREMENTS[what](config, **options) returned in a process of its own (MiB by part), or why it did not."""
    arms = {name: config.model_dump(mode="json") for name, config in configs.items()}
    request = {"what": what, "arms": arms, "options": options}
    ended = subprocess.run([sys.executable, "-m", "fila_lab.cost.fresh"], input=json.dumps(request), capture_output=True, text=True)
    try:
        told: dict[str, Peaks | str] = json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        told = dict.fromkeys(configs, f"the process that measures memory ended with exit code {ended.returncode}: {last[-300:]}")
    return told


def resident(peak: bool) -> int:
    """Bytes of this process in memory, now or at most since the last `forget_peak`.

    Linux: VmRSS and VmHWM of /proc. `ru_maxrss` would not do there: a process started from a larger one inherits its peak.
    """
    status = Path("/proc/self/status")
    if status.exists():
        field = "VmHWM:" if peak else "VmRSS:"
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024
    if peak:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return int(psutil.Process().memory_info().rss)


def forget_peak() -> None:
    """Let the peak start from now, where Linux permits it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def load_kernels(config: RunConfig) -> None:
    """A tiny product and convolution with their gradients: libraries and threads that come with the first are no arm's memory."""
    device = device_of(config)
    pixels = torch.rand(1, 3, 32, 32, device=device)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 4), torch.nn.Flatten(), torch.nn.Linear(512, 8)).to(device)
    with autocast(config, device):
        model(pixels).float().sum().backward()


def _child(measure: Callable[..., Peaks], config: RunConfig, options: dict[str, Any], answer: Connection) -> None:
    """Measure one arm in this process and tell."""
    torch.set_num_threads(config.runtime.threads)
    load_kernels(config)
    answer.send(measure(config, **options))


def main() -> None:
    """Read {"what", "arms": {name: config}, "options"} from stdin; write {name: {part: MiB} or a reason} as the last line of stdout."""
    from fila_lab.cost.memory import MEASUREMENTS

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
