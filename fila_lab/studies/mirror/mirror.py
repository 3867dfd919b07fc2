"""The MLflow mirror of one folder: experiment = study, parent run = one `run` of it, child run = cell. The folder stays the truth.

A child is known by its cell alone, and by the digest of its result. Whoever writes holds the mirror's lock. Runs that are RUNNING belong
to a driver that is at work, or are left over from one that was killed: then they are ended, or made anew from the folder.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from fila_lab.config import FilaError
from fila_lab.studies.address import masked
from fila_lab.studies.mirror.cell import manifest_tag, milliseconds, parameters, run_name, values
from fila_lab.studies.mirror.database import BUSY_SECONDS, DATABASE, LOCK, artifacts_uri, default_uri, open_default
from fila_lab.studies.mirror.parents import Heading, Parents
from fila_lab.studies.mirror.points import Point
from fila_lab.studies.mirror.runs import VALUE_LENGTH, ClientRuns, Runs, Shown, Value
from fila_lab.studies.mirror.summary import data_used
from fila_lab.studies.mirror.tables import TableRuns, fits
from fila_lab.studies.result import CellResult
from fila_lab.studies.store import ResultStore

PARENT = "mlflow.parentRunId"
STATUSES = {"done": "FINISHED", "failed": "FAILED"}
"""A result's status -> its run's; what is neither (a pruned cell) was stopped: KILLED, and the tag `status` names it."""
TOGETHER = 100
"""Cells written in one transaction."""


@dataclass
class Child:
    """The run of a cell that a driver shows while it runs, and the values it has (name, step)."""

    run: str
    shown: set[tuple[str, int]] = field(default_factory=set)


class Recorded(NamedTuple):
    """What the folder has of a cell, and the parent of its run."""

    cell: Mapping[str, Any]
    result: CellResult
    manifest: dict[str, Any]
    digest: str
    parent: str


class Mirror:
    """The mirror of the folder `root`, open at `uri` (None: the folder's own database).

    own: the command whose parent this process writes, if it is a driver: the one parent whose runs are its own.

    Raises:
        FilaError: the study's experiment was deleted there.
    """

    def __init__(self, root: Path, uri: str | None, heading: Heading, own: str | None = None) -> None:
        from mlflow.tracking import MlflowClient

        self.root, self.uri, self.heading, self.own = root, uri, heading, own
        self.store = ResultStore(root)
        self.client: MlflowClient = MlflowClient(uri) if uri is not None else open_default(root, heading.name)
        self.experiment = self._open_experiment()
        self.runs: Runs = ClientRuns(self.client, self.experiment)
        if uri is None and fits(root / DATABASE):
            self.runs = TableRuns(root / DATABASE, self.experiment, artifacts_uri(root), BUSY_SECONDS)
        self.parents = Parents(self.client, self.experiment, self.store, uri, heading, _folder_id(root), own)
        self._file = _inode(root / DATABASE)
        self.children: dict[str, list[Shown]] = {}
        """Cell -> its runs."""
        self.running: set[str] = set()
        """Runs of cells that this process shows while they run."""

    def is_there(self) -> bool:
        """Whether the database that was opened is still in its place; a server is asked when it is needed."""
        return self.uri is not None or _inode(self.root / DATABASE) == self._file

    def _open_experiment(self) -> str:
        name = self.heading.name
        found = self.client.get_experiment_by_name(name)
        if found is None:
            place = artifacts_uri(self.root) if self.uri is None else None
            return str(self.client.create_experiment(name, place, {"mlflow.experimentKind": "custom_model_development"}))
        if found.lifecycle_stage == "deleted":
            address = masked(self.uri or default_uri(self.root))
            raise FilaError(
                f"the experiment {name!r} was deleted at {address}; restore it with `MLFLOW_TRACKING_URI={address} mlflow experiments "
                f"restore --experiment-id {found.experiment_id}`, or name another --tracking-uri"
            )
        return str(found.experiment_id)

    # The whole ---------------------------------------------------------------------------------------------------------

    def complete(self, cells: Sequence[Mapping[str, Any]]) -> int:
        """Add what is missing of the plan's cells, replace what is outdated, end what was left, and bring the parents up to date.

        Returns:
            The number of cells added or made anew.
        """
        self._look()
        by_id = {str(cell["id"]): cell for cell in cells}
        alive = self.parents.alive()
        digests = {cell_id: self.store.digest(cell_id) for cell_id in self.store.ids() if cell_id in by_id}
        outdated = (cell_id for cell_id, digest in digests.items() if self._is_outdated(cell_id, digest, alive))
        added = 0
        while cells_left := list(islice(outdated, TOGETHER)):
            found = [each for cell_id in cells_left if (each := self._recorded(by_id[cell_id], digests[cell_id], alive)) is not None]
            with self.runs.together():
                for each in found:
                    self._make_anew(each)
            added += len(found)
        self._end_left_over(alive)
        self._update_parents(by_id, digests, alive)
        return added

    def _look(self) -> None:
        self.parents.look()
        self.children = {}
        for run in self.runs.find("cell"):
            self.children.setdefault(run.tags.get("cell_id", ""), []).append(run)

    def _is_outdated(self, cell_id: str, digest: str, alive: set[str]) -> bool:
        there = self.children.get(cell_id, [])
        if any(self._runs_now(run, alive) for run in there):
            return False
        kept = self._kept(cell_id, digest)
        for run in there:
            if kept is not None and run is not kept:
                self.runs.delete(run.id)
        if kept is not None:
            self.children[cell_id] = [kept]
        return kept is None

    def _runs_now(self, run: Shown, alive: set[str]) -> bool:
        return run.id in self.running or (run.status == "RUNNING" and run.tags.get(PARENT) in alive)

    def _kept(self, cell_id: str, digest: str) -> Shown | None:
        """The run that shows this result, or a later one of the same cell that another folder mirrors to the same place."""
        parents = {run.id for run in self.parents.known.values()}
        ended = [run for run in self.children.get(cell_id, []) if _is_whole(run) and run.tags.get(PARENT) in parents]
        same = next((run for run in ended if run.tags.get("result") == digest), None)
        if same is not None or not ended:
            return same
        finished = str(self.store.manifest(cell_id).get("finished"))
        return next((run for run in ended if run.tags.get("finished", "") > finished), None)

    def _recorded(self, cell: Mapping[str, Any], digest: str, alive: set[str]) -> Recorded | None:
        """What the folder has of a cell; None where nothing counts, and where the driver that made it is about to show it."""
        manifest = self.store.manifest(cell["id"])
        command = str(manifest.get("run", "unknown"))
        if command in self.parents.known and self.parents.known[command].id in alive:
            return None
        result = self.store.get(cell["id"])
        return None if result is None else Recorded(cell, result, manifest, digest, self.parents.get(command).id)

    def _make_anew(self, recorded: Recorded) -> None:
        former = self.children.get(recorded.cell["id"], [])
        self._write(recorded)
        for run in former:
            self.runs.delete(run.id)

    def _end_left_over(self, alive: set[str]) -> None:
        """Runs of killed drivers whose cells have no result yet."""
        for runs in self.children.values():
            for place, run in enumerate(runs):
                if run.status == "RUNNING" and not self._runs_now(run, alive):
                    self.runs.end(run.id, "KILLED")
                    runs[place] = replace(run, status="KILLED")

    # Cells ---------------------------------------------------------------------------------------------------------------

    def begin(self, cell: Mapping[str, Any], config: Mapping[str, Any], began: float) -> Child:
        """Show a cell that runs now; whatever was there of it goes. began: seconds since 1970."""
        former = self.children.pop(cell["id"], [])
        parent = self.parents.get(str(self.own)).id
        run = self.runs.begin(run_name(cell), self._tags(cell, parent, str(self.own)), int(began * 1000))
        self.runs.log(run, parameters=parameters(cell, config))
        for each in former:
            self.runs.delete(each.id)
        self.children[cell["id"]] = [Shown(run, "RUNNING", {PARENT: parent})]
        self.running.add(run)
        return Child(run)

    def show(self, child: Child, points: Iterable[Point]) -> None:
        """Log what of the points the run has not."""
        every = (
            Value(f"curve/{name}", value, int(point.time * 1000), point.step) for point in points for name, value in point.values.items()
        )
        fresh = {(value.name, value.step): value for value in every if (value.name, value.step) not in child.shown}
        self.runs.log(child.run, list(fresh.values()))
        child.shown |= fresh.keys()

    def finish(self, cell: Mapping[str, Any], child: Child | None) -> None:
        """Show a cell's result, in the run that has shown it until now if there is one."""
        result = self.store.get(cell["id"])
        if result is not None:
            manifest, digest = self.store.manifest(cell["id"]), self.store.digest(cell["id"])
            if child is None and any(run.tags.get("result") == digest for run in self.children.get(cell["id"], [])):
                return  # it came with the others of the folder
            self._write(Recorded(cell, result, manifest, digest, self.parents.get(str(self.own)).id), child)

    def leave(self, cell_id: str, child: Child) -> None:
        """The cell was left undone."""
        self.runs.end(child.run, "KILLED")
        self.running.discard(child.run)
        self.children[cell_id] = [replace(run, status="KILLED") for run in self.children.get(cell_id, [])]

    def _tags(self, cell: Mapping[str, Any], parent: str, command: str) -> dict[str, str]:
        about = {"kind": "cell", "cell_id": cell["id"], "arm": cell["arm"], "phase": cell["phase"], PARENT: parent, "run": command}
        return {name: str(value)[:VALUE_LENGTH] for name, value in about.items()}

    def _write(self, recorded: Recorded, child: Child | None = None) -> None:
        cell, result, manifest, digest, parent = recorded
        began, ended = milliseconds(manifest.get("started")), milliseconds(manifest.get("finished"))
        tags = {"finished": str(manifest.get("finished")), "result": digest, "status": result.status, "manifest": manifest_tag(manifest)}
        tags |= {"code_hash": str(manifest.get("code_hash")), "host": str(manifest.get("host"))}
        if result.failure is not None:
            tags |= {"failure": result.failure.kind, "failure_message": result.failure.message[:1000]}
        status = STATUSES.get(result.status, "KILLED")
        every = values(result, manifest, ended)
        if child is not None:
            run = child.run
            self.runs.log(run, [value for value in every if (value.name, value.step) not in child.shown], tags=tags)
        else:
            run = self.runs.begin(run_name(cell), self._tags(cell, parent, str(manifest.get("run", "unknown"))), began)
            try:
                self.runs.log(run, list(every), parameters(cell, result.config), tags)
            except BaseException:
                with suppress(Exception):  # what failed before may fail again; the next sync removes it
                    self.runs.delete(run)
                raise
        self.runs.end(run, status, ended)
        self.running.discard(run)
        self.children[cell["id"]] = [Shown(run, status, {PARENT: parent, "result": digest})]
        metrics = result.metrics if result.status == "done" else {}
        self.parents.note(parent, cell["id"], digest, metrics, data_used(result.config, manifest))

    def summarise(self, cells: Iterable[Mapping[str, Any]]) -> None:
        """Bring the own parent up to date with the cells that are shown."""
        shown = {cell_id: run.tags["result"] for cell_id, runs in self.children.items() for run in runs if "result" in run.tags}
        parent = self.parents.get(str(self.own))
        own = [run for runs in self.children.values() for run in runs if run.tags.get(PARENT) == parent.id and run.id not in self.running]
        self.parents.count(parent, Counter(["cells"] * len(own) + [run.status for run in own]))
        self.parents.list_data(parent.id)
        self.parents.summarise(str(self.own), {str(cell["id"]): cell for cell in cells}, shown)

    def _update_parents(self, cells: Mapping[str, Mapping[str, Any]], digests: Mapping[str, str], alive: set[str]) -> None:
        """Every parent has its counts, its data and an end; the last one what the cells say together, study file and report."""
        counts: dict[str, Counter[str]] = {}
        for run in (run for runs in self.children.values() for run in runs):
            if run.id not in self.running:
                counts.setdefault(run.tags.get(PARENT, ""), Counter()).update(["cells", run.status])
        last = self.parents.last(counts)
        for command, run in list(self.parents.known.items()):
            found = counts.get(run.id, Counter())
            self.parents.count(run, found)
            self.parents.list_data(run.id)
            if command == last:
                self.parents.summarise(command, cells, digests)
            if run.status == "RUNNING" and run.id not in alive and command != self.own:
                self.parents.end(command)


def _is_whole(run: Shown) -> bool:
    """Whether a run ended as its result did."""
    return run.status != "RUNNING" and run.status == STATUSES.get(run.tags.get("status", ""), run.status)


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


def _folder_id(root: Path) -> str:
    """What names a result folder, wherever it is moved; kept in the mirror's lock file. The caller holds the lock."""
    path = root / LOCK
    found = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    if not found:
        found = uuid.uuid4().hex[:16]
        path.write_text(f"{found}\n", encoding="utf-8")
    return found
