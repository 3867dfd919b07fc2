"""Processor, memory and GPUs. Imports torch."""

from __future__ import annotations

import os
from pathlib import Path

from fila_lab.config import resolve_run
from fila_lab.cost.closed.memory import memory_bytes
from fila_lab.studies.doctor.finding import Finding, looked
from fila_lab.studies.estimate import usable_memory
from fila_lab.studies.machine import BF16, gpus, processor_flags
from fila_lab.studies.manifest import machine

GIB = 2**30
SHARED_GIB = 1.0
"""Of /dev/shm, through which processes that make batches hand them over."""


def hardware() -> list[Finding]:
    """Processor, cores, memory, GPUs."""
    found = looked("processor", _processor, "")
    found += looked("cores", _cores, "")
    found += looked("memory", _memory, "")
    return found + looked("GPU", _gpu, "install a torch built for this machine's driver")


def _processor() -> list[Finding]:
    import torch

    flags = processor_flags()
    told = f"{machine()['processor']}, torch computes with {torch.backends.cpu.get_cpu_capability()}"
    if not flags:
        return [Finding("processor", "ok", f"{told}; whether it has bfloat16 is not told here")]
    native = [flag for flag in BF16 if flag in flags]
    if native:
        return [Finding("processor", "ok", f"{told}; bfloat16 by {', '.join(native)}")]
    remedy = "on the CPU, --set runtime.precision=fp32 is quicker (cells of their own)"
    return [Finding("processor", "warn", f"{told}; no bfloat16 of its own, which is emulated", remedy)]


def cores() -> int:
    """Of this machine, that this process may use: its affinity, and its control group's share."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return usable
    return usable if quota == "max" else max(1, min(usable, int(quota) // int(period)))


def _cores() -> list[Finding]:
    usable, there, said = cores(), os.cpu_count() or 1, os.environ.get("OMP_NUM_THREADS", "")
    told = (
        f"{usable} usable"
        + (f" of {there}" if usable < there else "")
        + "; cells at a time (--workers) x runtime.threads should not exceed them"
    )
    if said.isdecimal() and int(said) > usable:
        return [Finding("cores", "warn", f"{told}; OMP_NUM_THREADS={said} does", f"OMP_NUM_THREADS={usable}")]
    return [Finding("cores", "ok", told)]


def _memory() -> list[Finding]:
    import psutil

    needed = memory_bytes(resolve_run("mini"))
    total, free = usable_memory("cpu") or 0.0, float(psutil.virtual_memory().available)
    there = min(total, free)
    told = f"{there / GIB:.1f} GiB free of {total / GIB:.1f}: {int(there // needed)} cells of mini at a time ({needed / GIB:.1f} GiB each)"
    found = [Finding("memory", "ok", told) if there >= needed else Finding("memory", "fail", told, "free memory, or run elsewhere")]
    try:
        place = os.statvfs("/dev/shm")
    except OSError:
        return found
    shared = place.f_frsize * place.f_blocks / GIB
    if shared < SHARED_GIB:
        told = f"/dev/shm has {shared * 1024:.0f} MiB, which batches made by several processes may fill"
        found.append(Finding("shared memory", "warn", told, "start the container with --shm-size=2g, or --set data.workers=0"))
    return found


def _gpu() -> list[Finding]:
    import torch

    reason, there = gpus()
    if not there and not torch.cuda.is_available():
        return [Finding("GPU", "ok", f"none: cells run on the CPU ({reason or 'torch finds none'})")]
    if not torch.cuda.is_available():
        told = f"the driver shows {there}, and torch {torch.__version__} cannot use them"
        return [Finding("GPU", "warn", told, "install a torch built for this driver's CUDA")]
    found = []
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        told = f"{facts.name}, {facts.total_memory / GIB:.0f} GiB" + ("" if torch.cuda.is_bf16_supported() else "; no bfloat16")
        found.append(Finding(f"GPU {number}", "ok", told))
    return found
