"""One `run` of a study: the order of things between a locked folder and its complete results."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from fila_lab.config import FilaError, MachineError, RunConfig
from fila_lab.config.base import ToldInterrupt
from fila_lab.config.faults import KILLED
from fila_lab.config.files import default_cache
from fila_lab.config.weights import TRAINED_PARTS
from fila_lab.studies.arms import get_budget
from fila_lab.studies.claim import PREPARING, clear_work, workdir
from fila_lab.studies.costs import costs_are_current, measure_costs
from fila_lab.studies.display import Display
from fila_lab.studies.engines import Cluster, Engine, Event, Finished, Job, Progress, Undone, make_engine
from fila_lab.studies.faults import Faults
from fila_lab.studies.folder import write_plan
from fila_lab.studies.identity import changed_weights, suites_of
from fila_lab.studies.manifest import cell_manifest, stamp
from fila_lab.studies.mirror.live import LiveMirror
from fila_lab.studies.mirror.parents import Heading
from fila_lab.studies.mirror.points import Points
from fila_lab.studies.options import Options
from fila_lab.studies.plan import CellSpec, Plan, make_plan
from fila_lab.studies.prepare import distinct
from fila_lab.studies.result import failed
from fila_lab.studies.shared_stages import SharedStages
from fila_lab.studies.standing import StandingFile
from fila_lab.studies.store import ResultStore

if TYPE_CHECKING:
    from fila_lab.studies.searches.study_search import StudySearch

log = logging.getLogger("fila_lab")

COSTS = "costs"
LEAVE_SECONDS = 3.0
"""What the mirror has for its last words after Ctrl-C."""


@dataclass
class StudyRun:
    """One `run` of a study, holding the lock of its folder."""

    plan: Plan
    store: ResultStore
    options: Options
    code: str
    console: Console
    cells: dict[str, CellSpec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = f"{stamp(time.time())} {socket.gethostname()} {os.getpid()}"
        self.failed_before = frozenset(self.store.failures()) if self.options.retry_failed else frozenset()
        self._prepared: set[str] = set()
        self.shared = SharedStages(self._cache, self.store.root, self.code, self.options.stage_function)
        self.faults = Faults(self._say)
        self.search: StudySearch | None = None
        self.points = Points(lambda cell_id: workdir(self.store.root, self.code, cell_id))
        self.standing = StandingFile(self.store.root, self.options.shard, self._workers)
        self.mirror = LiveMirror(
            self.store.root,
            self.options.tracking_uri,
            Heading.of_study(self.plan.study, self.plan.budget, self.plan.study_hash),
            self.name,
            self.cells,
            system_metrics=self.options.system_metrics,
            say=self._say,
        )

    @property
    def _workers(self) -> int:
        return self.options.workers or get_budget(self.plan.study, self.plan.budget).workers

    def run(self) -> Path:
        """The search, main cells, costs, mirror; returns the folder.

        Raises:
            MachineError: the machine failed; what could be finished is recorded, and nothing for the cells it failed under.
        """
        try:
            with self.standing:
                return self._complete()
        except KeyboardInterrupt:
            self._say(self._remaining())
            raise ToldInterrupt from None
        finally:
            self.mirror.close("KILLED", LEAVE_SECONDS)

    def _complete(self) -> Path:
        root = self.store.root
        with make_engine(self.options.engine, workers=self._workers, root=root, cluster=self._cluster()) as engine:
            if self.plan.provisional:
                plan, found = self.plan, self._found(engine)
                self.plan = make_plan(plan.study, plan.budget, plan.overrides, step_seconds=plan.step_seconds, **found)
            write_plan(root, self.plan, self.code)
            self._run_main(engine)
        if not self._missing(all_shards=True):
            clear_work(root, self.code)
            self._draw()
        if self.options.tracking:
            self.mirror.close()  # before the costs, beside whose measurement nothing runs
        self._measure()
        self.faults.check()
        return root

    def _found(self, engine: Engine) -> dict[str, Any]:
        """What the budget's search comes to, as `make_plan` is told."""
        from fila_lab.studies.searches.study_search import Hands, StudySearch, frozen

        root, plan, shard = self.store.root, self.plan, self.options.shard
        if shard is not None:
            return frozen(plan, root, shard)
        write_plan(root, plan, self.code)
        record, prepare = partial(self._record, engine=engine), partial(self._ready, engine)
        hands = Hands(self._say, self._job, record, prepare, self.faults, self.failed_before)
        self.search = StudySearch(plan, self.store, self.options, self.code, hands)
        return self.search.run(engine, self._display(self.search.kind, engine))

    def _cluster(self) -> Cluster:
        suites = frozenset(suite for cell in self.plan.cells for suite in suites_of(cell.config))
        return Cluster(self.options.address, self.options.cell, self._cache, suites, self._say)

    def _say(self, message: str) -> None:
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    # Cells ---------------------------------------------------------------------------------------------------------

    def _job(self, cell: CellSpec) -> Job:
        options: dict[str, Any] = {}
        if cell.phase != "main" and self.search is not None:
            options |= self.search.job_options(cell)
        elif self.options.checkpoints:
            options["checkpoint"] = self.store.folder(cell.id) / TRAINED_PARTS
        if ends := self.shared.ends(cell.config):
            options["ends"] = ends
        self.cells[cell.id] = cell
        return Job(cell.id, cell.config, workdir(self.store.root, self.code, cell.id), self._cache, options, self.options.cell_function)

    @property
    def _cache(self) -> Path:
        return self.options.cache_dir or default_cache()

    def _record(self, event: Event, engine: Engine) -> Event:
        """Store a finished cell, and let mirror and folder show what happened; returns what the event comes to when that is looked at."""
        points = self.points.listen(event)
        event = self._stored(event, engine)
        self.standing.listen(event)
        if self.options.tracking:
            for each in (*points, event):
                self.mirror.listen(each)
        return event

    def _stored(self, event: Event, engine: Engine) -> Event:
        if not isinstance(event, Finished):
            return event
        cell = self.cells[event.id]
        if changed := changed_weights(cell.id, cell.config):
            return Undone(event.id, event.worker, "weights changed", changed)
        manifest = cell_manifest(event, cell.config, code=self.code, engine=engine.name, run=self.name)
        result = {**event.result, "id": cell.id}
        try:
            self.store.write(cell.id, result, event.predictions, manifest)
        except ValueError as error:
            message = f"the cell's result does not fit the schema: {error}"
            self.store.write(cell.id, failed(cell.id, cell.config.model_dump(mode="json"), "error", message), None, manifest)
        shutil.rmtree(workdir(self.store.root, self.code, cell.id), ignore_errors=True)
        return event

    def _missing(self, all_shards: bool = False) -> list[CellSpec]:
        """Main cells of this driver's share that have no result, or a failed one to be tried again."""
        shard = None if all_shards else self.options.shard
        done = self.store.done_ids()
        mine = [cell for position, cell in enumerate(self.plan.cells) if shard is None or position % shard.count == shard.index]
        ran = self.cells
        return [cell for cell in mine if cell.id not in done or (cell.id in self.failed_before and cell.id not in ran)]

    def _run_main(self, engine: Engine) -> None:
        missing = self._missing()
        self._ready(engine, (cell.config for cell in missing))
        kept = len(self.plan.cells) - len(missing)
        if kept and missing:
            self._say(f"{kept} of {len(self.plan.cells)} cells are done or not this driver's; {len(missing)} to run")
        with self._display("cells", engine) as display:
            for cell in missing:
                display.add(cell.id, cell.arm, cell.seed)
            for cell_id, outline in self.store.outlines(cell.id for cell in self.plan.cells).items():
                if (seconds := outline.timing.get("total")) is not None and outline.status == "done":
                    display.forecast.measure(cell_id, seconds)

            queue = deque(self._job(cell) for cell in missing)

            def listen(event: Event) -> None:
                event = self._record(event, engine)
                self.faults.listen(event, queue)
                display.update(event)

            engine.run(queue, listen)

    def _ready(self, engine: Engine, configs: Iterable[RunConfig]) -> None:
        """What these cells share: caches, and first training stages.

        Raises:
            MachineError: a disk is full, say; every cell would meet it.
        """
        asked = list(configs)
        self._prepare(engine, asked)
        for jobs in self.shared.rounds(asked):
            self._run_shared(engine, jobs, "shared training stages", "training stages that cells share could not be trained beforehand")

    def _prepare(self, engine: Engine, configs: Iterable[RunConfig]) -> None:
        """Fill the shared caches with all workers first: two cells would otherwise wait for one.

        Raises:
            MachineError: a disk is full, say; every cell would meet it.
        """
        fresh = distinct(configs, self._prepared)
        if self.options.prepare_function is None or not fresh:
            return
        self._prepared.update(fresh)
        first, *_ = every = list(fresh.values())
        options = {"configs": every, "workers": engine.workers}
        place = workdir(self.store.root, self.code, PREPARING)
        job = Job(PREPARING, first, place, self._cache, options, self.options.prepare_function, processes=engine.workers)
        self._run_shared(engine, [job], "pages and features", "the shared caches could not be filled beforehand")

    def _run_shared(self, engine: Engine, jobs: Sequence[Job], what: str, failed: str) -> None:
        """Run jobs whose work cells share. One that fails by itself is left to the cells."""
        with self._display(what, engine) as display:
            for job in jobs:
                display.add(job.id, *((PREPARING, None) if job.id == PREPARING else ("stages", job.config.seed)))

            def listen(event: Event) -> None:
                display.update(event)
                self.standing.listen(event)
                if isinstance(event, Finished) and event.result.get("failure"):  # why has been said by the display
                    log.warning("%s; each cell does it for itself", failed)
                elif isinstance(event, Undone) and event.kind == KILLED:
                    log.warning("%s (%s); each cell does it for itself", failed, event.reason)
                elif isinstance(event, Undone):
                    raise MachineError(event.reason, event.kind)
                elif isinstance(event, Finished):
                    shutil.rmtree(workdir(self.store.root, self.code, event.id), ignore_errors=True)

            engine.run(deque(jobs), listen)

    def _display(self, what: str, engine: Engine) -> Display:
        arms = {cell.id: cell.arm for cell in self.plan.cells}
        seeds = {cell.id: cell.seed for cell in self.plan.cells}
        return Display(f"{self.plan.study.name} ({self.plan.budget}) {what}", arms, seeds, engine.workers, self.console)

    def _remaining(self) -> str:
        """What to say after Ctrl-C."""
        by_arm: dict[str, list[str]] = {}
        for cell in self._missing():
            by_arm.setdefault(cell.arm, []).append(str(cell.seed))
        arms = "; ".join(f"{arm} seeds {', '.join(seeds)}" for arm, seeds in by_arm.items()) or "none"
        note = f", {self.search.left()}" if self.plan.provisional and self.search is not None else ""
        return f"stopped; finished cells are kept in {self.store.root}. Left: {arms}{note}. The same command goes on."

    # Gallery and costs ----------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        """The gallery is an extra: without it the report lists flips as text."""
        from fila_lab.studies.gallery import write_gallery

        try:
            write_gallery(self.plan, self.store, self.code)
        except (FilaError, OSError, ValueError) as error:
            log.warning("the gallery could not be drawn (%s); the report will list its triplets as text", error)

    def _measure(self) -> None:
        """Costs, when all cells of all shards are there and nothing else runs; after failures only where they are asked for."""
        if self.options.costs is False or self._missing(all_shards=True):
            return
        configs = {arm: next(cell.config for cell in self.plan.cells if cell.arm == arm) for arm in self.plan.arms}
        if costs_are_current(self.store.root, configs, self.code):
            return
        failures = self.store.failures()
        lost = sum(cell.id in failures for cell in self.plan.cells)
        if lost and self.options.costs is None:
            self._say(f"costs are not measured, for {lost} cells failed; --retry-failed runs them again, --costs measures all the same")
            return
        with Display(f"{self.plan.study.name} ({self.plan.budget}) costs", {}, {}, 1, self.console) as display:
            display.add(COSTS, COSTS, None)

            def progress(phase: str, done: int, total: int) -> None:
                display.update(Progress(COSTS, 0, phase, done, total))

            began = time.time()
            if measure_costs(self.store.root, configs, self.code, self.options.measure, progress):
                display.update(Finished(COSTS, 0, {"status": "done"}, None, {}, began, time.time(), socket.gethostname()))
