"""Published tables say what the run's folder says: every frame, every table, the whole report; and damage to them is one message."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from synthetic import write_study

from fila_lab import analysis
from fila_lab.analysis import report
from fila_lab.analysis.findings import Findings
from fila_lab.config import schemas
from fila_lab.config.base import FilaError
from fila_lab.config.compact import TABLES
from fila_lab.config.published import MANIFEST
from fila_lab.config.renamed import SCHEMA
from fila_lab.studies.publish import publish


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def _tuned(out: Path) -> None:
    """Failed cells, trials, a failed and a pruned one, answers cut off, null values, one of one cell alone, a cell without a curve."""
    failure = {"kind": "out_of_memory", "message": "no room", "traceback": "line 1\nline 2"}
    _edit(out / "cells" / "concat-t1" / "result.json", status="failed", failure=failure, metrics={}, validation={}, curve=[])
    _edit(out / "cells" / "concat-t2" / "result.json", status="pruned", pruned={"step": 4, "value": 0.25}, metrics={}, validation={})
    metrics = json.loads((out / "cells" / "none-0001" / "result.json").read_text(encoding="utf-8"))["metrics"]
    _edit(out / "cells" / "none-0001" / "result.json", metrics=metrics | {"other/reading": 0.25, "n/void": None}, curve=[])
    _edit(out / "cells" / "none-0002" / "result.json", answers={"test": {"given": 9, "cut_off": 5}})
    (out / "tuning").mkdir()
    analysis.load_tuning(out).to_csv(out / "tuning" / "trials.csv", index=False)
    shutil.copytree(out / "cells" / "none-0000", out / "cells" / "stray")
    _edit(out / "cells" / "stray" / "result.json", id="stray")


def _damaged(out: Path) -> None:
    """One of everything that may be wrong with a cell."""
    cells = out / "cells"
    shutil.rmtree(cells / "none-0000")
    (cells / "none-0001" / "result.json").write_text('{"schema": 1, "id"', encoding="utf-8")
    _edit(cells / "none-0002" / "result.json", id="another")
    (cells / "concat-0000" / "predictions.parquet").unlink()
    (cells / "concat-0001" / "predictions.parquet").write_bytes(b"PAR1 cut")
    (cells / "addition-0000" / "manifest.json").write_text("[]", encoding="utf-8")
    _edit(cells / "addition-0001" / "manifest.json", code_hash="another", cores=2, started=None)
    path = cells / "addition-0002" / "predictions.parquet"
    pd.read_parquet(path).drop(columns="place").to_parquet(path)


def _mixed(out: Path) -> None:
    """Matched arms; items that differ between cells, in order, number, columns and types."""
    solved = {"quantity": "parameters", "target": "none", "wanted": 1e6, "path": "fusion.hidden", "value": 40, "reached": 1.01e6}
    _edit(out / "plan.json", matches={"concat": solved | {"part": 5e4, "off_whole": 0.01, "off_part": 0.2}}, step_seconds={"none": 0.5})
    for cell_id, change in {
        "none-0001": lambda frame: frame.iloc[::-1].head(20),
        "concat-0000": lambda frame: frame.assign(question=frame["question"] + " again", evidence=["seen"] + [None] * (len(frame) - 1)),
        "concat-0001": lambda frame: frame.drop(columns="length").assign(score=[i / 7 for i in range(len(frame))]),
        "addition-0000": lambda frame: frame.assign(length=frame["length"] + 0.5, cut_fraction=float("nan")),
    }.items():
        path = out / "cells" / cell_id / "predictions.parquet"
        change(pd.read_parquet(path)).to_parquet(path)


def _benchmarks(out: Path) -> None:
    """Tests on a benchmark: alone, without answers, beside triplets and in a cell whose triplets have no score; lists of several kinds."""
    answers = [["a", "A"], ["b"], [], ["a", "b", "c"], ["a", "A"], ["b", "a"]]
    for number, folder in enumerate(sorted((out / "cells").iterdir())):
        count = len(answers)
        asked = pd.DataFrame(
            {
                "item_id": [f"docvqa/{item}" for item in range(count)],
                "task": "docvqa",
                "place": "",
                "question": "What is in it?",
                "image_id": [f"page {item // 2}" for item in range(count)],
                "answer": [each[0] if each else "" for each in answers],
                "answers": [[]] * count if number == 1 else answers,
                "question_types": [["table"], ["table", "form"], None] * 2,
                "parts": [{"box": [1.5, item], "of": None} for item in range(count)],
                "canvas": "84x84",
                "prediction": ["a", "b", "c"] * 2,
                "score": [1.0, 0.5, float("nan"), 1 / 3, 1 / 7, number / 9],
            }
        )
        asked["correct"] = asked["score"] == 1.0
        path = folder / "predictions.parquet"
        triplets = pd.read_parquet(path)
        both = triplets.assign(score=triplets["correct"].astype(float)) if number % 2 else triplets
        (asked if number < 3 else pd.concat([both, asked], ignore_index=True)).to_parquet(path)
        told = {"docvqa": {"unreadable image": {"rows": 2, "first": "page 7: cut"}}} if number else {}
        counts = {"test": {"given": 36, "cut_off": 0}, "docvqa": {"given": count, "cut_off": number}}
        metrics = json.loads((folder / "result.json").read_text(encoding="utf-8"))["metrics"] | {"anls/docvqa": 0.4, "n/docvqa": 5.0}
        _edit(folder / "result.json", metrics=metrics, benchmarks={"docvqa": {"table": number / 7}}, answers=counts, set_aside=told)


NESTED = ("answers", "question_types", "parts")
KINDS = [_tuned, _damaged, _mixed, _benchmarks]


@pytest.fixture(params=KINDS, ids=lambda change: change.__name__)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """The folder of a run, and what is published of it."""
    arms, tuned = ("none", "concat", "addition"), request.param is _tuned
    failed = {("addition", 1): "not_finite"} if tuned else None
    run = write_study(tmp_path / "run", arms=arms, seeds=(0, 1, 2), triplets=12, tuning=tuned, failed=failed)
    content = json.loads((run / "plan.json").read_text(encoding="utf-8"))
    _edit(run / "plan.json", study=content["study"] | {"name": "of_no_published_results"}, declared={"question": "else?", "margin": 0.01})
    request.param(run)
    publish(run, tmp_path / "published")
    return run, tmp_path / "published"


def _said(out: Path, to: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Report, tables and terminal."""
    monkeypatch.setattr(report, "draw_figures", lambda findings, target: [])  # they take most of a report's time
    findings = Findings.of(out)
    analysis.write_report(findings, to=to)
    console = Console(width=500, record=True, file=io.StringIO())
    console.print(analysis.terminal_summary(findings, page=to / "none"))
    return {path.name: path.read_text(encoding="utf-8") for path in to.rglob("*.*")} | {"terminal": console.export_text()}


