"""What became of a front's points on fresh seeds: their values with intervals, how surely they stay on the front, who dominates them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from fila_lab.analysis.folder import Cell, StudyFolder
from fila_lab.analysis.front import dominators, front_shares, mean_draws, median_draws, settled
from fila_lab.analysis.searched import value_at
from fila_lab.analysis.statistics import CONFIDENCE, paired_interval
from fila_lab.analysis.trials_file import TrialsFile
from fila_lab.config.base import ConfigError
from fila_lab.config.cell_checks import check_numbers, finite
from fila_lab.config.json_files import read_json
from fila_lab.config.run import RunConfig
from fila_lab.config.search import COUNTED, MEASURED
from fila_lab.cost.closed.matching import amount

DRAWS = 2000
"""Bootstrap draws of a share on the front, and of the interval of a latency."""
ROUNDS = "costs.rounds.json"
NOTHING = float("nan")


@dataclass(frozen=True)
class ConfirmedFront:
    """The arms that were made of a sweep's front. costs: as of `load_costs`."""

    folder: StudyFolder
    file: TrialsFile
    costs: pd.DataFrame

    @cached_property
    def cells(self) -> dict[str, list[Cell]]:
        """Arm -> its main cells that are done, in the front's order; arms without one are left out."""
        order = [trial.number for trial in self.file.best]
        arms = sorted(self.file.arms, key=lambda arm: order.index(self.file.arms[arm]) if self.file.arms[arm] in order else len(order))
        found = {arm: [cell for cell in self.folder.main if cell.arm == arm and cell.done] for arm in arms}
        return {arm: own for arm, own in found.items() if own}

    @cached_property
    def points(self) -> pd.DataFrame:
        """One row an arm: arm, number (of its trial), seeds; of each objective `<name>` (a metric: mean over fresh seeds on test items; a
        cost: as counted or measured), `<name> low` and `<name> high` (95 %: t over seeds, of a latency bootstrap over rounds; NaN without
        either), `<name> search` (what the search saw); of metrics `<name> fresh`, low and high (mean over fresh seeds on validation items,
        which the search looked at); share (on the front, of bootstrap draws), dominated_by (other arms of the front).
        """
        rows = []
        for arm, cells in self.cells.items():
            row: dict[str, Any] = {"arm": arm, "number": self.file.arms[arm], "seeds": len(cells)}
            for name in self.file.names:
                row |= self._metric(arm, name) if name in self.file.metrics else self._cost(arm, name)
            rows.append(row)
        if not rows:
            return pd.DataFrame(columns=["arm", "number", "seeds", *self.file.names, "share", "dominated_by"])
        table = pd.DataFrame(rows)
        points, arms = table[list(self.file.names)].to_numpy(dtype=float), list(self.cells)
        table["share"] = self._shares(points)
        table["dominated_by"] = [_named(arms, dominators(points, self.file.directions, point)) for point in points]
        return table

    @cached_property
    def declared(self) -> pd.DataFrame:
        """One row a declared arm that is no control or second baseline: arm, seeds; each objective, with bounds of metrics, on the seeds of
        the front's arms (on its own where they share none); dominated_by, dominates (arms of the front). A cost that is not known in the
        trials' terms is NaN, and such an arm dominates nothing.
        """
        fresh = {cell.seed for own in self.cells.values() for cell in own}
        points, directions = self.points[list(self.file.names)].to_numpy(dtype=float), self.file.directions
        rows = []
        for arm in self.folder.arms:
            own = [cell for cell in self.folder.main if cell.arm == arm and cell.done]
            if arm in self.file.arms or not own or self.folder.study.arms[arm].role in ("control", "capacity"):
                continue
            own = [cell for cell in own if cell.seed in fresh] or own
            row: dict[str, Any] = {"arm": arm, "seeds": len(own)}
            for name in self.file.names:
                row |= _interval(name, own, "metrics", name) if name in self.file.metrics else {name: self._declared_cost(own[0], name)}
            point = np.array([row[name] for name in self.file.names], dtype=float)
            row["dominated_by"] = _named(list(self.cells), dominators(points, directions, point))
            row["dominates"] = _named(
                list(self.cells), np.array([dominators([point], directions, other)[0] for other in points], dtype=bool)
            )
            rows.append(row)
        return pd.DataFrame(rows, columns=None if rows else ["arm", "seeds", *self.file.names, "dominated_by", "dominates"])

    @cached_property
    def trials_alone(self) -> dict[str, Any]:
        """What the search set for its trials (path -> value) and the confirmed cells have otherwise."""
        configs = [(cell.result or {}).get("config") or cell.config for own in self.cells.values() for cell in own]
        return {path: value for path, value in self.file.search.set.items() if any(value_at(one, path) != value for one in configs)}

    def _metric(self, arm: str, name: str) -> dict[str, float]:
        cells = self.cells[arm]
        test = _interval(name, cells, "metrics", name)
        return test | {f"{name} search": self._searched(arm, name)} | _interval(f"{name} fresh", cells, "validation", name)

    def _cost(self, arm: str, name: str) -> dict[str, float]:
        searched, measured = self._searched(arm, name), self._measured(arm, name)
        low, high = NOTHING, NOTHING
        if name == "latency" and (rounds := self._rounds.get(arm)):
            drawn, tail = median_draws([rounds], DRAWS, np.random.default_rng(0)), (1 - CONFIDENCE) / 2
            low, high = (float(bound) for bound in np.quantile(drawn, [tail, 1 - tail]))
        value = searched if np.isnan(measured) else measured
        return {name: value, f"{name} low": low, f"{name} high": high, f"{name} search": searched}

    def _shares(self, points: np.ndarray) -> list[float]:
        """Of each arm, over draws of seeds and of latency rounds. NaN below two seeds that all arms have."""
        by_seed = [{cell.seed: cell for cell in own} for own in self.cells.values()]
        seeds = sorted(set.intersection(*(set(own) for own in by_seed)))
        values = {name: np.array([[_value(own[seed], "metrics", name) for seed in seeds] for own in by_seed]) for name in self.file.metrics}
        if len(seeds) < 2 or any(np.isnan(own).any() for own in values.values()):
            return [NOTHING] * len(points)
        rng = np.random.default_rng(0)
        weights = rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=DRAWS)
        rounds = [self._rounds.get(arm, []) for arm in self.cells]
        alike = len({len(own) for own in rounds}) == 1 and bool(rounds[0])
        drawn = []
        for name, column in zip(self.file.names, points.T, strict=True):
            if name in values:
                drawn.append(mean_draws(values[name], weights))
            else:
                latency = name == "latency" and alike
                drawn.append(median_draws(rounds, DRAWS, rng) if latency else np.broadcast_to(column, (DRAWS, len(points))))
        return [float(share) for share in front_shares(np.stack(drawn, axis=2), self.file.directions)]

    def _searched(self, arm: str, name: str) -> float:
        trial = next(trial for trial in self.file.trials if trial.number == self.file.arms[arm])
        return float(self.file.values([trial])[0, self.file.names.index(name)])

    def _measured(self, arm: str, name: str) -> float:
        return float(self.costs[MEASURED[name]].get(arm, NOTHING)) if name in MEASURED else NOTHING

    def _declared_cost(self, cell: Cell, name: str) -> float:
        """In closed form only where that is what the trials have: it must give their own values for the front's arms."""
        if name not in COUNTED:
            return self._measured(cell.arm, name)
        same = all(np.isclose(_amount(own[0], name), self._searched(arm, name), rtol=1e-6, atol=0) for arm, own in self.cells.items())
        return _amount(cell, name) if same else NOTHING

    @cached_property
    def _rounds(self) -> dict[str, list[float]]:
        """Arm -> milliseconds an image in each round of the cost pass; empty where they were not kept."""
        try:
            kept = read_json(self.folder.out / ROUNDS)["milliseconds_per_image"]
            return {arm: [float(value) for value in kept[arm] if finite(value) is not None] for arm in self.file.arms if arm in kept}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def _interval(title: str, cells: list[Cell], part: str, name: str) -> dict[str, float]:
    """Mean with its 95 % t interval over the cells that have the metric."""
    values = [_value(cell, part, name) for cell in cells]
    interval = paired_interval([value for value in values if not np.isnan(value)])
    return {title: float(settled(interval.mean)), f"{title} low": interval.low, f"{title} high": interval.high}


def _value(cell: Cell, part: str, name: str) -> float:
    return check_numbers((cell.result or {}).get(part), part).get(name, NOTHING)


def _amount(cell: Cell, name: str) -> float:
    config: Mapping[str, Any] = (cell.result or {}).get("config") or cell.config
    try:
        return amount(RunConfig.model_validate(config), "flops" if name == "flops" else "parameters")
    except (ConfigError, ValueError):
        return NOTHING


def _named(arms: list[str], chosen: np.ndarray) -> str:
    return ", ".join(arm for arm, kept in zip(arms, chosen, strict=True) if kept)
