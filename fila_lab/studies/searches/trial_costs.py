"""Costs of a sweep's trials: counted in closed form, or measured once a configuration and kept, so that a search is replayed with the same
figures. Measuring is the driver's own work, between batches, when no cell is under way.
"""

from __future__ import annotations

import json
import logging
import math
import platform
from pathlib import Path
from typing import Any

from fila_lab.config import MachineError, RunConfig
from fila_lab.config.faults import machine_fault
from fila_lab.config.files import write_atomically
from fila_lab.config.json_files import read_json
from fila_lab.config.search import COUNTED, MEASURED
from fila_lab.cost.closed.matching import amount
from fila_lab.studies.costs import Measure, arms_measure, cost_identity
from fila_lab.studies.result import without_nan
from fila_lab.studies.rows import row_flops
from fila_lab.studies.searches.phase import NoValue

log = logging.getLogger("fila_lab")

COSTS = "costs.json"
TRIAL = "trial"


def counted(config: RunConfig, name: str) -> float:
    """`flops` of a page and its question (of runs on files, of a row that is tested), or `parameters`.

    Raises:
        ConfigError: no closed form counts the fusion.
    """
    if name == "flops" and (of_rows := row_flops(config)) is not None:
        return of_rows
    return amount(config, "flops" if name == "flops" else "parameters")


class TrialCosts:
    """The costs of one sweep's configurations, kept in its folder."""

    def __init__(self, folder: Path, code: str, measure: Measure | None) -> None:
        self.folder, self.code, self.measure = folder, code, measure
        self.machine = platform.node()
        self._known: dict[str, dict[str, Any]] = self._read()

    def of(self, config: RunConfig, name: str) -> float:
        """One cost of a configuration: FLOPs, a count, milliseconds an image, or MiB.

        Raises:
            NoValue: it cannot be measured here.
            MachineError: measuring failed.
        """
        if name in COUNTED:
            return counted(config, name)
        identity = cost_identity(config)
        if identity not in self._known:
            self._known[identity] = {"machine": self.machine, "code_hash": self.code, "costs": self._measured(config)}
            write_atomically(self.folder / COSTS, (json.dumps(self._known, indent=1) + "\n").encode())
        value = self._known[identity]["costs"].get(MEASURED[name])
        if value is None or not math.isfinite(value):
            raise NoValue(f"no {name} could be measured")
        return float(value)

    def _measured(self, config: RunConfig) -> dict[str, Any]:
        try:
            costs = (self.measure or arms_measure())({TRIAL: config}, self.folder, lambda *_: None)
        except Exception as error:
            if (fault := machine_fault(error)) is not None:
                raise fault from error
            raise MachineError(
                f"the costs of a trial could not be measured ({type(error).__name__}: {error}); the same command tries again"
            ) from error
        return dict(without_nan(costs[TRIAL]))

    def _read(self) -> dict[str, dict[str, Any]]:
        """What is kept; measured elsewhere, or with other code, it stays what this search was told."""
        try:
            known = read_json(self.folder / COSTS)
            found = {str(key): entry for key, entry in known.items() if all(map(_is_cost, entry["costs"].values()))}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}
        others = {(entry.get("machine"), entry.get("code_hash")) for entry in found.values()} - {(self.machine, self.code)}
        if others:
            log.warning(
                "%s holds costs that were measured on another machine or with other code; further ones may not compare", self.folder / COSTS
            )
        return found


def _is_cost(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
