"""Memory of this process, as the operating system counts it: now, and at most."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

import psutil

MEBIBYTE = 2**20
Peaks = dict[str, float]
"""Part -> its peak, MiB."""


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
