"""Whether this machine can do what a plan asks for: its devices, its memory, its settings. Looked at before anything is computed.

Imports no torch: what CUDA has is asked of its driver, in a process of its own, and only where a run wants a GPU.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from fila_lab.config import ConfigError, RunConfig
from fila_lab.config.files import cache_limit
from fila_lab.config.language_folder import lacking_tokens, template_warning
from fila_lab.config.runtime_checks import check_installed, check_launched
from fila_lab.studies.estimate import check_memory_of
from fila_lab.studies.plan import Plan

_COUNT = """
import ctypes
cuda = ctypes.CDLL("libcuda.so.1")
found = ctypes.c_int()
print(found.value if cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(found)) == 0 else 0)
"""
"""Asks the driver, which heeds CUDA_VISIBLE_DEVICES. In another process: after cuInit no fork of this one could use a GPU."""
SECONDS = 20
BF16 = ("avx512_bf16", "amx_bf16", "bf16")
"""What a processor says (x86 and ARM) that multiplies in bfloat16 itself."""


def check_machine(plan: Plan, workers: int, force: bool = False, elsewhere: bool = False) -> list[str]:
    """Refuse a plan that this machine cannot carry out; `force`: return the messages instead, but for settings that are no settings.

    elsewhere: cells run on other machines, whose devices and memory are not known here.

    Raises:
        ConfigError: a setting of the environment that cannot be read, an absent device, too little memory.
    """
    cache_limit()
    if elsewhere:
        return []
    messages = []
    try:
        for cell in plan.cells:
            check_launched(cell.config.runtime)
            check_installed(cell.config.runtime)
        check_devices(cell.config for cell in plan.cells)
    except ConfigError as error:
        if not force:
            raise
        messages.append(str(error))
    return [*messages, *emulation_warning(cell.config for cell in plan.cells), *check_memory_of(plan, workers, force)]


def processor_flags() -> set[str]:
    """What the processor says it can do; empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.lower().startswith(("flags", "features"))), set())


def emulation_warning(runs: Iterable[RunConfig]) -> list[str]:
    """What is to be said where runs multiply in bfloat16 on a processor that has no instructions for it."""
    flags = processor_flags()
    if not flags or flags.intersection(BF16):
        return []
    if not any(run.runtime.accelerator == "cpu" and run.runtime.precision == "bf16" for run in runs):
        return []
    return [
        "runtime.precision = 'bf16': this processor has no bfloat16 instructions, and PyTorch emulates them, up to 80 times slower than "
        "float32; use --set runtime.precision=fp32 (cells of their own), or a machine that has them"
    ]


def template_warnings(runs: Iterable[RunConfig]) -> list[str]:
    """What is to be said of templates whose special tokens the runs' tokenizers lack, each once."""
    languages = {repr(run.language): run.language for run in runs}.values()
    told = [template_warning(language, lacking_tokens(language)) for language in languages]
    return list(dict.fromkeys(warning for warning in told if warning is not None))


def check_devices(runs: Iterable[RunConfig]) -> None:
    """Refuse runs that want a GPU where there is none, or more than there are.

    Raises:
        ConfigError: with what is there.
    """
    wanted = max((run.runtime.devices for run in runs if run.runtime.accelerator == "gpu"), default=0)
    if not wanted:
        return
    reason, there = gpus()
    if there is None or wanted <= there:
        return
    if not there:
        raise ConfigError(f"runtime.accelerator = 'gpu': {reason}; use --set runtime.accelerator=cpu, or a machine with a GPU")
    raise ConfigError(f"runtime.devices = {wanted}: {there} GPU{'s are' if there > 1 else ' is'} here; use --set runtime.devices={there}")


@functools.cache
def gpus() -> tuple[str, int | None]:
    """(why there is none, how many CUDA devices torch would find here); None where only torch could tell (a ROCm build)."""
    built = _torch_built_for()
    if built is None:
        return "the installed torch is built without CUDA", 0
    if built == "hip":
        return "", None
    try:
        told = subprocess.run([sys.executable, "-I", "-S", "-c", _COUNT], capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "", None
    if told.returncode:
        return "no CUDA driver is here", 0
    return "no CUDA device is here (or CUDA_VISIBLE_DEVICES hides it)", int(told.stdout.strip() or 0)


def _torch_built_for() -> str | None:
    """`cuda`, `hip`, or None, from torch's own record of its build, which is read and not imported."""
    found = importlib.util.find_spec("torch")
    if found is None or not found.origin:
        return None
    try:
        text = (Path(found.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return "cuda"
    kinds = [kind for kind in ("cuda", "hip") if re.search(rf"^{kind}\b[^=]*=\s*['\"]", text, re.MULTILINE)]
    return kinds[0] if kinds else None
