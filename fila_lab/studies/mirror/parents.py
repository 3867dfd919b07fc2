"""The runs of a study's commands: the parents of its cells' runs, and what they show of all cells together."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fila_lab.config import StudyConfig
from fila_lab.config.files import write_atomically
from fila_lab.studies.lock import drivers
from fila_lab.studies.mirror.cell import milliseconds
from fila_lab.studies.mirror.database import ARTIFACTS
from fila_lab.studies.mirror.runs import VALUE_LENGTH, ClientRuns, Shown, Value
from fila_lab.studies.mirror.summary import DataUsed, arm_means, as_input, as_metrics, as_table
from fila_lab.studies.store import ResultStore

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SEEN_SECONDS = 600.0
"""A driver of another folder that has not been seen for so long is taken for gone."""
DATASETS = 500
"""The most datasets that a parent lists."""


@dataclass(frozen=True)
class Heading:
    """What the mirror says of a study as a whole."""

    name: str
    question: str
    metric: str
    budget: str
    study_hash: str

    @staticmethod
    def of(plan: Mapping[str, Any]) -> Heading:
        """Of a `plan.json`."""
        study = plan["study"]
        return Heading(study["name"], study["question"], study["metric"], plan["budget"], plan["study_hash"])

    @staticmethod
    def of_study(study: StudyConfig, budget: str, study_hash: str) -> Heading:
        """Of a study that is about to run."""
        return Heading(study.name, study.question, study.metric, budget, study_hash)


class Parents:
    """The parents of one experiment, by their commands; few, and written by MLflow's client.

    folder: names the result folder; own: the command of this process, if it is a driver: the one parent that is its own.
    """

    def __init__(
        self, client: MlflowClient, experiment: str, store: ResultStore, uri: str | None, heading: Heading, folder: str, own: str | None
    ) -> None:
        self.client, self.store, self.uri, self.heading, self.folder, self.own = client, store, uri, heading, folder, str(own)
        self.runs = ClientRuns(client, experiment)
        self.known: dict[str, Shown] = {}
        """Command -> its run; read at once, for a driver that opens its mirror again has a run already."""
        self.look()
        self._used: dict[str, set[DataUsed]] = {}
        """Parent -> datasets to be listed there."""
        self._listed: dict[str, set[DataUsed]] = {}
        self._metrics: dict[str, tuple[str, dict[str, float | None]]] = {}
        """Cell -> digest and metrics of its result, once read."""

    def look(self) -> None:
        """Read what is there."""
        self.known = {run.tags.get("run", ""): run for run in self.runs.find("run")}

    def alive(self) -> set[str]:
        """The parents of other drivers that are at work: by their lock where they drive this folder, else by when they were last seen."""
        here = {f"{driver.host} {driver.pid}" for driver in drivers(self.store.root)}
        found = set()
        for command, run in self.known.items():
            seen = run.tags.get("seen", "")
            recent = seen.isdigit() and time.time() - int(seen) < SEEN_SECONDS
            ours = run.tags.get("folder") == self.folder
            if run.status == "RUNNING" and command != self.own and recent and (not ours or command.partition(" ")[2] in here):
                found.add(run.id)
        return found

    def get(self, command: str) -> Shown:
        """The run of a command, made where there is none."""
        if command not in self.known:
            about = {"kind": "run", "run": command, "question": self.heading.question, "budget": self.heading.budget}
            tags = about | {"study_hash": self.heading.study_hash, "folder": self.folder}
            tags = {name: text[:VALUE_LENGTH] for name, text in tags.items()}
            run = self.runs.begin(f"{self.heading.budget} {command}", tags, milliseconds(command.partition(" ")[0]))
            self.known[command] = Shown(run, "RUNNING", tags)
        return self.known[command]

    def seen(self) -> None:
        """Say that the own driver is at work."""
        parent, now = self.get(self.own), str(int(time.time()))
        if parent.status != "RUNNING":
            self.client.update_run(parent.id, status="RUNNING")
        self.runs.log(parent.id, tags={"seen": now, "folder": self.folder})
        self.known[self.own] = replace(parent, status="RUNNING", tags={**parent.tags, "seen": now, "folder": self.folder})

    def measure(self, values: Mapping[str, float], step: int) -> None:
        """Metrics of the own parent, as they are now."""
        now = int(time.time() * 1000)
        self.runs.log(self.get(self.own).id, [Value(name, value, now, step) for name, value in values.items()])

    def close(self, status: str) -> None:
        """End the own parent."""
        parent = self.get(self.own)
        self.runs.end(parent.id, status)
        self.known[self.own] = replace(parent, status=status)

    def last(self, counts: Mapping[str, object]) -> str | None:
        """The last command of this folder that has cells."""
        ours = [command for command, run in self.known.items() if run.tags.get("folder", self.folder) == self.folder]
        return max((command for command in ours if self.known[command].id in counts), key=_age, default=None)

    def end(self, command: str) -> None:
        """A driver that is gone: its run ends."""
        self.runs.end(self.known[command].id, "FINISHED")
        self.known[command] = replace(self.known[command], status="FINISHED")

    def note(self, parent: str, cell_id: str, digest: str, metrics: Mapping[str, float | None], used: set[DataUsed]) -> None:
        """What a cell that has just been shown has measured, and on which data."""
        self._metrics[cell_id] = digest, dict(metrics)
        self._used.setdefault(parent, set()).update(used)

    def count(self, parent: Shown, found: Counter[str]) -> None:
        """How many cells a parent has, and how many of them failed."""
        counts = {"cells": found["cells"], "failed": found["FAILED"]}
        told = json.dumps(counts)
        if parent.tags.get("counts") != told:
            now = int(time.time() * 1000)
            self.runs.log(parent.id, [Value(name, float(count), now) for name, count in counts.items()], tags={"counts": told})
            command = parent.tags.get("run", "")
            self.known[command] = replace(self.known[command], tags={**self.known[command].tags, "counts": told})

    def list_data(self, parent: str) -> None:
        """List the data that its cells used."""
        listed = self._listed.setdefault(parent, set())
        fresh = sorted(self._used.pop(parent, set()) - listed)[: DATASETS - len(listed)]
        if fresh:
            self.client.log_inputs(parent, [as_input(used) for used in fresh])
            listed.update(fresh)

    def summarise(self, command: str, cells: Mapping[str, Mapping[str, Any]], digests: Mapping[str, str]) -> None:
        """Means and intervals, study file and report on a command's parent, where they are not as they were."""
        run = self.get(command)
        main = {cell_id: digest for cell_id, digest in digests.items() if cell_id in cells and cells[cell_id]["phase"] == "main"}
        tags: dict[str, str] = {}
        if run.tags.get("cells") != (state := _digest(json.dumps(sorted(main.items())).encode())):
            means = arm_means(((cells[cell_id]["arm"], self._measured(cell_id, main[cell_id])) for cell_id in main), self.heading.metric)
            now = int(time.time() * 1000)
            self.runs.log(run.id, [Value(name, value, now) for name, value in as_metrics(means).items()])
            self._attach(run.id, "arms.csv", as_table(means).encode())
            tags["cells"] = state
        for name, path in {"study": self.store.root / "study.yaml", "report": self.store.root / "report" / "report.html"}.items():
            if path.is_file() and run.tags.get(name) != (state := _digest(path.read_bytes())):
                self._attach(run.id, path.name, path.read_bytes())
                tags[name] = state
        if tags:
            self.runs.log(run.id, tags=tags)
            self.known[command] = replace(run, tags={**run.tags, **tags})

    def _attach(self, run: str, name: str, content: bytes) -> None:
        """A file of a run."""
        if self.uri is not None:
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / name).write_bytes(content)
                self.client.log_artifact(run, str(Path(folder) / name))
            return
        # MLflow remembers for the rest of a process where a run's files lay, and the folder may have been copied.
        place = self.store.root / ARTIFACTS / run / "artifacts"
        place.mkdir(parents=True, exist_ok=True)
        write_atomically(place / name, content, durable=False)

    def _measured(self, cell_id: str, digest: str) -> dict[str, float | None]:
        """Metrics of a cell that is done; read once, and without validating what is mirrored already."""
        if cell_id not in self._metrics or self._metrics[cell_id][0] != digest:
            content: dict[str, Any] = {}
            with suppress(OSError, ValueError):
                content = self.store.kept.result(cell_id) or {}
            self._metrics[cell_id] = digest, dict(content.get("metrics") or {}) if content.get("status") == "done" else {}
        return self._metrics[cell_id][1]


def _age(command: str) -> tuple[bool, str]:
    """Sorts commands by their beginning, which their name starts with."""
    return command[:1].isdigit(), command


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
