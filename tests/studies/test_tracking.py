"""The MLflow mirror: complete, idempotent, and never the end of a study."""

from __future__ import annotations

from pathlib import Path

import pytest
from thin_study import Bench

from fila_lab.config import FilaError
from fila_lab.studies import sync
from fila_lab.studies.tracking import default_uri, flatten

mlflow = pytest.importorskip("mlflow")


def runs(uri: str) -> tuple[list, list]:
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("thin")
    found = list(client.search_runs([experiment.experiment_id]))
    return [run for run in found if run.data.tags["kind"] == "run"], [run for run in found if run.data.tags["kind"] == "cell"]


def test_the_mirror_shows_the_folder_and_adds_nothing_twice(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "addition")
    bench.run(tracking=True)
    uri = default_uri(bench.out)
    (parent,), cells = runs(uri)
    assert {run.data.tags["cell_id"] for run in cells} == bench.store.done_ids()
    assert {run.data.tags["mlflow.parentRunId"] for run in cells} == {parent.info.run_id}
    assert parent.data.metrics == {"cells": 6, "failed": 2}
    for run in cells:
        result = bench.store.get(run.data.tags["cell_id"])
        assert run.info.status == ("FINISHED" if result.status == "done" else "FAILED")
        assert run.data.params["fusion.name"] == result.config["fusion"]["name"]
        assert run.data.metrics.get("exact/reading") == result.metrics.get("exact/reading")
    client = mlflow.MlflowClient(uri)
    assert [point.step for point in client.get_metric_history(cells[0].info.run_id, "curve/loss")] == [1, 2, 3]
    assert {artifact.path for artifact in client.list_artifacts(cells[0].info.run_id)} == {"config.json", "manifest.json"}
    assert sync(bench.out) == 0

    # A driver killed while it mirrored leaves a run open: it is made anew.
    client.update_run(cells[0].info.run_id, status="RUNNING")
    assert sync(bench.out) == 1
    _, cells = runs(uri)
    assert sorted(run.data.tags["cell_id"] for run in cells) == sorted(bench.store.done_ids())
    assert {run.info.status for run in cells} == {"FINISHED", "FAILED"}


@pytest.mark.parametrize("where", ["http://127.0.0.1:9", "sqlite:///{}/missing/mlflow.db"])
def test_a_dead_server_does_not_stop_the_study(bench: Bench, tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture) -> None:
    uri = where.format(tmp_path)
    bench.run(tracking=True, tracking_uri=uri)
    assert len(bench.store.done_ids()) == 6
    warnings = [record.getMessage() for record in caplog.records if "tracking" in record.getMessage()]
    assert len(warnings) == 1
    assert uri in warnings[0]
    assert f"fila-lab sync {bench.out}" in warnings[0]
    with pytest.raises(FilaError, match="--tracking-uri"):
        sync(bench.out, uri)
    if uri.startswith("http"):
        assert sync(bench.out) == 6


def test_sync_wants_a_study(tmp_path: Path) -> None:
    with pytest.raises(FilaError, match=r"holds no plan\.json"):
        sync(tmp_path)


def test_parameters_are_flat_and_short() -> None:
    assert dict(flatten({"a": {"b": 1, "c": [1, 2]}, "d": {}, "e": "x" * 300})) == {"a.b": "1", "a.c": "[1, 2]", "d": "{}", "e": "x" * 250}
