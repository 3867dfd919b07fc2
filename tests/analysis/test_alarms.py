"""What is wrong with a study stands before its verdicts, in every output, with names and numbers."""

from __future__ import annotations

import html
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from synthetic import write_study

from fila_lab import analysis
from fila_lab.analysis import report
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.stride_phases import arms_apart
from fila_lab.config.hashing import file_sha256
from fila_lab.config.instruments import NOTE
from fila_lab.config.published import Mark, altered, renew_mark, write_mark


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = write_study(tmp_path_factory.mktemp("study"), arms=("none", "concat", "addition"), seeds=(0, 1, 2, 3), triplets=24)
    _edit(out / "plan.json", lambda plan: plan["study"].update(name="of_no_published_results"))
    return out


@pytest.fixture
def out(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "out"))


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def _fail(result: dict[str, Any]) -> None:
    result |= {"status": "failed", "metrics": {}, "validation": {}, "failure": {"kind": "not_finite", "message": "loss is nan at step 7"}}


def _mixed(manifest: dict[str, Any]) -> None:
    manifest["code_hash"] = "0ther"


def _result(out: Path, cell: str, change: Callable[[dict[str, Any]], None]) -> None:
    _edit(out / "cells" / cell / "result.json", change)


def _steps(out: Path) -> None:
    _result(out, "concat-0001", lambda result: result["config"]["train"].update(steps=500))


def _untuned(out: Path) -> None:
    for trial in range(4):
        _result(out, f"addition-t{trial}", _fail)


def _one_trial(out: Path) -> None:
    _result(out, "addition-t1", _fail)


def _edge(out: Path) -> None:
    for seed in range(4):
        _result(out, f"concat-000{seed}", lambda result: result["config"]["train"].update(learning_rate=0.0099))


def _endless(out: Path) -> None:
    for seed, cut in enumerate((0, 0, 1, 2)):
        counts = {"test": {"given": 72, "cut_off": cut}, "val": {"given": 400, "cut_off": 1}}
        _result(out, f"concat-000{seed}", lambda result, counts=counts: result.update(answers=counts))


def _speechless(out: Path) -> None:
    for seed, empty in enumerate((72, 36, 30, 7)):
        counts = {"test": {"given": 72, "cut_off": 0, "empty": empty}, "val": {"given": 400, "cut_off": 0, "empty": 0}}
        _result(out, f"concat-000{seed}", lambda result, counts=counts: result.update(answers=counts))


def _coarser(out: Path) -> None:
    """concat at k = 2, in plan and results."""

    def plan(content: dict[str, Any]) -> None:
        for cell in content["cells"]:
            if cell["arm"] == "concat":
                cell["config"]["geometry"]["detail_cells"] = 2

    _edit(out / "plan.json", plan)
    for seed in range(4):
        _result(out, f"concat-000{seed}", lambda result: result["config"]["geometry"].update(detail_cells=2))


