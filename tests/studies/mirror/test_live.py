"""The mirror while a study runs: cells are RUNNING, their points come with their own times, and nothing is doubled or left over."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev

import pytest
from scipy import stats
from thin_study import Bench

from fila_lab.studies import sync
from fila_lab.studies.mirror import live, points
from fila_lab.studies.mirror.database import default_uri
from fila_lab.studies.mirror.mirror import Mirror
from fila_lab.studies.mirror.parents import Heading
from fila_lab.studies.mirror.tracking import writing
from fila_lab.studies.store import ResultStore

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.usefixtures("quick_database")


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mirror is written and the journals are read more often than in earnest."""
    monkeypatch.setattr(live, "WRITE_SECONDS", 0.1)
    monkeypatch.setattr(live, "METER_SECONDS", 0.1)
    monkeypatch.setattr(points, "LOOK_SECONDS", 0.0)


class Background:
    """A study that runs beside the test."""

    def __init__(self, bench: Bench, **options: object) -> None:
        self.thread = threading.Thread(target=lambda: bench.run(tracking=True, **options), daemon=True)
        self.thread.start()

    def look(self, bench: Bench) -> Iterator[list]:
        """Runs of cells, again and again until the study ends."""
        while self.thread.is_alive():
            time.sleep(0.1)
            if (bench.out / "mlflow.db").exists():
                yield shown(bench.out)
        self.thread.join()