def test_both_forms_are_read_alike(both: tuple[Path, Path]) -> None:
    assert not (both[1] / "cells").exists()
    one, other = (analysis.StudyFolder.open(folder) for folder in both)
    for field in fields(one):
        if field.name not in ("out", "cells"):
            assert getattr(one, field.name) == getattr(other, field.name), field.name
    for cell, same in zip(one.cells, other.cells, strict=True):
        for field in fields(cell):
            if field.name != "kept":
                assert getattr(cell, field.name) == getattr(same, field.name), (cell.id, field.name)
        assert cell.manifest == same.manifest, cell.id
    loads = (analysis.load_study_frame, analysis.load_predictions, analysis.load_tuning, analysis.load_curves, analysis.load_costs)
    for load in (*loads, analysis.load_manifests, analysis.failures):
        first, second = load(one), load(other)
        _assert_equal(first, second)
        assert first.attrs == second.attrs, load
    assert other.report == Path("runs/reports/published")


def _assert_equal(first: pd.DataFrame, second: pd.DataFrame) -> None:
    nested = [name for name in NESTED if name in first]  # pandas cannot compare these
    pd.testing.assert_frame_equal(first.drop(columns=nested), second.drop(columns=nested), check_exact=True)
    assert list(first) == list(second)
    for name in nested:
        assert first[name].map(repr).tolist() == second[name].map(repr).tolist()


