"""A cell on several devices: one process each, joined by Lightning's DDP. This process is rank 0; its outcome is the cell's.

Lightning would start the other ranks by running the command line again, which here is a study's driver and not the cell.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fila_lab.config import RunConfig


@contextmanager
def joined(config: RunConfig, workdir: Path, cache_dir: Path, test: bool) -> Iterator[None]:
    """The other ranks of the cell run beside the body; where something else (torchrun, SLURM) has started them, nothing is done."""
    world = config.runtime.devices
    if world == 1 or "LOCAL_RANK" in os.environ:
        yield
        return
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(world), "NODE_RANK": "0"}
    task = json.dumps({"config": config.model_dump(mode="json"), "workdir": str(workdir), "cache_dir": str(cache_dir), "test": test})
    others = [_start(shared | {"LOCAL_RANK": str(rank)}, task) for rank in range(1, world)]
    before = dict(os.environ)
    os.environ.update(shared, LOCAL_RANK="0")
    try:
        yield
        for process in others:
            process.wait()
    finally:
        for process in others:
            process.kill()
            process.wait()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        os.environ.clear()
        os.environ.update(before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(environment: dict[str, str], task: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "fila_lab.training.ranks"],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(task)
    process.stdin.close()
    return process


def _rank(task: dict[str, Any]) -> int:
    """A rank beyond the first: the same cell, its outcome dropped; a failure is told on standard error."""
    from fila_lab.training.cell import run_cell

    config = RunConfig.model_validate(task["config"])
    outcome = run_cell(config, workdir=Path(task["workdir"]), cache_dir=Path(task["cache_dir"]), test=task["test"])
    failure = outcome.result["failure"]
    if failure is not None:
        print(f"rank {os.environ['LOCAL_RANK']}: {failure['kind']}: {failure['message']}", file=sys.stderr)
    return int(failure is not None)


if __name__ == "__main__":
    sys.exit(_rank(json.load(sys.stdin)))