def shown(out: Path, kind: str = "cell") -> list:
    client = mlflow.MlflowClient(default_uri(out))
    experiment = client.get_experiment_by_name("thin")
    return list(client.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'")) if experiment else []


def test_a_driver_that_opens_its_mirror_again_goes_on_in_its_own_run(bench: Bench) -> None:
    bench.run()
    command = "2026-01-01T00:00:00Z here 1"
    for _ in range(2):
        with writing(bench.out, None):
            Mirror(bench.out, None, Heading("thin", "?", "exact/reading", "small", "0"), command).parents.seen()
    assert [run.data.tags["run"] for run in shown(bench.out, "run")] == [command]


@pytest.mark.slow
def test_a_cell_is_shown_while_it_runs_and_is_completed_in_the_same_run(bench: Bench, often: None, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run(shard="0/2")
    there = bench.store.ids()
    monkeypatch.setenv("FAKE_SECONDS", "3")
    running: dict[str, set[str]] = {}
    curves: dict[str, int] = {}
    client = mlflow.MlflowClient(default_uri(bench.out))
    background = Background(bench, system_metrics=True)
    for cells in background.look(bench):
        for run in cells:
            if run.info.status == "RUNNING":
                running.setdefault(run.data.tags["cell_id"], set()).add(run.info.run_id)
                assert run.data.params["fusion.name"]
                curves[run.info.run_id] = max(curves.get(run.info.run_id, 0), len(client.get_metric_history(run.info.run_id, "curve/loss")))
    assert running
    assert running.keys().isdisjoint(there), "those that run, and not those that are there"
    assert all(len(each) == 1 for each in running.values())
    assert max(curves.values()) >= 2, "points before the end of the cell"
    ended = {run.data.tags["cell_id"]: run for run in shown(bench.out)}
    assert len(shown(bench.out)) == 6
    for cell_id, (run_id,) in running.items():
        run = ended[cell_id]
        assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
        history = client.get_metric_history(run_id, "curve/loss")
        assert [point.step for point in history] == [1, 2, 3], "each once"
        made = bench.store.manifest(cell_id)["curve_times"]["loss"]
        assert [point.timestamp for point in history] == [int(when * 1000) for when in made]
        assert made == sorted(made)
        assert made[-1] - made[0] >= 0.3
        assert run.data.metrics["exact/reading"] == bench.store.get(cell_id).metrics["exact/reading"]
    last = max(shown(bench.out, "run"), key=lambda run: run.data.tags["run"])
    assert last.info.status == "FINISHED"
    assert 0 < last.data.metrics["system/system_memory_usage_percentage"] <= 100


def test_the_parent_has_means_intervals_data_and_files(bench: Bench) -> None:
    bench.run(tracking=True)
    (parent,) = shown(bench.out, "run")
    values: dict[str, list[float]] = {}
    for run in shown(bench.out):
        values.setdefault(run.data.tags["arm"], []).append(run.data.metrics["exact/reading"])
    for arm, of_seeds in values.items():
        low, high = stats.t.interval(0.95, len(of_seeds) - 1, fmean(of_seeds), stdev(of_seeds) / math.sqrt(len(of_seeds)))
        wanted = {"mean": fmean(of_seeds), "low": low, "high": high, "seeds": 2}
        assert {part: parent.data.metrics[f"exact/reading/{arm}/{part}"] for part in wanted} == pytest.approx(wanted)
    (used,) = parent.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest, used.tags[0].value) == ("seam/train", "0", "train")
    client = mlflow.MlflowClient(default_uri(bench.out))
    (bench.out / "report").mkdir()
    (bench.out / "report" / "report.html").write_text("<p>", encoding="utf-8")
    assert sync(bench.out) == 0
    files = {file.path: file for file in client.list_artifacts(parent.info.run_id)}
    assert set(files) == {"study.yaml", "arms.csv", "report.html"}
    kept = bench.out / "mlartifacts" / parent.info.run_id / "artifacts" / "study.yaml"
    assert kept.read_bytes() == bench.file.read_bytes()


def test_what_a_killed_driver_left_running_is_ended_or_made_anew(bench: Bench) -> None:
    bench.run(tracking=True)
    client = mlflow.MlflowClient(default_uri(bench.out))
    first, second = shown(bench.out)[:2]
    (parent,) = shown(bench.out, "run")
    for run in (first, second, parent):
        client.update_run(run.info.run_id, status="RUNNING")
    client.set_tag(parent.info.run_id, "seen", str(int(time.time())))
    (bench.store.folder(second.data.tags["cell_id"]) / "result.json").unlink()
    assert sync(bench.out) == 1, "the driver is dead, for nobody holds the folder's lock"
    runs = {run.data.tags["cell_id"]: run for run in shown(bench.out)}
    assert len(shown(bench.out)) == 6
    assert runs[first.data.tags["cell_id"]].info.status == "FINISHED"
    assert runs[first.data.tags["cell_id"]].info.run_id != first.info.run_id
    assert runs[second.data.tags["cell_id"]].info.status == "KILLED"
    assert [run.info.status for run in shown(bench.out, "run")] == ["FINISHED"]
    bench.run(tracking=True)
    assert {run.info.status for run in shown(bench.out)} == {"FINISHED"}
    assert sorted(run.data.tags["cell_id"] for run in shown(bench.out)) == sorted(bench.store.done_ids())


def test_a_sync_beside_a_driver_leaves_its_runs_alone(bench: Bench, often: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "0.3")
    seen: set[str] = set()
    background = Background(bench)
    for _ in background.look(bench):
        sync(bench.out)
        seen |= {run.info.status for run in (*shown(bench.out), *shown(bench.out, "run"))}
    assert "RUNNING" in seen
    assert "KILLED" not in seen
    assert sorted(run.data.tags["cell_id"] for run in shown(bench.out)) == sorted(bench.store.done_ids())
    assert sync(bench.out) == 0


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_does_not_answer_costs_the_cells_nothing(
    bench: Bench, silent: str, often: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("FAKE_SECONDS", "0.2")
    bench.run(tracking=True, tracking_uri=silent)
    stored = ResultStore(bench.out)
    finished = [path.stat().st_mtime for path in (stored.folder(cell_id) / "result.json" for cell_id in stored.ids())]
    assert len(finished) == 6
    assert max(finished) - min(finished) < 5 * 0.2 + 2.5, "nothing waited the three seconds for the server, not even once"
    assert sum("tracking" in record.getMessage() for record in caplog.records) == 1
    assert sync(bench.out) == 6
