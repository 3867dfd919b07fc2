"""What every engine must do, on cells that take milliseconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import pytest
from thin_study import ENGINES, Bench, quality

from fila_lab.config import ConfigError, FilaError, load_study
from fila_lab.studies import make_plan, study_status
from fila_lab.studies.display import Forecast

Log = Callable[[], list[str]]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    bench = Bench(tmp_path_factory.mktemp("reference"))
    bench.run()
    return quality(bench.store)


@ENGINES
def test_the_same_results_to_the_last_bit(bench: Bench, engine: str, reference: dict[str, object], log: Log) -> None:
    assert bench.run(engine=engine, workers=2) == bench.out
    assert quality(bench.store) == reference
    plan = json.loads((bench.out / "plan.json").read_text(encoding="utf-8"))
    ids = [cell.id for cell in make_plan(load_study(bench.file)).cells]
    assert [cell["id"] for cell in plan["cells"]] == ids
    assert set(ids) == bench.store.done_ids()
    assert (bench.out / "study.yaml").read_text(encoding="utf-8") == bench.file.read_text(encoding="utf-8")
    assert sorted(line.split()[:2] for line in log()) == sorted(
        [fusion, seed] for fusion in ("none", "concat", "addition") for seed in "01"
    )
    if engine != "inline":
        assert {line.split()[2] for line in log()} == {"1"}, "threads are set before the worker loads a library"
    manifest = bench.store.manifest(ids[0])
    assert (manifest["code_hash"], manifest["engine"], manifest["data_hash"]) == ("code", engine, {"train": "0"})
    assert json.loads((bench.out / "costs.json").read_text(encoding="utf-8"))["concat"] == {"parameters": 6}
    assert not (bench.out / "work").exists()


@ENGINES
def test_only_what_is_missing_runs(bench: Bench, engine: str, reference: dict[str, object], log: Log) -> None:
    bench.run()
    ids = [cell.id for cell in make_plan(load_study(bench.file)).cells]
    shutil.rmtree(bench.store.folder(ids[1]))
    (bench.store.folder(ids[4]) / "result.json").write_text('{"schema": 1, "id"', encoding="utf-8")
    before = len(log())
    bench.run(engine=engine, workers=2)
    assert sorted(line.split()[:2] for line in log()[before:]) == [["addition", "0"], ["none", "1"]]
    assert quality(bench.store) == reference
    assert len(study_status(bench.out).moved_aside) == 1
    before = len(log())
    bench.run(engine=engine)
    assert len(log()) == before


@ENGINES
@pytest.mark.parametrize(("variable", "kind"), [("FAKE_FAIL", "out_of_memory"), ("FAKE_RAISE", "error")])
def test_a_failed_cell_is_recorded_and_the_rest_goes_on(
    bench: Bench, engine: str, variable: str, kind: str, reference: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "concat")
    bench.run(engine=engine, workers=2)
    status = study_status(bench.out)
    assert [(row.arm, row.done, row.failed, row.left) for row in status.rows] == [
        ("none", 2, 0, 0),
        ("concat", 0, 2, 0),
        ("addition", 2, 0, 0),
    ]
    assert {failure[2] for failure in status.failures} == {kind}
    monkeypatch.delenv(variable)
    bench.run(engine=engine)
    assert len(bench.store.failures()) == 2, "a failed cell is data, and not run again"
    bench.run(engine=engine, retry_failed=True)
    assert quality(bench.store) == reference


def test_a_result_that_does_not_fit_is_a_failed_cell(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import fake_cell

    right = fake_cell.run_cell

    def wrong(*positional: object, **named: object) -> fake_cell.Outcome:
        outcome = right(*positional, **named)  # type: ignore[arg-type]
        outcome.result["metrics"] = {"exact/reading": "much"}
        return outcome

    monkeypatch.setattr(fake_cell, "run_cell", wrong)
    bench.run()
    failures = bench.store.failures().values()
    assert len(failures) == 6
    assert all(result.failure is not None and "schema" in result.failure.message for result in failures)


def test_shards_do_all_cells_between_them(bench: Bench, reference: dict[str, object], log: Log) -> None:
    bench.run(shard="0/2")
    assert len(log()) == 3
    assert not (bench.out / "costs.json").exists(), "costs wait until every cell is there"
    bench.run(shard="1/2")
    assert len(log()) == 6
    assert quality(bench.store) == reference
    assert (bench.out / "costs.json").exists()


def test_results_of_other_code_are_not_mixed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from fila_lab.studies import runner

    bench.run()
    monkeypatch.setattr(runner, "code_hash", lambda *_: "newer")
    with pytest.raises(FilaError, match=r"other code \(6 by code; this is newer\).*--allow-mixed"):
        bench.run()
    bench.run(allow_mixed=True)


def test_a_folder_belongs_to_one_study_and_budget(bench: Bench) -> None:
    bench.run()
    with pytest.raises(FilaError, match=r"holds study 'thin', budget 'small'"):
        bench.run(budget="full")


def test_a_failed_cost_pass_costs_only_the_costs(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> dict[str, object]:
        raise RuntimeError("no meter")

    bench.run(measure=broken)
    assert "no meter" in caplog.text
    assert not (bench.out / "costs.json").exists()
    bench.run()
    assert (bench.out / "costs.json").exists()


def test_unknown_engines_and_functions_are_named(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"engine='proces' is unknown \(did you mean 'process'"):
        bench.run(engine="proces")
    bench.run(cell_function="fake_cell:run_cel")
    assert {result.failure.kind for result in bench.store.failures().values()} == {"bad_input"}


def test_shared_work_comes_first_and_once_per_use(bench: Bench, log: Log) -> None:
    bench.run(budget="full", engine="process", workers=2, prepare_function="fake_cell:prepare")
    assert log()[0] == "prepare concat,none 2", "one job with all workers; addition reads the features that concat reads"
    assert sum(line.startswith("prepare") for line in log()) == 1
    before = len(log())
    bench.run(budget="full", prepare_function="fake_cell:prepare")
    assert len(log()) == before
    assert "pages and features: done in" in bench.said.getvalue()


def test_time_left_is_measured_by_arm() -> None:
    forecast = Forecast({"a": "none", "b": "none", "c": "concat", "d": "concat", "e": "other"}, workers=2)
    for cell_id in ("b", "d", "e"):
        forecast.expect(cell_id)
    assert forecast.seconds_left() is None
    forecast.measure("a", 10)
    forecast.measure("c", 40)
    assert forecast.seconds_left() == pytest.approx(max((10 + 40 + 25) / 2, 40), abs=1e-6)
    for cell_id in ("b", "e", "e"):
        forecast.leave(cell_id)
    assert forecast.seconds_left() == pytest.approx(40)
