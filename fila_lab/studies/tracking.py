"""MLflow as a mirror of the folder: experiment = study, parent run = one `run` of it, child run = cell. The folder stays the truth.

`sync` may be called at any time and any number of times: it adds what is missing, whoever computed it, and replaces what is outdated or
was left unfinished by a killed driver. A child is known by its cell alone, and by the digest of its result.
"""

from __future__ import annotations

import calendar
import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fila_lab.config import FilaError
from fila_lab.config.faults import machine_fault
from fila_lab.config.files import file_lock
from fila_lab.studies.folder import read_plan
from fila_lab.studies.mirror_address import check_address
from fila_lab.studies.mirror_database import DATABASE, LOCK, artifacts_uri, default_uri, open_default
from fila_lab.studies.result import CellResult
from fila_lab.studies.store import ResultStore

log = logging.getLogger("fila_lab")

PARAMETER_LENGTH = 250
PARAMETERS_AT_ONCE = 100
METRICS_AT_ONCE = 1000


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and text values, cut at MLflow's length; the whole configuration is an artifact."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)[:PARAMETER_LENGTH]


def try_sync(root: Path, uri: str | None = None) -> bool:
    """`sync` that never ends a study: a failure is one warning. Returns whether the mirror is complete."""
    try:
        sync(root, uri)
    except FilaError as error:
        where = uri or root / DATABASE
        log.warning("tracking at %s failed (%s); the study goes on, and `fila-lab sync %s` completes the mirror later", where, error, root)
        return False
    return True


def sync(root: Path, uri: str | None = None) -> int:
    """Complete the mirror of a study's folder.

    Returns:
        The number of cells added or made anew.

    Raises:
        FilaError: no study in the folder, nobody at the URI, or what MLflow says, with what to do.
    """
    root = Path(root)
    plan = read_plan(root)
    if plan is None:
        raise FilaError(f"--out: {root} holds no plan.json; name the folder of a study that has been run")
    if uri is not None:
        check_address(uri)
    try:
        # One writer at a time: two would add the same cell twice.
        with file_lock(root / LOCK):
            _quiet()
            return _Mirror(root, uri, plan).complete()
    except FilaError:
        raise
    except Exception as error:  # MLflow passes on what SQLAlchemy, SQLite, requests and the file system raise
        what = f"--tracking-uri: {uri}" if uri is not None else str(root / DATABASE)
        if (fault := machine_fault(error)) is not None:
            remedy = f"then give `fila-lab sync {root}` again"
            raise FilaError(f"{what}: the mirror cannot be completed ({fault.kind}); mend that, {remedy}") from error
        said = " ".join(str(error).split())[:300] or type(error).__name__
        remedy = (
            "see that an MLflow server or database is there and can be written" if uri else "mend it, or move it away to have it made anew"
        )
        raise FilaError(f"{what}: the mirror cannot be completed ({said}); {remedy}, then give `fila-lab sync {root}` again") from error


def _quiet() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    import mlflow.tracking  # noqa: F401

    # mlflow sets its own level when it is imported.
    logging.getLogger("mlflow").setLevel(logging.WARNING)


