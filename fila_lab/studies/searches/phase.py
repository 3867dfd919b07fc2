"""Searches at work: every batch's trials become cells, run, and are told; replayed from the folder at every start.

One search, or one an arm. Each waits for nothing but its own batch, so what it asks depends on its own history alone.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial

from fila_lab.config import ConfigError, MachineError, RunConfig
from fila_lab.config.space import Parameters
from fila_lab.studies.engines import Engine, Event, Finished, Job
from fila_lab.studies.faults import Faults
from fila_lab.studies.plan import CellSpec
from fila_lab.studies.result import CellResult
from fila_lab.studies.searches.pruning import LastRule, StopRule
from fila_lab.studies.searches.search import Search, Trial
from fila_lab.studies.store import ResultStore

log = logging.getLogger("fila_lab")

MakeCells = Callable[[str, int, Parameters], Sequence[CellSpec]]
"""(arm, trial number, parameters) -> its cells, a seed each; raises ConfigError where the parameters cannot go together."""
MakeRule = Callable[[Trial, RunConfig, tuple[FrozenTrial, ...]], StopRule]
Values = Callable[[Trial, Sequence[CellSpec], Sequence[CellResult]], tuple[float, ...]]
"""(trial, its cells, their results: none where nothing runs) -> a value an objective; raises NoValue."""


class NoValue(Exception):
    """A trial has no value; says why."""


@dataclass
class Batch:
    """The trials a search asked together. missing: ids of their cells without a result."""

    trials: list[Trial]
    cells: dict[int, Sequence[CellSpec]] = field(default_factory=dict)
    rules: dict[int, StopRule] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)


class SearchPhase:
    """Asks, runs and tells.

    Args:
        searches: arm -> its search.
        make_cells, values: what a trial is, and what it comes to.
        store: the results.
        announce: told every cell that a trial asks for, and whether its result is there.
        told: told a search after each of its batches.
        make_rule: (trial, its run, what earlier trials left behind) -> when its cell is stopped early; None: never.
        rerun: failed cells that are to be run again.
        trains: whether trials need cells at all.
    """

    def __init__(
        self,
        searches: Mapping[str, Search],
        make_cells: MakeCells,
        values: Values,
        store: ResultStore,
        *,
        announce: Callable[[CellSpec, bool], None],
        told: Callable[[str], None] = lambda _: None,
        make_rule: MakeRule | None = None,
        rerun: frozenset[str] = frozenset(),
        trains: bool = True,
    ) -> None:
        self.searches = dict(searches)
        self.make_cells, self.values, self.store = make_cells, values, store
        self.announce, self.told, self.make_rule = announce, told, make_rule
        self.rerun = rerun
        self.trains = trains
        self.shown: Callable[[str, Sequence[Trial]], None] = lambda *_: None
        """Called with a search and the trials of a batch, when that has begun and when it is told."""
        self.rules: dict[str, StopRule | LastRule] = {}
        """Id of a cell that may be stopped early -> when."""
        self._seen: set[str] = set()
        self._running: set[str] = set()
        self._open: dict[str, Batch] = {}
        self._history: dict[str, list[FrozenTrial]] = {arm: [] for arm in searches}

    def first(self) -> list[CellSpec]:
        """The cells to begin with: of each search the first batch that lacks results."""
        return [cell for arm in self.searches for cell in self._advance(arm)]

    def finished(self, cell_id: str) -> list[CellSpec]:
        """Tell the searches whose batch is complete with this cell, and ask them on."""
        if self.store.get(cell_id) is None:
            raise MachineError(f"--out: the result of cell {cell_id} has vanished from {self.store.root}; mend it and run the same command")
        self._running.discard(cell_id)
        ready = []
        for arm, batch in list(self._open.items()):
            if cell_id not in batch.missing:
                continue
            batch.missing.discard(cell_id)
            if not batch.missing:
                self._tell(arm)
                ready += self._advance(arm)
        return ready

    def _advance(self, arm: str) -> list[CellSpec]:
        """Replay from the folder up to the first batch that lacks results: its cells that nobody has asked for yet. None are left when the
        search is complete, or waits for cells that another search's equal trial has asked for."""
        search = self.searches[arm]
        while trials := search.ask():
            batch = self._open[arm] = Batch(trials)
            left = [cell for trial in trials for cell in self._cells(arm, trial, batch)]
            if batch.missing:
                self.shown(arm, trials)
                return left
            self._tell(arm)
        return []

    def _cells(self, arm: str, trial: Trial, batch: Batch) -> list[CellSpec]:
        """The cells of a trial that have no result, and that nobody has asked for yet."""
        try:
            cells = self.make_cells(arm, trial.number, trial.parameters)
        except ConfigError as error:
            trial.state, trial.reason = "impossible", str(error)
            return []
        batch.cells[trial.number] = cells
        if not self.trains:
            return []
        trial.cells = tuple(cell.id for cell in cells)
        rule = None
        if self.make_rule is not None:
            rule = batch.rules[trial.number] = self.make_rule(trial, cells[0].config, tuple(self._history[arm]))
        left = []
        for cell in cells:
            there = self._counts(cell, rule)
            self.announce(cell, there)
            if there:
                continue
            batch.missing.add(cell.id)
            if rule is not None:  # the cell runs for as long as any trial of the batch asks for it
                self.rules[cell.id] = LastRule((self.rules[cell.id], rule)) if cell.id in self._running else rule
            if cell.id not in self._running:
                self._seen.add(cell.id)
                self._running.add(cell.id)
                left.append(cell)
        return left

    def _counts(self, cell: CellSpec, rule: StopRule | None) -> bool:
        """Whether the cell has a result that this trial can be told. One that was stopped for an equal trial, or by another search, is not
        when this trial goes on beyond that; it is replaced by a longer one, from which the other trial can still be told."""
        result = self.store.get(cell.id)
        if result is None:
            return False
        if result.status == "failed" and cell.id in self.rerun and cell.id not in self._seen:
            return False
        return result.pruned is None or (rule is not None and rule.stopped(_validations(result).items()) is not None)

    def _tell(self, arm: str) -> None:
        """Tell a complete batch, in the order of its numbers."""
        search, batch = self.searches[arm], self._open.pop(arm)
        for trial in batch.trials:
            if trial.state != "impossible":
                self._settle(trial, batch.cells[trial.number], batch.rules.get(trial.number))
        for trial in batch.trials:
            search.tell(trial)
            if (rule := batch.rules.get(trial.number)) is not None:
                left_behind = rule.told(trial.intermediate.items(), complete=trial.state == "complete")
                self._history[arm] += [left_behind] if left_behind is not None else []
        self.shown(arm, batch.trials)
        self.told(arm)

    def _settle(self, trial: Trial, cells: Sequence[CellSpec], rule: StopRule | None) -> None:
        """What its cells' results come to."""
        results = [result for cell in cells if self.trains and (result := self.store.get(cell.id)) is not None]
        if results:
            trial.intermediate = _validations(results[0])
        # Before a failure: a cell that failed for another search does so beyond the step at which this one would have ended it.
        stopped = rule.stopped(trial.intermediate.items()) if rule is not None else None
        if stopped is not None:
            trial.intermediate = {step: value for step, value in trial.intermediate.items() if step <= stopped}
            trial.state, trial.reason = "pruned", f"stopped at step {stopped}"
            return
        failed = [f"cell {cell.id} failed" for cell, result in zip(cells, results, strict=False) if result.status == "failed"]
        if failed:
            trial.state, trial.reason = "failed", failed[0]
            return
        try:
            trial.values = self.values(trial, cells, results)
            trial.state = "complete"
        except NoValue as error:
            trial.state, trial.reason = "failed", str(error)


def _validations(result: CellResult) -> dict[int, float]:
    """Step -> validation of its curve."""
    return {point.step: point.validation for point in result.curve if point.validation is not None}


def run_phase(
    phase: SearchPhase,
    first: Sequence[CellSpec],
    engine: Engine,
    make_job: Callable[[CellSpec], Job],
    record: Callable[[Event], Event],
    faults: Faults,
) -> None:
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
