"""MLflow as a mirror of the folder: experiment = study, parent run = one `run` of it, child run = cell. The folder stays the truth.

`sync` may be called at any time and any number of times: it adds what is missing, known by the tags `cell_id` and `run`, and replaces
what a killed driver left unfinished.
"""

from __future__ import annotations

import calendar
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fila_lab.config import FilaError
from fila_lab.config.files import file_lock
from fila_lab.studies.folder import read_plan
from fila_lab.studies.result import CellResult
from fila_lab.studies.store import ResultStore

log = logging.getLogger("fila_lab")

PARAMETER_LENGTH = 250
PARAMETERS_AT_ONCE = 100
METRICS_AT_ONCE = 1000
CONNECT_SECONDS = 3.0


def default_uri(root: Path) -> str:
    """SQLite beside the results."""
    return f"sqlite:///{(root / 'mlflow.db').resolve()}"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and text values, cut at MLflow's length; the whole configuration is an artifact."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)[:PARAMETER_LENGTH]


def check_reachable(uri: str) -> None:
    """Fail at once where MLflow would retry for minutes.

    Raises:
        FilaError: naming the URI and what to do.
    """
    parts = urlsplit(uri)
    if parts.scheme.startswith("sqlite"):
        folder = Path(uri.split(":///", 1)[-1]).parent
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise FilaError(f"--tracking-uri: {uri} lies in a folder that cannot be written; create {folder}, or name another URI")
    elif parts.scheme in ("http", "https"):
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), CONNECT_SECONDS).close()
        except OSError as error:
            raise FilaError(f"--tracking-uri: {uri} does not answer ({error}); start the server, or name another URI") from error


def try_sync(root: Path, uri: str | None = None, run: str | None = None) -> bool:
    """`sync` that never ends a study: a failure is one warning. Returns whether the mirror is complete."""
    try:
        sync(root, uri, run)
    except Exception as error:
        where = uri or default_uri(root)
        log.warning("tracking at %s failed (%s); the study goes on, and `fila-lab sync %s` completes the mirror later", where, error, root)
        return False
    return True


def sync(root: Path, uri: str | None = None, run: str | None = None) -> int:
    """Complete the mirror of a study's folder; `run` limits it to the cells that one command computed.

    Returns:
        The number of cells added.

    Raises:
        FilaError: no study in the folder, or nobody at the URI.
    """
    root = Path(root)
    plan = read_plan(root)
    if plan is None:
        raise FilaError(f"--out: {root} holds no plan.json; name the folder of a study that has been run")
    address = uri or default_uri(root)
    check_reachable(address)
    # One writer at a time: two would add the same cell twice, and first use of a SQLite file races on its migration.
    with file_lock(root / "mlflow.lock"):
        return _Mirror(root, address, plan, own_files=uri is None).complete(run)


class _Mirror:
    def __init__(self, root: Path, uri: str, plan: dict[str, Any], own_files: bool) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        from mlflow.tracking import MlflowClient

        # mlflow sets its own level when it is imported.
        logging.getLogger("mlflow").setLevel(logging.WARNING)

        self.client = MlflowClient(uri)
        self.store = ResultStore(root)
        self.plan = plan
        name = plan["study"]["name"]
        experiment = self.client.get_experiment_by_name(name)
        artifacts = (root / "mlartifacts").resolve().as_uri() if own_files else None
        self.experiment = experiment.experiment_id if experiment else self.client.create_experiment(name, artifact_location=artifacts)

    def complete(self, only: str | None) -> int:
        cells = {cell["id"]: cell for cell in self.plan["cells"]}
        by_run: dict[str, dict[str, tuple[CellResult, dict[str, Any]]]] = {}
        for cell_id, result in self.store.results(cells).items():
            manifest = self.store.manifest(cell_id)
            by_run.setdefault(str(manifest.get("run", "unknown")), {})[cell_id] = (result, manifest)
        added = 0
        for run, found in by_run.items():
            if only is not None and run != only:
                continue
            parent, known = self._parent(run), self._children(run)
            for cell_id, (result, manifest) in found.items():
                if cell_id not in known:
                    self._add(cells[cell_id], result, manifest, parent, run)
                    added += 1
            counts = {"cells": len(found), "failed": sum(result.status == "failed" for result, _ in found.values())}
            for name, value in counts.items():
                self.client.log_metric(parent, name, value)
            self.client.set_terminated(parent, "FINISHED")
        return added

    def _search(self, query: str) -> Iterator[Any]:
        token = None
        while True:
            page = self.client.search_runs([self.experiment], query, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _parent(self, run: str) -> str:
        for found in self._search(f"tags.kind = 'run' and tags.run = '{run}'"):
            return str(found.info.run_id)
        tags = {"kind": "run", "run": run, "question": self.plan["study"]["question"]}
        tags |= {"budget": self.plan["budget"], "study_hash": self.plan["study_hash"]}
        return str(self.client.create_run(self.experiment, tags=tags, run_name=f"{self.plan['budget']} {run}").info.run_id)

    def _children(self, run: str) -> set[str]:
        """Cells that are mirrored; a run that is still open was left by a killed driver, and is removed to be made anew."""
        known = set()
        for found in self._search(f"tags.kind = 'cell' and tags.run = '{run}'"):
            if found.info.status == "RUNNING":
                self.client.delete_run(found.info.run_id)
            else:
                known.add(found.data.tags["cell_id"])
        return known

    def _add(self, cell: dict[str, Any], result: CellResult, manifest: dict[str, Any], parent: str, run: str) -> None:
        from mlflow.entities import Metric, Param

        began, ended = _milliseconds(manifest.get("started")), _milliseconds(manifest.get("finished"))
        tags = {"kind": "cell", "run": run, "cell_id": cell["id"], "arm": cell["arm"], "phase": cell["phase"], "mlflow.parentRunId": parent}
        tags |= {"code_hash": str(manifest.get("code_hash")), "host": str(manifest.get("host"))}
        if result.failure is not None:
            tags |= {"failure": result.failure.kind, "failure_message": result.failure.message[:1000]}
        trial = f" trial {cell['trial']}" if cell["trial"] is not None else ""
        name = f"{cell['arm']} seed {cell['seed']}{trial}"
        child = self.client.create_run(self.experiment, start_time=began, tags=tags, run_name=name).info.run_id
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
        self.client.set_terminated(child, "FINISHED" if result.status == "done" else "FAILED", end_time=ended)


def _values(result: CellResult) -> Iterator[tuple[str, float]]:
    groups = {"": result.metrics, "validation/": result.validation, "timing/": result.timing}
    for prefix, values in groups.items():
        yield from ((f"{prefix}{key}", value) for key, value in values.items() if value is not None)


def _milliseconds(text: Any) -> int:
    try:
        return calendar.timegm(time.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ")) * 1000
    except ValueError:
        return int(time.time() * 1000)