class _Mirror:
    def __init__(self, root: Path, uri: str | None, plan: dict[str, Any]) -> None:
        from mlflow.tracking import MlflowClient

        self.store = ResultStore(root)
        self.plan = plan
        name = plan["study"]["name"]
        self.client = MlflowClient(uri) if uri is not None else open_default(root, name)
        experiment = self.client.get_experiment_by_name(name)
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            number = experiment.experiment_id
            address = uri or default_uri(root)
            raise FilaError(
                f"the experiment {name!r} was deleted at {address}; restore it with `MLFLOW_TRACKING_URI={address} mlflow experiments "
                f"restore --experiment-id {number}`, or name another --tracking-uri"
            )
        artifacts = artifacts_uri(root) if uri is None else None
        self.experiment = experiment.experiment_id if experiment else self.client.create_experiment(name, artifact_location=artifacts)

    def complete(self) -> int:
        """Add what is missing and replace what is outdated, then close every parent."""
        cells = {cell["id"]: cell for cell in self.plan["cells"]}
        parents = {run.data.tags.get("run", ""): run.info.run_id for run in self._search("run")}
        children: dict[str, list[Any]] = {}
        for run in self._search("cell"):
            children.setdefault(run.data.tags.get("cell_id", ""), []).append(run)
        added = 0
        for cell_id, result in self.store.results(cells).items():
            manifest, digest = self.store.manifest(cell_id), self.store.digest(cell_id)
            there = children.get(cell_id, [])
            kept = next((run for run in there if _is_current(run, digest, manifest, parents.values())), None)
            if kept is None:
                command = str(manifest.get("run", "unknown"))
                parent = parents.get(command) or parents.setdefault(command, self._parent(command))
                self._add(cells[cell_id], result, manifest, parent, digest)
                added += 1
            for run in there:
                if run is not kept:
                    self.client.delete_run(run.info.run_id)
        self._close()
        return added

    def _search(self, kind: str) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = self.client.search_runs([self.experiment], f"tags.kind = '{kind}'", max_results=1000, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _parent(self, command: str) -> str:
        tags = {"kind": "run", "run": command, "question": self.plan["study"]["question"]}
        tags |= {"budget": self.plan["budget"], "study_hash": self.plan["study_hash"]}
        return str(self.client.create_run(self.experiment, tags=tags, run_name=f"{self.plan['budget']} {command}").info.run_id)

    def _close(self) -> None:
        """Every parent ends with the counts of its children, those of killed drivers included."""
        counts: dict[str, dict[str, float]] = {}
        for run in self._search("cell"):
            count = counts.setdefault(run.data.tags.get("mlflow.parentRunId", ""), {"cells": 0, "failed": 0})
            count["cells"] += 1
            count["failed"] += run.info.status == "FAILED"
        for parent in self._search("run"):
            count = counts.get(parent.info.run_id, {"cells": 0, "failed": 0})
            for name, value in count.items():
                if parent.data.metrics.get(name) != value:
                    self.client.log_metric(parent.info.run_id, name, value)
            if parent.info.status == "RUNNING":
                self.client.set_terminated(parent.info.run_id, "FINISHED")

    def _add(self, cell: dict[str, Any], result: CellResult, manifest: dict[str, Any], parent: str, digest: str) -> None:
        began, ended = _milliseconds(manifest.get("started")), _milliseconds(manifest.get("finished"))
        tags = {"kind": "cell", "cell_id": cell["id"], "arm": cell["arm"], "phase": cell["phase"], "mlflow.parentRunId": parent}
        tags |= {"run": str(manifest.get("run", "unknown")), "finished": str(manifest.get("finished")), "result": digest}
        tags |= {"code_hash": str(manifest.get("code_hash")), "host": str(manifest.get("host"))}
        if result.failure is not None:
            tags |= {"failure": result.failure.kind, "failure_message": result.failure.message[:1000]}
        trial = f" trial {cell['trial']}" if cell["trial"] is not None else ""
        name = f"{cell['arm']} seed {cell['seed']}{trial}"
        child = self.client.create_run(self.experiment, start_time=began, tags=tags, run_name=name).info.run_id
        try:
            self._fill(child, cell, result, manifest, ended)
        except BaseException:
            with suppress(Exception):  # what failed before may fail again; the next sync removes it
                self.client.delete_run(child)
            raise
        self.client.set_terminated(child, "FINISHED" if result.status == "done" else "FAILED", end_time=ended)

    def _fill(self, child: str, cell: dict[str, Any], result: CellResult, manifest: dict[str, Any], ended: int) -> None:
        from mlflow.entities import Metric, Param

        parameters = [Param(key, value) for key, value in flatten({"arm": cell["arm"], **result.config})]
        metrics = [Metric(key, value, ended, 0) for key, value in _values(result)]
        for point in result.curve:
            series = {"curve/loss": point.loss, "curve/learning_rate": point.learning_rate, "curve/validation": point.validation}
            metrics += [Metric(key, value, ended, point.step) for key, value in series.items() if value is not None]
        for start in range(0, len(parameters), PARAMETERS_AT_ONCE):
            self.client.log_batch(child, params=parameters[start : start + PARAMETERS_AT_ONCE])
        for start in range(0, len(metrics), METRICS_AT_ONCE):
            self.client.log_batch(child, metrics=metrics[start : start + METRICS_AT_ONCE])
        self.client.log_dict(child, result.config, "config.json")
        self.client.log_dict(child, manifest, "manifest.json")


def _is_current(run: Any, digest: str, manifest: dict[str, Any], parents: Collection[str]) -> bool:
    """Whether a child shows this result, or a later one of the same cell that another folder mirrors to the same place."""
    tags = run.data.tags
    if run.info.status == "RUNNING" or tags.get("mlflow.parentRunId") not in parents:
        return False
    return tags.get("result") == digest or tags.get("finished", "") > str(manifest.get("finished"))


def _values(result: CellResult) -> Iterator[tuple[str, float]]:
    groups = {"": result.metrics, "validation/": result.validation, "timing/": result.timing}
    for prefix, values in groups.items():
        yield from ((f"{prefix}{key}", value) for key, value in values.items() if value is not None)


def _milliseconds(text: Any) -> int:
    try:
        return calendar.timegm(time.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ")) * 1000
    except ValueError:
        return int(time.time() * 1000)
