"""Functions run on the ranks of one machine, as a launcher would start them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist

Work = Callable[..., Any]


def on_ranks(work: Work, world: int, out: Path, *arguments: Any, nodes: int = 1) -> list[Any]:
    """What `work(*arguments)` returns on each of `world` processes joined by gloo, `world / nodes` of them on each of so many machines."""
    out.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.start_processes(_rank, (work, world, nodes, port, out, arguments), world, start_method="spawn")
    return [torch.load(out / f"{rank}.pt", weights_only=False) for rank in range(world)]


def _rank(rank: int, work: Work, world: int, nodes: int, port: int, out: Path, arguments: tuple[Any, ...]) -> None:
    each = world // nodes
    place = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank % each, "NODE_RANK": rank // each, "GROUP_RANK": rank // each}
    torchelastic = {"TORCHELASTIC_RUN_ID": "test", "LOCAL_WORLD_SIZE": each} if nodes > 1 else {}
    os.environ.update({name: str(value) for name, value in (place | torchelastic).items()}, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    torch.save(work(*arguments), out / f"{rank}.pt")
    if dist.is_initialized():
        dist.destroy_process_group()
