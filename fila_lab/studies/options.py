"""How a study is run, as opposed to what is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fila_lab.studies.costs import Measure
from fila_lab.studies.engines import CELL_FUNCTION
from fila_lab.studies.lock import Shard
from fila_lab.studies.prepare import PREPARE_FUNCTION


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what: nothing here can change a result."""

    engine: str = "process"
    workers: int | None = None
    """Cells at once; None: the budget's."""
    shard: Shard | None = None
    tracking_uri: str | None = None
    tracking: bool = True
    system_metrics: bool = False
    """Whether the mirror records the load of the driver's machine."""
    retry_failed: bool = False
    allow_mixed: bool = False
    cache_dir: Path | None = None
    checkpoints: bool = True
    costs: bool | None = None
    """Whether to measure costs after the cells; None: when no cell failed."""
    sweep_storage: str | None = None
    """Database in which searches are shown; None: `optuna.db` in the search's folder."""
    sweep_key: str | None = None
    """Name of the searches there; None: `<study>-<budget>`."""
    cell_function: str = CELL_FUNCTION
    prepare_function: str | None = PREPARE_FUNCTION
    measure: Measure | None = None
