"""How a study is run, as opposed to what is run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fila_lab.config import ConfigError, RunConfig
from fila_lab.studies.costs import Measure
from fila_lab.studies.engines import CELL_FUNCTION, CellResources
from fila_lab.studies.engines.cluster import wanted_address
from fila_lab.studies.lock import Shard
from fila_lab.studies.prepare import PREPARE_FUNCTION
from fila_lab.studies.shared_stages import STAGE_FUNCTION


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what: nothing here can change a result."""

    engine: str = "process"
    address: str | None = None
    """Of the Ray cluster; None: RAY_ADDRESS, else a Ray of the driver's own."""
    cell: CellResources = field(default_factory=CellResources)
    """What a cell takes of a node of the cluster."""
    workers: int | None = None
    """Cells at once; None: the budget's."""
    shard: Shard | None = None
    tracking_uri: str | None = None
    tracking: bool = True
    system_metrics: bool = False
    """Whether the mirror records the load of the driver's machine."""
    retry_failed: bool = False
    allow_mixed: bool = False
    source: Path | None = None
    """Another result folder, published or not, whose cells need not be run again."""
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
    stage_function: str | None = STAGE_FUNCTION
    measure: Measure | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether cells run on other machines, whose devices and memory are not known here."""
        return self.engine == "ray" and wanted_address(self.address) is not None

    def check(self, configs: Iterable[RunConfig]) -> None:
        """Refuse options that say nothing of this engine, or with which no cell of the plan can run.

        Raises:
            ConfigError: naming the option.
        """
        if self.engine == "ray":
            wanted_address(self.address)
            self.cell.check(configs)
            return
        given = {"address": self.address, "cell-cpus": self.cell.cpus, "cell-gpus": self.cell.gpus, "cell-memory": self.cell.memory_gib}
        for name, value in given.items():
            if value is not None:
                raise ConfigError(
                    f"--{name} = {value} is of a Ray cluster, and cells run with --engine {self.engine}; add --engine ray, or leave it out"
                )
