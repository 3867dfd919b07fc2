"""The sweep of a study: trials over any fields, the front of the best, and the arms that its points become.

Written to `sweep/`: `trials.json`, and `costs.json` where costs are measured.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from fila_lab.config import RunConfig, Sweep, schemas
from fila_lab.config.files import write_atomically
from fila_lab.config.json_files import read_json
from fila_lab.config.pruners import pruner_arguments
from fila_lab.config.space import Parameters
from fila_lab.studies.arms import resolve_arm
from fila_lab.studies.identity import cell_id
from fila_lab.studies.plan import CellSpec, Plan, trial_cells
from fila_lab.studies.result import CellResult
from fila_lab.studies.searches.checks import check_possible
from fila_lab.studies.searches.phase import SearchPhase
from fila_lab.studies.searches.pruning import StopRule
from fila_lab.studies.searches.search import Search, Trial
from fila_lab.studies.searches.searching import Seams, Searching, mean_metric
from fila_lab.studies.searches.trial_costs import TrialCosts
from fila_lab.studies.searches.trials import sweep_run, swept_arm, trial_name, with_trials
from fila_lab.studies.searches.trials_file import FOLDER, TRIALS, describe

log = logging.getLogger("fila_lab")

WRITE_SECONDS = 10.0
"""At most so often are trials written while the search goes on."""


class Sweeper(Searching):
    """The sweep of one run of a study."""

    folder = FOLDER

    def __init__(self, plan: Plan, seams: Seams) -> None:
        assert isinstance(plan.search, Sweep)
        self.plan, self.sweep, self.seams = plan, plan.search, seams
        self.root = seams.store.root / FOLDER
        self.root.mkdir(parents=True, exist_ok=True)
        self.arm = swept_arm(plan.study, self.sweep)
        self.search = Search(self.sweep, self.sweep.goals, plan.study.name)
        self.searches = {self.arm: self.search}
        self.costs = TrialCosts(self.root, seams.code, seams.measure)
        self._written = time.monotonic()
        self._clear()
        self.phase = SearchPhase(
            self.searches,
            self._cells,
            self._values,
            seams.store,
            announce=seams.announce,
            told=self._told,
            make_rule=self._rule if self.sweep.pruned else None,
            rerun=seams.rerun,
            trains=self.sweep.runs_cells,
        )

    def _cells(self, arm: str, number: int, parameters: Parameters) -> Sequence[CellSpec]:
        plan = self.plan
        run = sweep_run(plan.study, plan.budget, self.sweep, number, parameters, plan.overrides, plan.step_seconds)
        check_possible(run)
        return trial_cells(run, arm, "sweep", number, self.sweep.seeds)

    def _values(self, trial: Trial, cells: Sequence[CellSpec], results: Sequence[CellResult]) -> tuple[float, ...]:
        return tuple(
            self.costs.of(cells[0].config, goal.name) if goal.kind == "cost" else mean_metric(goal.name, results)
            for goal in self.sweep.goals
        )

    def _rule(self, trial: Trial, run: RunConfig, history: tuple[optuna.trial.FrozenTrial, ...]) -> StopRule:
        arguments = pruner_arguments(self.sweep.pruner, run.train.steps, run.train.validate_every)
        return StopRule(
            self.sweep.pruner.name, arguments, self.sweep.goals[0].direction, self.search.name, trial.number, run.train.steps, history
        )

    def _told(self, arm: str) -> None:
        """Say and write, now and then, how far it is."""
        if time.monotonic() - self._written < WRITE_SECONDS:
            return
        self._written = time.monotonic()
        self._write({})
        impossible = sum(trial.state == "impossible" for trial in self.search.trials)
        lost = f", {impossible} of them impossible" if impossible else ""
        told, front = len(self.search.told), self.search.front
        best = f"{len(front)} on the front"
        if len(self.sweep.goals) == 1:
            best = (
                f"the best so far: {self.sweep.goals[0].name} {front[0].values[0]:.4g} in trial {front[0].number}"
                if front and front[0].values
                else "none complete"
            )
        self.seams.say(f"sweep: {told} of {self.search.most} trials{lost}; {best}")

    def _clear(self) -> None:
        """What another search has found here is no answer to this one's question, not even until this one has its own."""
        try:
            other = read_json(self.root / TRIALS)["search"] != describe(self.plan)
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            other = True
        if other:
            self._write({})

    def settle(self) -> dict[str, Any]:
        """Freeze the front, and write it; what `make_plan` is told."""
        arms = self._arms() if self.sweep.confirm is not None else {}
        self._write(arms)
        if not self.search.front:
            reason = next((trial.reason for trial in self.search.trials if trial.reason), "without a reason")
            log.warning("sweep: none of the %s trials is complete, so there is no front (the first: %s)", len(self.search.trials), reason)
        return {"front": {name: trial.parameters for name, trial in arms.items() if name not in self.plan.study.arms}}

    def _arms(self) -> dict[str, Trial]:
        """The arms that the front's points become. One that is a declared arm is that arm; of two that come to the same run, the first."""
        plan = self.plan
        ids = {cell.id: cell.arm for cell in plan.cells}
        assert self.sweep.confirm is not None
        seed = self.sweep.confirm.of(plan.seeds)[0]
        arms: dict[str, Trial] = {}
        for trial in self.search.front:
            name = trial_name(trial.number)
            study = with_trials(plan.study, self.sweep, {name: trial.parameters})
            run, _ = resolve_arm(study, plan.budget, name, seed, plan.overrides, {}, plan.step_seconds)
            arms.setdefault(ids.setdefault(cell_id(run), name), trial)
        return arms

    def _write(self, arms: Mapping[str, Trial]) -> None:
        """Write the trials as they stand."""
        content = {
            "schema": schemas.TRIALS,
            "search": describe(self.plan),
            "objectives": [goal.to_dict() for goal in self.sweep.goals],
            "trials": [trial.to_dict() for trial in self.search.trials if trial.state != "running"],
            "complete": self.search.ended,
            "front": [trial.number for trial in self.search.front],
            "arms": {name: trial.number for name, trial in arms.items()},
        }
        write_atomically(self.root / TRIALS, (json.dumps(content, indent=1) + "\n").encode())
