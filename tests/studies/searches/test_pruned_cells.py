"""A pruned cell is a result of its own status: neither done nor failed, nor missing, whoever counts."""

from __future__ import annotations

import io
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import fake_cell
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from sweep_study import found, write
from thin_study import Bench

from fila_lab import analysis
from fila_lab.analysis.alarms import find_alarms
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.folder import StudyFolder
from fila_lab.cli.failures import end_by_failures
from fila_lab.cli.text import status_text
from fila_lab.config import resolve_run
from fila_lab.config.cell_checks import check_result
from fila_lab.config.renamed import SCHEMA
from fila_lab.studies import ResultStore, study_status, sync
from fila_lab.studies.display import Display
from fila_lab.studies.engines import Finished
from fila_lab.studies.publish import publish
from fila_lab.studies.result import CellResult, encode, without_nan
from fila_lab.studies.sqlite import sqlite_url

SHORT = {"train.steps": 4, "train.validate_every": 1}
CURVE = [{"step": step, "loss": 1.0, "learning_rate": 1e-3, "validation": 0.25} for step in (2, 4)]


def pruned(cell_id: str, config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    base = {"schema": SCHEMA, "id": cell_id, "status": "pruned", "config": config, "metrics": {}, "validation": {}, "curve": CURVE}
    return base | {"timing": {"total": 0.1}, "failure": None, "pruned": {"step": 4, "value": 0.25}} | changes


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep in which some trials were pruned."""
    bench = Bench(tmp_path_factory.mktemp("swept"))
    pruner = {"name": "median", "n_startup_trials": 2}
    write(bench, objectives=["exact/reading"], sampler="random", trials=12, pruner=pruner, set=SHORT).run(budget="swept")
    return bench.out


def states(out: Path) -> Counter[str]:
    """State -> how many trials of the sweep."""
    return Counter(trial["state"] for trial in found(out)["trials"])


def test_a_result_says_where_it_was_pruned_if_and_only_if_it_was() -> None:
    whole = pruned("a", {})
    assert CellResult.model_validate(whole).dump() | {"benchmarks": {}} == whole | {"benchmarks": {}, "answers": {}, "set_aside": {}}
    for wrong in (whole | {"pruned": None}, whole | {"status": "done"}, whole | {"pruned": {"step": 4}}, whole | {"status": "stopped"}):
        with pytest.raises(ValueError, match=r"pruned|status"):
            CellResult.model_validate(wrong)
    done = {name: value for name, value in whole.items() if name != "pruned"} | {"status": "done"}
    assert '"pruned"' not in encode(CellResult.model_validate(done)), "results of other cells stay as they are"


def test_readers_know_the_status_and_refuse_it_of_a_main_cell() -> None:
    whole = pruned("a", {})
    assert check_result(whole, "a", "sweep") == check_result(whole, "a", "tuning") == whole
    for phase, wrong in (
        ("main", whole),
        ("sweep", whole | {"pruned": {"step": 4}}),
        ("sweep", whole | {"pruned": {"step": 4, "value": "x"}}),
    ):
        with pytest.raises(ValueError, match=r"status|pruned"):
            check_result(wrong, "a", phase)


def test_a_pruned_cell_is_neither_done_nor_failed_nor_missing(swept: Path) -> None:
    store, told = ResultStore(swept), states(swept)
    assert told["pruned"] >= 2
    assert told["complete"] >= 2
    state = study_status(swept)
    counts = {row.phase: (row.done, row.failed, row.pruned, row.left) for row in state.rows if row.phase == "sweep"}
    assert counts["sweep"] == (told["complete"], 0, told["pruned"], 0)
    assert not state.failures
    assert not store.failures()
    assert not store.invalid()
    assert "failed  pruned  to do" in status_text(state, swept)
    end_by_failures(state, "thin.yaml")


def test_the_same_command_runs_nothing_again(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    shutil.copytree(swept, bench.out)
    shutil.copy(swept / "study.yaml", bench.file)
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    bench.run(budget="swept", retry_failed=True, allow_mixed=True)
    assert not (tmp_path / "log").exists()
    assert found(bench.out) == found(swept)


def test_published_tables_keep_it_and_have_no_column_of_it_without(swept: Path, tmp_path: Path) -> None:
    publish(swept, tmp_path / "with")
    kept, read = ResultStore(swept), ResultStore(tmp_path / "with")
    assert read.results() == kept.results()
    assert {cell_id: read.digest(cell_id) for cell_id in kept.ids()} == {cell_id: kept.digest(cell_id) for cell_id in kept.ids()}
    table = pq.read_table(tmp_path / "with" / "cells.parquet").to_pandas()
    assert (table["status"] == "pruned").any()
    assert study_status(tmp_path / "with").rows == study_status(swept).rows
    bench = Bench(tmp_path)
    bench.run(budget="small")
    publish(bench.out, tmp_path / "without")
    assert not [name for name in pq.read_schema(tmp_path / "without" / "cells.parquet").names if "pruned" in name]


def test_the_report_tells_it_apart(swept: Path) -> None:
    assert analysis.failures(swept).empty
    read = Findings.of(StudyFolder.open(swept))
    assert {alarm.kind for alarm in find_alarms(read)}.isdisjoint({"failed trials", "failed cells", "results", "left out"})
    assert not read.notes


@pytest.mark.slow
def test_mlflow_tells_it_apart(swept: Path, tmp_path: Path) -> None:
    """FINISHED would say that it trained to its end, FAILED that something went wrong."""
    mlflow = pytest.importorskip("mlflow")
    uri = sqlite_url(tmp_path / "mlflow.db")
    sync(swept, uri)
    client = mlflow.MlflowClient(uri)
    (experiment,) = (each.experiment_id for each in client.search_experiments() if each.name == "thin")
    runs = {run.data.tags["cell_id"]: run for run in client.search_runs([experiment], "tags.kind = 'cell'", max_results=1000)}
    endings = {"done": "FINISHED", "pruned": "KILLED"}
    results = ResultStore(swept).results()
    assert {cell_id: run.info.status for cell_id, run in runs.items()} == {key: endings[one.status] for key, one in results.items()}
    for cell_id, result in results.items():
        assert runs[cell_id].data.tags["status"] == result.status
        if result.pruned is not None:
            told = client.get_metric_history(runs[cell_id].info.run_id, "curve/validation")
            assert [(point.step, point.value) for point in told] == [(point.step, point.validation) for point in result.curve]
    assert sync(swept, uri) == 0


def test_a_run_counts_it_apart() -> None:
    said = io.StringIO()
    config = resolve_run("mini").model_dump(mode="json")
    with Display("a sweep", {}, {}, 1, Console(file=said, width=200)) as display:
        for name, result in (("a", pruned("a", config)), ("b", pruned("b", config) | {"status": "done"})):
            display.add(name, "trial", 1000)
            display.update(Finished(name, 0, without_nan(result), None, {}, 0.0, 1.0, "here"))
    assert "2 of 2 done" in said.getvalue()
    assert ", 1 pruned" in said.getvalue()
    assert "failed" not in said.getvalue()


def test_a_fake_cell_honours_its_rule_and_is_else_what_it_was(tmp_path: Path) -> None:
    """The cell that sweeps are tested with."""
    config = resolve_run("mini", {}, {"train.steps": 80, "train.validate_every": 20, "fusion.name": "concat"})
    whole = fake_cell.run_cell(config, workdir=tmp_path, cache_dir=tmp_path, test=False).result
    assert [point["step"] for point in whole["curve"]] == [20, 40, 60, 80]
    stopped = fake_cell.run_cell(config, workdir=tmp_path, cache_dir=tmp_path, test=False, stop=lambda step, value: step == 40).result
    assert stopped["curve"] == whole["curve"][:2]
    assert CellResult.model_validate(without_nan({**stopped, "id": "a"})).pruned.step == 40
