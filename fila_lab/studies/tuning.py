"""The tuning phase: every arm, the baseline included, gets the same search on validation items; the winners are then frozen.

Written to `tuning/`: `trials.csv`, `winners.yaml` (its `winners` block fits a study file) and `optuna.db`. Optuna's heartbeat is off: it
serves trials that `Study.optimize` runs, and here a lost trial is found by its missing result.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import yaml

from fila_lab.config import ConfigError, MachineError
from fila_lab.config.files import write_atomically
from fila_lab.config.study import Tuning
from fila_lab.config.yaml_files import read_yaml
from fila_lab.studies.engines import Engine, Event, Finished, Job
from fila_lab.studies.faults import Faults
from fila_lab.studies.plan import CellSpec
from fila_lab.studies.result import CellResult
from fila_lab.studies.search import ArmSearch, Trial, at_edge, sampler_arguments
from fila_lab.studies.sqlite import SQLITE_FILES, sqlite_url
from fila_lab.studies.store import ResultStore

log = logging.getLogger("fila_lab")

Winners = dict[str, dict[str, float]]
MakeCell = Callable[[str, int, Mapping[str, float]], CellSpec]
"""(arm, trial number, parameters) -> the cell whose validation metric is the trial's value."""


def trial_value(result: CellResult, metric: str) -> float | None:
    """The validation metric; None when the cell failed or has no such number."""
    return result.validation.get(metric) if result.status == "done" else None


class TuningPhase:
    """Asks, runs and tells. One trial of each arm is under way at a time, so an arm's search depends on nothing but its own history."""

    def __init__(
        self,
        tuning: Tuning,
        metric: str,
        arms: Sequence[str],
        make_cell: MakeCell,
        store: ResultStore,
        study_name: str,
        *,
        announce: Callable[[CellSpec, bool], None],
        storage_url: str | None = None,
        rerun: frozenset[str] = frozenset(),
    ) -> None:
        self.tuning = tuning
        self.metric = metric
        self.make_cell = make_cell
        self.store = store
        self.announce = announce
        self.rerun = rerun
        self.folder = store.root / "tuning"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cells: dict[str, CellSpec] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if storage_url is None:
            # Ours alone: a search is replayed from the results, and the database is for looking at.
            for suffix in SQLITE_FILES:
                (self.folder / f"optuna.db{suffix}").unlink(missing_ok=True)
            storage_url = sqlite_url(self.folder / "optuna.db")
        storage = optuna.storages.RDBStorage(storage_url)
        self.searches = {arm: ArmSearch(arm, tuning, storage, study_name) for arm in arms}
        self._waiting: dict[str, list[tuple[ArmSearch, Trial]]] = {}

    def first(self) -> list[CellSpec]:
        """The cells to begin with: per arm the first trial without a result."""
        return [cell for search in self.searches.values() if (cell := self._advance(search)) is not None]

    def finished(self, cell_id: str) -> list[CellSpec]:
        """Tell the searches that waited for this cell, and ask them on."""
        result = self.store.get(cell_id)
        if result is None:
            raise MachineError(f"--out: the result of cell {cell_id} has vanished from {self.store.root}; mend it and run the same command")
        ready = []
        for search, trial in self._waiting.pop(cell_id, []):
            search.tell(trial, trial_value(result, self.metric))
            cell = self._advance(search)
            if cell is not None:
                ready.append(cell)
        return ready

    def _advance(self, search: ArmSearch) -> CellSpec | None:
        """Replay from the folder up to the first trial without a result.

        None when the search is complete, or waits for a cell that another arm's equal trial has already asked for.
        """
        while (trial := search.ask()) is not None:
            cell = self.make_cell(search.arm, trial.number, trial.parameters)
            trial.cell_id = cell.id
            known = cell.id in self.cells
            self.cells.setdefault(cell.id, cell)
            result = self.store.get(cell.id)
            again = result is not None and result.status == "failed" and cell.id in self.rerun and not known
            if result is not None and not again:
                self.announce(cell, True)
                search.tell(trial, trial_value(result, self.metric))
                continue
            self._waiting.setdefault(cell.id, []).append((search, trial))
            if len(self._waiting[cell.id]) > 1:
                return None
            self.announce(cell, False)
            return cell
        return None

    def winners(self) -> Winners:
        """Per arm the parameters of its best trial; an arm without a successful trial keeps its configuration, with a warning."""
        found: Winners = {}
        for arm, search in self.searches.items():
            if (winner := search.winner) is not None:
                found[arm] = winner.parameters
            else:
                log.warning("tuning: no trial of arm %r succeeded; it runs with its untuned configuration", arm)
                found[arm] = {}
        return found

    def write(self) -> None:
        """Write the tables."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        edges: dict[str, list[str]] = {}
        for arm, search in self.searches.items():
            winner = search.winner
            if winner is not None and (flagged := at_edge(winner.parameters, self.tuning.space)):
                edges[arm] = list(flagged)
                log.warning("tuning: the winner of arm %r is at the edge of its range for %s; widen tuning.space", arm, ", ".join(flagged))
            for trial in search.trials:
                result = self.store.get(trial.cell_id)
                rows.append(
                    {
                        "arm": arm,
                        "trial": trial.number,
                        "cell": trial.cell_id,
                        "status": result.status if result is not None else "left",
                        "value": trial.value,
                        **trial.parameters,
                        "winner": trial is winner,
                        "at_edge": " ".join(edges.get(arm, ())) if trial is winner else "",
                    }
                )
        write_atomically(self.folder / "trials.csv", pd.DataFrame(rows).to_csv(index=False).encode())
        content = {"winners": self.winners(), "at_edge": edges, "search": describe(self.tuning, self.metric)}
        write_atomically(self.folder / "winners.yaml", yaml.safe_dump(content, sort_keys=False).encode())


def run_tuning(
    phase: TuningPhase,
    first: Sequence[CellSpec],
    engine: Engine,
    make_job: Callable[[CellSpec], Job],
    record: Callable[[Event], Event],
    faults: Faults,
) -> Winners:
    """Run the phase from its first cells to its end on an engine; `record` stores every finished cell before its search is told.

    Raises:
        MachineError: the machine failed under a trial. Its search waits, so nothing is frozen; the next start replays it.
    """
    queue = deque(make_job(cell) for cell in first)

    def listen(event: Event) -> None:
        event = record(event)
        faults.listen(event, queue)
        if isinstance(event, Finished):
            further = [make_job(cell) for cell in phase.finished(event.id)]
            queue.extend(() if faults.stopped else further)

    engine.run(queue, listen)
    faults.check()
    phase.write()
    return phase.winners()


def read_winners(root: Path, tuning: Tuning, metric: str, arms: Sequence[str]) -> Winners | None:
    """The frozen winners of a folder, if its tuning has ended and was this very search."""
    try:
        content = read_yaml(root / "tuning" / "winners.yaml")
        winners = {arm: dict(values) for arm, values in content["winners"].items()}
        same = content["search"] == describe(tuning, metric)
    except (ConfigError, KeyError, TypeError, AttributeError):
        return None
    return winners if same and set(arms) <= set(winners) else None


def describe(tuning: Tuning, metric: str) -> dict[str, Any]:
    """All that determines a search, as it is recorded beside its winners."""
    return {
        "metric": f"validation {metric}",
        "trials": tuning.trials,
        "space": {path: list(ends) for path, ends in tuning.space.items()},
        "sampler": tuning.sampler,
        "sampler_arguments": sampler_arguments(tuning),
        "run_seed": tuning.run_seed,
        "set": tuning.set,
        "optuna": optuna.__version__,
    }
