"""Where and how costs are measured: device, precision, threads; what is not there is refused in one message."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from fila_lab.config.base import ConfigError, did_you_mean
from fila_lab.config.run import RunConfig
from fila_lab.modeling.precision import fast_bf16

DEVICES = ("cpu", "cuda")
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Setting:
    """device: cpu or cuda; precision: of the products (weights are float32); threads: of the CPU."""

    device: str = "cpu"
    precision: str = "bf16"
    threads: int = 1

    def __post_init__(self) -> None:
        for option, value, known in (("--device", self.device, DEVICES), ("--precision", self.precision, PRECISIONS)):
            if value not in known:
                raise ConfigError(
                    f"{option} {value!r} is unknown{did_you_mean(value, known)}; choose {', '.join(known[:-1])} or {known[-1]}"
                )
        cores = os.cpu_count() or 1
        if not 1 <= self.threads <= cores:
            raise ConfigError(f"--threads {self.threads}: this machine has {cores} cores; choose 1 to {cores}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("--device 'cuda': PyTorch sees no CUDA device here; use --device cpu, or run on a machine with a GPU")
        if self.device == "cpu" and self.precision == "fp16":
            raise ConfigError("--precision 'fp16' is for GPUs; use --precision bf16, or --device cuda")
        if self.device == "cuda" and self.precision == "bf16" and not torch.cuda.is_bf16_supported():
            raise ConfigError(f"--precision 'bf16': {self.device_name} has no bfloat16; use --precision fp32")

    def __str__(self) -> str:
        return f"{self.device}, {self.precision}, {self.threads} threads"

    @property
    def warning(self) -> str | None:
        """What makes figures of this setting unlike those elsewhere."""
        if self.device == "cpu" and self.precision == "bf16" and not fast_bf16():
            return "--precision bf16: this processor has no bfloat16 instructions; PyTorch emulates them, slower than float32"
        return None

    @property
    def device_name(self) -> str:
        """The processor's or the GPU's own name."""
        return torch.cuda.get_device_name() if self.device == "cuda" else processor()

    def applied(self, config: RunConfig) -> RunConfig:
        """The run in this setting."""
        runtime = {"precision": self.precision, "threads": self.threads, "accelerator": "gpu" if self.device == "cuda" else "cpu"}
        return config.model_copy(update={"runtime": config.runtime.model_copy(update=runtime)})

    @contextmanager
    def threaded(self) -> Iterator[None]:
        """PyTorch on this many CPU threads inside."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def processor() -> str:
    """Model name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
