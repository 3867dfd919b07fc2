"""The search of a study's run: one driver's, from its first batch to what it has frozen; other drivers read that."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fila_lab.config import FilaError, RunConfig, Tuning
from fila_lab.studies.display import Display
from fila_lab.studies.engines import Engine, Event, Job
from fila_lab.studies.faults import Faults
from fila_lab.studies.folder import CellLog
from fila_lab.studies.lock import Shard
from fila_lab.studies.options import Options
from fila_lab.studies.plan import CellSpec, Plan
from fila_lab.studies.searches.phase import run_phase
from fila_lab.studies.searches.searching import Seams, Searching
from fila_lab.studies.searches.sweep import Sweeper
from fila_lab.studies.searches.trial_mirrors import TrialMirrors
from fila_lab.studies.searches.trials_file import read_front
from fila_lab.studies.searches.tuning import Tuner, read_winners
from fila_lab.studies.store import ResultStore


@dataclass(frozen=True)
class Hands:
    """What a run does for its search."""

    say: Callable[[str], None]
    job: Callable[[CellSpec], Job]
    record: Callable[[Event], Event]
    """Stores a finished cell."""
    prepare: Callable[[Iterable[RunConfig]], None]
    """Fills the shared caches."""
    faults: Faults
    rerun: frozenset[str]
    """Failed cells that are run again."""


class StudySearch:
    """The search that a plan's budget asks for."""

    def __init__(self, plan: Plan, store: ResultStore, options: Options, code: str, hands: Hands) -> None:
        self.plan, self.store, self.options, self.code, self.hands = plan, store, options, code, hands
        self.kind = "tuning" if isinstance(plan.search, Tuning) else "sweep"
        self._searching: Searching | None = None

    def job_options(self, cell: CellSpec) -> dict[str, Any]:
        """Of a trial's cell: it leaves the test pool alone, and ends where a pruner stops it."""
        rule = self._searching.phase.rules.get(cell.id) if self._searching is not None else None
        return {"test": False} | ({"stop": rule} if rule is not None else {})

    def run(self, engine: Engine, display: Display) -> dict[str, Any]:
        """Run it to its end; the arguments of `make_plan` that say what it found.

        Raises:
            MachineError: the machine failed; nothing is frozen, and the next start goes on.
        """
        plan, hands = self.plan, self.hands
        with CellLog(self.store.root / self.kind) as kept:

            def announce(cell: CellSpec, done: bool) -> None:
                kept.add(cell)
                if not done:
                    of_arm = f"{cell.arm} " if self.kind == "tuning" else ""  # a sweep's trials are laid over one arm, and are others
                    display.add(cell.id, f"{of_arm}trial {cell.trial}", cell.seed)

            def record(event: Event) -> Event:
                event = hands.record(event)
                display.update(event)
                return event

            seams = Seams(self.store, self.code, announce, hands.say, hands.rerun, self.options.measure)
            searching: Searching = Tuner(plan, seams) if isinstance(plan.search, Tuning) else Sweeper(plan, seams)
            self._searching = searching
            mirrors = self._mirrors(searching)
            first = searching.phase.first()
            mirrors.catch_up()
            searching.phase.shown = mirrors.show
            if first:
                hands.prepare(cell.config for cell in (*first, *plan.cells))
            with display:
                run_phase(searching.phase, first, engine, hands.job, record, hands.faults)
        return searching.settle()

    def _mirrors(self, searching: Searching) -> TrialMirrors:
        key = self.options.sweep_key or f"{self.plan.study.name}-{self.plan.budget}"
        by_arm, url = isinstance(self.plan.search, Tuning), self.options.sweep_storage
        return TrialMirrors(self.store.root, searching.folder, searching.searches, key, by_arm, url)

    def left(self) -> str:
        """What to say of it after Ctrl-C."""
        what = "tuning comes first" if self.kind == "tuning" else "the sweep comes first"
        if self._searching is None:
            return what
        searches = self._searching.searches.values()
        return f"{what} ({sum(len(one.told) for one in searches)} of {sum(one.most for one in searches)} trials told)"


def frozen(plan: Plan, root: Path, shard: Shard) -> dict[str, Any]:
    """What the search of a folder has frozen, for a driver that has its share of the cells: one search cannot be shared out by cells.

    Raises:
        FilaError: it has not ended.
    """
    if isinstance(plan.search, Tuning):
        found: dict[str, Any] = {"winners": read_winners(root, plan.search, plan.study.metric, plan.arms)}
        verb, file = "tunes", "tuning/winners.yaml is written"
    else:
        found = {"front": read_front(root, plan)}
        verb, file = "sweeps", "sweep/trials.json is complete"
    if None in found.values():
        raise FilaError(
            f"--shard {shard}: budget {plan.budget!r} {verb} first, and a search has one driver; run without --shard "
            f"until {root}/{file} (then Ctrl-C), and start the shards"
        )
    return found
