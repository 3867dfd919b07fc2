"""Which precisions, strategies and optimisers go together, and whether what they need is installed. Imports none of it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from importlib.util import find_spec

from fila_lab.config.base import ConfigError
from fila_lab.config.runtime import RuntimeConfig


def check_runtime(runtime: RuntimeConfig) -> None:
    """Refuse what no machine could run.

    Raises:
        ConfigError: the first pair of fields that do not go together, with a remedy.
    """
    cpu = runtime.accelerator == "cpu"
    if runtime.precision == "fp16" and cpu:
        raise ConfigError("runtime.precision = 'fp16' trains on GPUs alone; set runtime.accelerator=gpu, or runtime.precision=bf16")
    if runtime.strategy == "deepspeed" and cpu:
        raise ConfigError("runtime.strategy = 'deepspeed' trains on GPUs alone; set runtime.accelerator=gpu, or runtime.strategy=fsdp")
    if runtime.precision == "fp16" and runtime.strategy == "fsdp":
        raise ConfigError(
            "runtime.precision = 'fp16' scales the loss, which runtime.strategy = 'fsdp' cannot; set runtime.precision=bf16, or "
            "runtime.strategy=ddp"
        )
    if runtime.precision == "fp16" and runtime.fused_optimizer:
        raise ConfigError(
            "runtime.fused_optimizer = true takes the loss's scale out by itself, so that gradients of runtime.precision = 'fp16' cannot "
            "be clipped; set runtime.fused_optimizer=false, or runtime.precision=bf16"
        )
    if runtime.compile and runtime.strategy in ("fsdp", "deepspeed"):
        raise ConfigError(
            f"runtime.compile = true wants whole weights, which runtime.strategy = {runtime.strategy!r} lays in parts; set "
            "runtime.compile=false, or runtime.strategy=ddp"
        )


def check_launched(runtime: RuntimeConfig) -> None:
    """Refuse a cell over several machines where none of them was told so by a launcher: a process starts ranks on its own machine alone.

    Raises:
        ConfigError: with the launcher's command.
    """
    if runtime.nodes > 1 and "LOCAL_RANK" not in os.environ:
        raise ConfigError(
            f"runtime.nodes = {runtime.nodes}: ranks on other machines are a launcher's to start; call fila_lab.training.run_cell from a "
            f"script under `torchrun --nnodes {runtime.nodes} --nproc-per-node {runtime.devices}` on each, or set runtime.nodes=1"
        )


def check_installed(runtime: RuntimeConfig) -> None:
    """Refuse a strategy whose library is not here, and what `check_compiler` refuses.

    Raises:
        ConfigError: with the extra that brings it.
    """
    if runtime.strategy == "deepspeed" and find_spec("deepspeed") is None:
        raise ConfigError(
            "runtime.strategy = 'deepspeed': DeepSpeed is not installed; install it with `pip install 'fila-lab[deepspeed]'`, or set "
            "runtime.strategy=fsdp"
        )
    check_compiler(runtime)


def check_compiler(runtime: RuntimeConfig) -> None:
    """Refuse compilation without a compiler.

    Raises:
        ConfigError: with the compiler that is looked for.
    """
    if not runtime.compile:
        return
    without = "or set runtime.compile=false"
    if runtime.accelerator == "gpu":  # Triton builds its launchers
        variable, language, usual = "CC", "C", ["gcc", "clang"]
    else:
        variable, language, usual = "CXX", "C++", ["clang++" if sys.platform == "darwin" else "g++"]
    named = os.environ.get(variable)
    if named is not None:
        if not (words := shlex.split(named)) or shutil.which(words[0]) is None:
            raise ConfigError(f"runtime.compile = true: there is no {language} compiler {variable}={named!r}; mend {variable}, {without}")
    elif not any(map(shutil.which, usual)):
        raise ConfigError(
            f"runtime.compile = true: no {language} compiler is here ({' or '.join(usual)}); install one, name it in {variable}, {without}"
        )
