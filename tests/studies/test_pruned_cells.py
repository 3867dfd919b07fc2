"""A pruned cell is a result of its own status: neither done nor failed, nor missing, whoever counts."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import fake_cell
import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console
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
from fila_lab.studies import ResultStore, study_status
from fila_lab.studies.display import Display
from fila_lab.studies.engines import Finished
from fila_lab.studies.publish import publish
from fila_lab.studies.result import CellResult, encode, without_nan
from fila_lab.studies.tuning import trial_value

CURVE = [{"step": step, "loss": 1.0, "learning_rate": 1e-3, "validation": 0.25} for step in (2, 4)]


def pruned(cell_id: str, config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    base = {"schema": SCHEMA, "id": cell_id, "status": "pruned", "config": config, "metrics": {}, "validation": {}, "curve": CURVE}
    return base | {"timing": {"total": 0.1}, "failure": None, "pruned": {"step": 4, "value": 0.25}} | changes


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tuned study in which the last trials were pruned, where they are not the winners: what came after them stays what it was."""
    bench = Bench(tmp_path_factory.mktemp("tuned"))
    bench.run(budget="full")
    table = pd.read_csv(bench.out / "tuning" / "trials.csv")
    lost = table[(table.trial == 3) & (table.index != table.groupby("arm")["value"].transform("idxmax"))]
    assert "concat" in set(lost.arm)
    for cell_id in lost.cell:
        bench.store.write(cell_id, pruned(cell_id, bench.store.get(cell_id).config), None, bench.store.manifest(cell_id))
    return bench.out


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


def test_a_pruned_cell_is_neither_done_nor_failed_nor_missing(tuned: Path) -> None:
    store = ResultStore(tuned)
    state = study_status(tuned)
    counts = {(row.phase, row.arm): (row.done, row.failed, row.pruned, row.left) for row in state.rows}
    assert counts["tuning", "concat"] == (3, 0, 1, 0)
    assert counts["main", "concat"] == (2, 0, 0, 0)
    assert not state.failures
    assert not store.failures()
    assert not store.invalid()
    assert {trial_value(result, "exact/reading") for result in store.results().values() if result.status == "pruned"} == {None}
    assert "failed  pruned  to do" in " ".join(status_text(state, tuned).split("\n"))
    end_by_failures(tuned, "thin.yaml")


def test_the_same_command_runs_nothing_again(tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    shutil.copytree(tuned, bench.out)
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    bench.run(budget="full", retry_failed=True, allow_mixed=True)
    assert not (tmp_path / "log").exists()


def test_published_tables_keep_it_and_have_no_column_of_it_without(tuned: Path, tmp_path: Path) -> None:
    publish(tuned, tmp_path / "with")
    kept, read = ResultStore(tuned), ResultStore(tmp_path / "with")
    assert read.results() == kept.results()
    assert {cell_id: read.digest(cell_id) for cell_id in kept.ids()} == {cell_id: kept.digest(cell_id) for cell_id in kept.ids()}
    table = pq.read_table(tmp_path / "with" / "cells.parquet").to_pandas()
    assert (table["status"] == "pruned").any()
    assert study_status(tmp_path / "with").rows == study_status(tuned).rows
    bench = Bench(tmp_path)
    bench.run(budget="small")
    publish(bench.out, tmp_path / "without")
    assert not [name for name in pq.read_schema(tmp_path / "without" / "cells.parquet").names if "pruned" in name]


def test_the_report_tells_it_apart(tuned: Path) -> None:
    assert analysis.failures(tuned).empty
    trials = analysis.load_tuning(tuned)
    assert set(trials[trials["value"].isna()]["status"]) == {"pruned"}
    found = Findings.of(StudyFolder.open(tuned))
    assert not [alarm for alarm in find_alarms(found) if alarm.kind in ("failed trials", "failed cells", "results")]
    assert not [note for note in StudyFolder.open(tuned).notes() if "not been run" in note]


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
