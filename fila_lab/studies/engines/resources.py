"""What a cell takes of a node: how to run, not what. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fila_lab.config import ConfigError, RunConfig

GIB = 2**30


@dataclass(frozen=True)
class Resources:
    """What one cell takes of one node; memory in bytes, None where nobody counts it."""

    cpus: float
    gpus: float
    memory: float | None = None

    def __str__(self) -> str:
        parts = [f"{self.cpus:g} CPU{'' if self.cpus == 1 else 's'}"]
        parts += [f"{self.gpus:g} GPU{'' if self.gpus == 1 else 's'}"] if self.gpus else []
        parts += [f"{self.memory / GIB:.1f} GiB"] if self.memory else []
        return ", ".join(parts)


@dataclass(frozen=True)
class CellResources:
    """What the user says of a cell's share; None takes it from the cell's own `runtime`."""

    cpus: float | None = None
    gpus: float | None = None
    memory_gib: float | None = None

    def of(self, config: RunConfig, processes: int = 1) -> Resources:
        """A cell's share: threads and devices of its runtime where nothing is said; a cell on several devices has them all on one node,
        for it is one task. processes: of so many threads each, where it is no cell.

        Raises:
            ConfigError: a share that no cell, or not this one, can run on.
        """
        runtime = config.runtime
        cpus = float(runtime.threads * runtime.devices * processes) if self.cpus is None else self.cpus
        if not 0 < cpus < 1e5:
            raise ConfigError(f"--cell-cpus = {cpus:g}: a cell computes on CPUs; give e.g. --cell-cpus {runtime.threads}")
        memory = None if self.memory_gib is None else self.memory_gib * GIB
        if memory is not None and not 0 < memory < 1e18:
            raise ConfigError(f"--cell-memory = {self.memory_gib:g}: give GiB, e.g. --cell-memory 8")
        return Resources(cpus, self._gpus(config), memory)

    def _gpus(self, config: RunConfig) -> float:
        runtime = config.runtime
        if runtime.accelerator != "gpu":
            return 0.0
        if self.gpus is None:
            return float(runtime.devices)
        if self.gpus >= runtime.devices and float(self.gpus).is_integer():
            return self.gpus
        if 0 < self.gpus < 1 and runtime.devices == 1:
            return self.gpus
        rule = (
            "a share between 0 and 1, or whole GPUs" if runtime.devices == 1 else f"at least runtime.devices = {runtime.devices} whole GPUs"
        )
        raise ConfigError(f"--cell-gpus = {self.gpus:g}: give {rule}")

    def check(self, configs: Iterable[RunConfig]) -> None:
        """Refuse what no cell of a plan can run on.

        Raises:
            ConfigError: naming the option.
        """
        runs = list(configs)
        for config in runs:
            self.of(config)
        if runs and self.gpus is not None and not any(config.runtime.accelerator == "gpu" for config in runs):
            raise ConfigError(
                f"--cell-gpus = {self.gpus:g}: the study's cells compute on CPUs; leave it out, or --set runtime.accelerator=gpu"
            )