@pytest.mark.parametrize("both", [_tuned, *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])], indirect=True)
def test_both_forms_are_reported_alike(both: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, same = (_said(folder, tmp_path / str(number), monkeypatch) for number, folder in enumerate(both))
    assert said == same
    assert {"report.md", "report.html", "arms.tex", "manifest.csv", "terminal"} <= set(said)


def test_the_tables_are_readable_without_this_library(both: tuple[Path, Path]) -> None:
    run, published = both
    cells, items, answers = (pd.read_parquet(published / name) for name in TABLES)
    frame = analysis.load_study_frame(run).set_index("id")
    done = cells[(cells["status"] == "done") & (cells["phase"] == "main")].set_index("id")
    assert done["metrics/exact/reading"][frame.index].tolist() == frame["exact/reading"].tolist()
    assert not items.drop(columns="row").map(repr).duplicated().any()
    assert not {"prediction", "score", "correct"} & set(items)
    joined = answers.merge(items, on="row")
    for cell_id, own in analysis.load_predictions(run).groupby("id"):
        there = joined[joined["cell"] == cell_id]
        assert there["correct"].tolist() == own["correct"].tolist()
        assert there["item_id"].tolist() == own["item_id"].tolist()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run = write_study(folder / "run", arms=("none", "concat"), seeds=(0, 1), triplets=6, tuning=False)
    publish(run, folder / "published")
    return folder / "published"


ODD = (None, 7, "x")


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TABLES)
def test_damage_to_a_table_is_one_message(whole: Path, tmp_path: Path, name: str, every: int) -> None:
    """Gone, cut, of another kind, or without one of its columns."""
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    raw, frame = (out / name).read_bytes(), pd.read_parquet(out / name)
    (out / name).unlink()
    with pytest.raises(FilaError, match=f"{name}: not readable as published results"):
        _read(out)
    (out / name).write_bytes(raw[: len(raw) // 2])
    with pytest.raises(FilaError, match=f"{name}: not readable as published results"):
        _read(out)
    changed = [frame.assign(**{column: value}) for column in frame for value in ODD]
    odd = [frame.iloc[:1], *changed, *(frame.drop(columns=column) for column in frame)]
    for damaged in odd[::every]:
        damaged.to_parquet(out / name)
        with suppress(FilaError):
            _read(out)


def _read(out: Path) -> None:
    folder = analysis.StudyFolder.open(out)
    for load in (analysis.load_study_frame, analysis.load_predictions, analysis.load_manifests, analysis.load_curves):
        load(folder)


@pytest.mark.parametrize(
    ("name", "known"), [(MANIFEST, schemas.PUBLISHED), ("plan.json", schemas.PLAN), ("cells/none-0000/result.json", SCHEMA)]
)
def test_what_a_newer_version_wrote_is_refused(whole: Path, tmp_path: Path, name: str, known: int) -> None:
    if name.startswith("cells/"):
        out = write_study(tmp_path / "run", arms=("none", "concat"), seeds=(0,), triplets=6, tuning=False)
    else:
        out = Path(shutil.copytree(whole, tmp_path / "out"))
    _edit(out / name, schema=known + 1)
    message = f"{name}: schema {known + 1} is of a newer fila_lab, this one reads up to {known}; update"
    with pytest.raises(FilaError, match=message):
        analysis.load_study_frame(out)
    with pytest.raises(FilaError, match=message):
        publish(out, tmp_path / "to")
    if name == MANIFEST:
        with pytest.raises(FilaError, match=message):
            publish(whole, out)
