"""Tuning: every arm, the baseline included, gets the same search on validation items; the winners are then frozen.

Written to `tuning/`: `trials.csv` and `winners.yaml`, whose `winners` block fits a study file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from fila_lab.config import ConfigError, Tuning
from fila_lab.config.files import write_atomically
from fila_lab.config.search import Objective
from fila_lab.config.space import Parameters
from fila_lab.config.yaml_files import read_yaml, yaml_text
from fila_lab.studies.plan import CellSpec, Plan, trial_cells
from fila_lab.studies.result import CellResult
from fila_lab.studies.searches.phase import SearchPhase
from fila_lab.studies.searches.search import Search, Trial, at_edge
from fila_lab.studies.searches.searching import Seams, Searching, mean_metric
from fila_lab.studies.searches.trials import tuning_run

log = logging.getLogger("fila_lab")

Winners = dict[str, Parameters]
FOLDER = "tuning"


class Tuner(Searching):
    """The tuning of one run of a study."""

    folder = FOLDER

    def __init__(self, plan: Plan, seams: Seams) -> None:
        assert isinstance(plan.search, Tuning)
        self.plan, self.tuning, self.store = plan, plan.search, seams.store
        goal = Objective(plan.study.metric, "maximize")
        self.searches = {arm: Search(self.tuning, [goal], f"{plan.study.name}/{arm}") for arm in plan.arms}
        self.phase = SearchPhase(self.searches, self._cells, self._values, seams.store, announce=seams.announce, rerun=seams.rerun)

    def _cells(self, arm: str, number: int, parameters: Parameters) -> Sequence[CellSpec]:
        plan = self.plan
        run = tuning_run(plan.study, plan.budget, arm, parameters, plan.overrides, plan.step_seconds)
        return trial_cells(run, arm, "tuning", number, self.tuning.seeds)

    def _values(self, trial: Trial, cells: Sequence[CellSpec], results: Sequence[CellResult]) -> tuple[float, ...]:
        return (mean_metric(self.plan.study.metric, results),)

    def settle(self) -> dict[str, Any]:
        """Write the tables; what `make_plan` is told."""
        winners = {arm: search.front[0] for arm, search in self.searches.items() if search.front}
        for arm in self.searches:
            if arm not in winners:
                log.warning("tuning: no trial of arm %r succeeded; it runs with its untuned configuration", arm)
        edges = {arm: flagged for arm, trial in winners.items() if (flagged := at_edge(trial.parameters, self.tuning.dimensions))}
        for arm, flagged in edges.items():
            log.warning("tuning: the winner of arm %r is at the edge of its range for %s; widen tuning.space", arm, ", ".join(flagged))
        self._write(winners, edges)
        return {"winners": {arm: winners[arm].parameters if arm in winners else {} for arm in self.searches}}

    def _write(self, winners: Mapping[str, Trial], edges: Mapping[str, Sequence[str]]) -> None:
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for arm, search in self.searches.items():
            for trial in search.trials:
                won = trial is winners.get(arm)
                row = {
                    "arm": arm,
                    "trial": trial.number,
                    "cell": " ".join(trial.cells),
                    "status": {"complete": "done"}.get(trial.state, trial.state),
                    "value": trial.value,
                    **trial.parameters,
                    "winner": won,
                    "at_edge": " ".join(edges.get(arm, ())) if won else "",
                }
                rows.append(row)
        folder = self.store.root / FOLDER
        write_atomically(folder / "trials.csv", pd.DataFrame(rows).to_csv(index=False).encode())
        content = {
            "winners": {arm: winners[arm].parameters if arm in winners else {} for arm in self.searches},
            "at_edge": {arm: list(flagged) for arm, flagged in edges.items()},
            "search": describe(self.tuning, self.plan.study.metric),
        }
        write_atomically(folder / "winners.yaml", yaml_text(content, allow_unicode=False).encode())


def read_winners(root: Path, tuning: Tuning, metric: str, arms: Sequence[str]) -> Winners | None:
    """The frozen winners of a folder, if its tuning has ended and was this very search."""
    try:
        content = read_yaml(root / FOLDER / "winners.yaml")
        winners = {arm: dict(values) for arm, values in content["winners"].items()}
        same = content["search"] == describe(tuning, metric)
    except (ConfigError, KeyError, TypeError, AttributeError):
        return None
    return winners if same and set(arms) <= set(winners) else None


def describe(tuning: Tuning, metric: str) -> dict[str, Any]:
    """All that determines a search, as it is recorded beside its winners."""
    seeds = {"run_seed": tuning.run_seed} if tuning.run_seeds is None else {"run_seeds": list(tuning.run_seeds)}
    return {
        "metric": f"validation {metric}",
        "trials": tuning.trials,
        "space": tuning.space,
        "sampler": tuning.sampler_name,
        "sampler_arguments": tuning.sampler_arguments,
        **seeds,
        "set": tuning.set,
        "optuna": optuna.__version__,
    }
