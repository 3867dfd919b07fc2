"""Engines run cells: `inline` in the driver, `process` on this machine, `ray` on a cluster."""

from __future__ import annotations

from pathlib import Path

from fila_lab.config.base import ConfigError, did_you_mean
from fila_lab.studies.engines.base import (
    CELL_FUNCTION,
    Engine,
    Event,
    Finished,
    Job,
    Listener,
    Progress,
    Restarted,
    Started,
    Tick,
    Undone,
    Warned,
    resolve_function,
)
from fila_lab.studies.engines.cluster import Cluster
from fila_lab.studies.engines.resources import CellResources

ENGINES = ("inline", "process", "ray")


def make_engine(name: str, *, workers: int, root: Path, cluster: Cluster | None = None) -> Engine:
    """The engine of that name, for the study in the folder `root`; `cluster` is ray's.

    Raises:
        ConfigError: unknown name, or no worker.
        FilaError: ray is not installed.
    """
    if workers < 1:
        raise ConfigError(f"workers={workers} runs nothing; choose at least 1")
    if name == "inline":
        from fila_lab.studies.engines.inline import InlineEngine

        return InlineEngine()
    if name == "process":
        from fila_lab.studies.engines.process import ProcessEngine

        return ProcessEngine(workers, root / "logs")
    if name == "ray":
        from fila_lab.studies.engines.ray_engine import RayEngine

        return RayEngine(workers, root, cluster or Cluster())
    raise ConfigError(f"engine={name!r} is unknown{did_you_mean(name, ENGINES)}; choose one of {', '.join(ENGINES)}")


__all__ = [
    "CELL_FUNCTION",
    "ENGINES",
    "CellResources",
    "Cluster",
    "Engine",
    "Event",
    "Finished",
    "Job",
    "Listener",
    "Progress",
    "Restarted",
    "Started",
    "Tick",
    "Undone",
    "Warned",
    "make_engine",
    "resolve_function",
]
