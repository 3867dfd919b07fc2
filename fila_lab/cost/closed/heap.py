"""Freed memory of large cells goes back to the system at once, so that a process takes what the closed form says and no more."""

from __future__ import annotations

import ctypes
import sys

from fila_lab.config.run import RunConfig
from fila_lab.cost.closed.memory import memory_bytes

LARGE = 4 * 2**30
"""Bytes from which on a cell counts as large: memory limits it, not the time that pages take to come and go (9 % of a step of `mini`)."""
BLOCK = 2**20
"""Bytes of a tensor that lies by itself."""
_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of glibc's malloc.h."""


def give_back_large_blocks(config: RunConfig) -> None:
    """In this process, from now on, where the run is a large one on a CPU and the C library is glibc; elsewhere nothing changes.

    By itself glibc keeps freed blocks of up to 32 MiB on a heap, where tensors of other sizes cut them up: a training step of `base` with
    adapters came to 1.29 times what its tensors take, and to 0.98 times this way. No number changes.
    """
    if config.runtime.accelerator != "cpu" or not sys.platform.startswith("linux") or memory_bytes(config) < LARGE:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, BLOCK)