TROUBLES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a failed cell": (
        lambda out: _result(out, "addition-0002", _fail),
        "Warning, failed cells: addition: seed 2 (not_finite: loss is nan at step 7)",
    ),
    "a dropped seed": (
        lambda out: _result(out, "addition-0002", _fail),
        "Warning, dropped seeds: addition − none: 3 of 4 seeds are paired, without addition seed 2 failed (not_finite)",
    ),
    "a cell not run": (
        lambda out: shutil.rmtree(out / "cells" / "none-0003"),
        "Warning, dropped seeds: concat − none, addition − none: 3 of 4 seeds are paired, without none seed 3 has not been run",
    ),
    "a result cut short": (
        lambda out: (out / "cells" / "none-0003" / "result.json").write_text("{", encoding="utf-8"),
        "without none seed 3 is not readable",
    ),
    "a value that is no number": (
        lambda out: _result(out, "concat-0001", lambda result: result["metrics"].update({"exact/reading": None})),
        "Warning, left out: concat, seed 1: exact/reading is no finite number",
    ),
    "an edited metric": (
        lambda out: _result(out, "concat-0001", lambda result: result["metrics"].update({"exact/reading": 0.9})),
        "Error, self-check failed: metrics recomputed from predictions: concat seed 1: exact/reading is 0.9000",
    ),
    "mixed code": (
        lambda out: _edit(out / "cells" / "concat-0001" / "manifest.json", _mixed),
        "Error, self-check failed: one code, data, weights, versions and precision: cells differ in code_hash (code_hash: 0ther, c0de",
    ),
    "unequal steps": (_steps, "Error, self-check failed: every cell ran as planned: concat seed 1: train.steps is 500, planned 1000"),
    "an arm never tuned": (
        _untuned,
        "Error, self-check failed: equal tuning: compared untuned beside tuned arms: addition (none of its 4 trials has a value)",
    ),
    "a failed trial": (_one_trial, "Warning, failed trials: addition: 1 of 4 tuning trials have no value"),
    "a signature": (_edge, "Warning, tuned value at the edge of its range: concat: train.learning_rate at the edge of its range: 0.0099"),
    "predictions gone": (
        lambda out: (out / "cells" / "none-0003" / "predictions.parquet").unlink(),
        "Warning, self-check not made: metrics recomputed from predictions: 1 of 12 cells have no readable predictions (none seed 3)",
    ),
    "an arm without results": (
        lambda out: [_result(out, f"addition-000{seed}", _fail) for seed in range(4)],
        "Error, arm without results: addition: none of its cells is finished",
    ),
    "answers cut off": (
        _endless,
        "Warning, answers cut off: concat: 3 of 288 answers to test are cut off; raise language.answer_tokens",
    ),
    "empty answers": (_speechless, "Warning, empty answers: concat: 145 of 288 answers to test say nothing; see whether it was trained"),
    "another phase of the stride": (
        _coarser,
        "Note, phase of the stride: cut and sham places of concat (k = 2) never share the phase of the ConvNeXt's stride: what differs",
    ),
    "a stray result": (
        lambda out: shutil.copytree(out / "cells" / "none-0003", out / "cells" / "stray"),
        "Warning, results: 1 results belong to no cell of this plan",
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_each_trouble_is_an_alarm_before_any_verdict(out: Path, trouble: str) -> None:
    change, line = TROUBLES[trouble]
    change(out)
    lines = analysis.headline_of(Findings.of(out))
    where = next(i for i, said in enumerate(lines) if line in said)
    words = ("Not comparable", "Better", "Worse", "Equivalent", "Inconclusive", "Not testable")
    verdicts = [i for i, said in enumerate(lines) if said.startswith(words)]
    assert verdicts
    assert where < min(verdicts)


def test_every_output_shows_the_one_list_first(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draw_figures", lambda findings, target: [])  # they take most of a report's time
    for trouble in ("a dropped seed", "an edited metric", "an arm never tuned", "predictions gone", "another phase of the stride"):
        TROUBLES[trouble][0](out)
    findings = Findings.of(out)
    made = analysis.find_alarms(findings)
    assert len({alarm.kind for alarm in made}) >= 6
    console = Console(width=2000, record=True, file=io.StringIO())
    console.print(analysis.terminal_summary(findings))
    shown = console.export_text()
    page = html.unescape(analysis.write_report(findings).read_text(encoding="utf-8"))
    markdown = (out / "report" / "report.md").read_text(encoding="utf-8")
    table = (out / "report" / "tables" / "alarms.csv").read_text(encoding="utf-8")
    for alarm in made:
        assert 0 <= shown.index(alarm.line()) < shown.index("A − B")
        assert 0 < page.index("<h2>Alarms</h2>") < page.index(alarm.text) < page.index("<h2>Contrasts by family")
        assert 0 < markdown.index("## Alarms") < markdown.index(alarm.text) < markdown.index("## What was found")
        assert alarm.text.replace('"', '""') in table


def test_a_study_without_trouble_says_so(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draw_figures", lambda findings, target: [])

    def complete(plan: dict[str, Any]) -> None:
        plan["study"]["families"] = {"methods": {"contrasts": [["concat", "none"], ["addition", "none"]]}}

    _edit(out / "plan.json", complete)
    findings = Findings.of(out)
    rules = {alarm.kind for alarm in analysis.find_alarms(findings)}
    assert rules <= {"floor or ceiling", "seed instability", "over-fusion", "seam errors"}, "signatures alone, by their own rules"


def test_what_a_budget_leaves_out_is_a_note(small_study: Path) -> None:
    notes = [alarm for alarm in analysis.find_alarms(Findings.of(small_study)) if alarm.severity == "note"]
    (note,) = notes
    assert note.kind == "declared, not run"
    assert "5 declared contrasts" in note.text
    assert "this budget leaves out addition, cross_attention, foreign, oracle_map" in note.text


def test_arms_without_seam_gaps_have_no_phase_to_tell_of(out: Path) -> None:
    _coarser(out)
    findings = Findings.of(out)
    assert arms_apart(findings) == {"concat"}
    without = Findings(findings.folder, findings.frame[[name for name in findings.frame if not name.startswith("seam_gap/")]])
    assert arms_apart(without) == frozenset()
    assert "phase of the stride" not in {alarm.kind for alarm in analysis.find_alarms(without)}


def test_a_record_that_is_no_run_of_todays_is_passed_over(out: Path) -> None:
    _coarser(out)
    _result(out, "concat-0000", lambda result: result["config"]["geometry"].update(detail_cells=0))
    assert arms_apart(Findings.of(out)) == frozenset()


def test_the_gravest_stand_first(out: Path) -> None:
    _untuned(out)
    _result(out, "concat-0001", _fail)
    severities = [alarm.severity for alarm in analysis.find_alarms(Findings.of(out))]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert len(set(severities)) == 3


def test_a_comparison_of_other_training_says_so_though_it_was_declared(out: Path) -> None:
    def longer(plan: dict[str, Any]) -> None:
        plan["study"]["arms"]["concat"]["set"]["train.steps"] = 2000
        for cell in plan["cells"]:
            if cell["arm"] == "concat":
                cell["config"]["train"]["steps"] = 2000

    def trained(result: dict[str, Any]) -> None:
        result["config"]["train"]["steps"] = 2000
        result["curve"][-1]["step"] = 2000

    _edit(out / "plan.json", longer)
    for seed in range(4):
        _result(out, f"concat-000{seed}", trained)
    lines = [alarm.line() for alarm in analysis.find_alarms(Findings.of(out))]
    assert "Warning, unequal training, declared: concat − none (train.steps 2000 (concat), 1000 (none))" in lines


def test_results_of_other_code_are_not_put_side_by_side_in_silence(study: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draw_figures", lambda found, target: [])
    _edit(out / "plan.json", lambda plan: plan["cells"].__setitem__(0, plan["cells"][0] | {"id": "another"}))
    same = "\n".join(analysis.headline_of(Findings.of(out), Findings.of(study)))
    assert "other code beside" not in same
    for path in out.glob("cells/*/manifest.json"):
        _edit(path, _mixed)
    line = "the published results were made by code c0dec0dec0dec0de, these by 0ther: a difference between the two may be one of code"
    page = analysis.write_report(out, study).read_text(encoding="utf-8")
    assert page.lower().count(line) == 3, "among the alarms, above the table, under it"
    assert line in (out / "report" / "report.md").read_text(encoding="utf-8")
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(analysis.terminal_summary(out, study))
    assert f"Warning, other code beside: {line}" in console.export_text()


def _first(result: dict[str, Any]) -> None:
    result["config"]["vit"]["weights"] = "package:mini_vit"


def test_results_of_another_instrument_are_not_put_side_by_side_in_silence(
    study: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "draw_figures", lambda found, target: [])
    assert Findings.of(out).instrument == ""
    first = tmp_path / "first"
    shutil.copytree(study, first)
    for path in first.glob("cells/*/result.json"):
        _edit(path, _first)
    _edit(out / "plan.json", lambda plan: plan["cells"].__setitem__(0, plan["cells"][0] | {"id": "another"}))
    line = "the published results are of the first instrument, these are not: other towers, so a difference between the two is no finding"
    page = analysis.write_report(out, first).read_text(encoding="utf-8")
    assert NOTE not in page
    assert page.lower().count(line) == 3, "among the alarms, above the table, under it"
    assert line in (out / "report" / "report.md").read_text(encoding="utf-8").lower()
    assert not analysis.find_alarms(Findings.of(first), Findings.of(first))[0].kind.startswith("other instrument")


def test_the_first_instrument_is_named_before_anything_else(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draw_figures", lambda findings, target: [])
    first = tmp_path / "first"
    shutil.copytree(study, first)
    for path in first.glob("cells/*/result.json"):
        _edit(path, _first)
    findings = Findings.of(first)
    assert (findings.instrument, findings.measured_on) == (NOTE, "mini (first instrument), one pair of towers")
    assert findings.limits.startswith("Measured on `mini` (first instrument), with one pair of towers; ")
    page = analysis.write_report(findings).read_text(encoding="utf-8")
    assert page.index('<section class="answer"') < page.index(NOTE) < page.index('id="alarms"')
    text = (first / "report" / "report.md").read_text(encoding="utf-8")
    assert text.splitlines()[2] == f"*{NOTE}*"
    assert (first / "report" / "tables" / "arms.csv").read_text(encoding="utf-8").splitlines()[1].startswith("mini (first instrument),")
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(analysis.terminal_summary(findings))
    assert console.export_text().splitlines()[1].strip() == NOTE


CHANGES: dict[str, Callable[[Path], object]] = {
    "costs.json": lambda path: path.write_bytes(path.read_bytes() + b" "),
    "cells/concat-0001/manifest.json": lambda path: path.unlink(),
    "cells/concat-t1/result.json": lambda path: _edit(path, lambda result: result["validation"].update({"exact/reading": 0.99})),
}


def _publish(folder: Path) -> None:
    files = {path.relative_to(folder).as_posix(): file_sha256(path) for path in folder.rglob("*") if path.is_file()}
    write_mark(folder, Mark("of_no_published_results", "full", files, schema=1))


@pytest.mark.parametrize("name", CHANGES)
def test_a_published_file_that_was_changed_by_hand_is_an_alarm(out: Path, study: Path, name: str) -> None:
    """Also where it is shown beside a run, and where nothing else could tell."""
    _publish(out)
    assert not any("published results changed" in line for line in analysis.headline_of(Findings.of(out)))
    CHANGES[name](out / name)
    line = f"Error, published results changed: {name} in out is not as published"
    assert analysis.headline_of(Findings.of(out))[0].startswith(line)
    assert any(text.startswith(line) for text in analysis.headline_of(Findings.of(study), Findings.of(out)))


def test_a_report_made_anew_and_what_somebody_added_are_no_change(out: Path) -> None:
    (out / "report").mkdir()
    (out / "report" / "report.md").write_text("as published", encoding="utf-8")
    _publish(out)
    (out / "report" / "report.md").write_text("made anew", encoding="utf-8")
    (out / "notes.md").write_text("mine", encoding="utf-8")
    assert altered(out) == []
    (out / "costs.json").write_text("{}", encoding="utf-8")
    renew_mark(out, [out / "costs.json"])
    assert altered(out) == []


def test_the_committed_results_are_as_they_were_published() -> None:
    results = Path(__file__).parents[2] / "experiments" / "results"
    assert {folder.name: altered(folder) for folder in results.iterdir() if altered(folder)} == {}
