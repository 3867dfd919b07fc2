"""A study that tests on a benchmark alone: judged, reported and published like any other, without what only triplets show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic import write_study

from fila_lab import analysis
from fila_lab.analysis.figures import draw_figures
from fila_lab.analysis.findings import Findings
from fila_lab.studies.publish import publish


def _rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    out = write_study(tmp_path / "run", arms=("none", "concat"), seeds=(0, 1), triplets=6, tuning=False)
    plan = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    families = {"fusion": {"contrasts": [["concat", "none"]]}}
    study = plan["study"] | {"name": "asks_a_benchmark", "metric": "anls/docvqa", "families": families, "tuning": None, "winners": {}}
    study["arms"] = {arm: study["arms"][arm] for arm in ("none", "concat")}
    _rewrite(out / "plan.json", study=study)
    for number, folder in enumerate(sorted((out / "cells").iterdir())):
        scores = [1.0, number / 7, 0.0, 1.0]
        asked = pd.DataFrame({"item_id": [f"docvqa/{item}" for item in range(4)], "task": "docvqa", "place": ""})
        asked = asked.assign(
            image_id=asked["item_id"], question="What?", answer="a", answers=[["a", "A"]] * 4, prediction="a", score=scores
        )
        asked.assign(correct=asked["score"] == 1.0).to_parquet(folder / "predictions.parquet")
        metrics = {"anls/docvqa": sum(scores) / 4, "n/docvqa": 4.0}
        _rewrite(folder / "result.json", metrics=metrics, benchmarks={"docvqa": {"table": 0.5}})
    return out


def test_it_is_published_with_a_report_and_figures(run: Path, tmp_path: Path) -> None:
    published = tmp_path / "published"
    publish(run, published, lambda fresh: analysis.write_summary(fresh, fresh))
    assert sorted(path.stem for path in (published / "figures").iterdir()) == ["contrasts", "cost"]
    assert "concat − none" in (published / "report.md").read_text(encoding="utf-8")
    own, same = (analysis.load_study_frame(folder) for folder in (run, published))
    pd.testing.assert_frame_equal(own, same, check_exact=True)
    assert analysis.load_predictions(published)["answers"].map(list).tolist() == [["a", "A"]] * 16


def test_its_page_is_written(run: Path, tmp_path: Path) -> None:
    page = analysis.write_report(run, to=tmp_path / "report").read_text(encoding="utf-8")
    assert "anls/docvqa" in page
    assert not (tmp_path / "report" / "figures" / "gaps.png").exists()


@pytest.mark.usefixtures("no_figures")
def test_answers_that_are_right_or_wrong_have_no_gaps_to_draw_either(run: Path, tmp_path: Path) -> None:
    study = json.loads((run / "plan.json").read_text(encoding="utf-8"))["study"]
    _rewrite(run / "plan.json", study=study | {"metric": "exact/mine"})
    for folder in (run / "cells").iterdir():
        told = pd.read_parquet(folder / "predictions.parquet")
        told.assign(task="mine", score=told["correct"].astype(float)).to_parquet(folder / "predictions.parquet")
        metrics = {"exact/mine": float(told["correct"].mean()), "exact/mean": float(told["correct"].mean()), "n/mine": 4.0}
        _rewrite(folder / "result.json", metrics=metrics)
    findings = Findings.of(run)
    analysis.write_report(findings, to=tmp_path / "report")
    assert [drawn.name for drawn in draw_figures(findings, tmp_path, ("seeds", "gaps"), ("png",))] == ["seeds"]
    assert [path.name for path in tmp_path.glob("*.png")] == ["seeds.png"]


def test_contrasts_are_split_by_what_is_known_of_its_questions(run: Path) -> None:
    families = {"fusion": {"contrasts": [["concat", "none"]], "by": ["kind", "mistyped"]}}
    study = json.loads((run / "plan.json").read_text(encoding="utf-8"))["study"]
    _rewrite(run / "plan.json", study=study | {"families": families})
    for folder in (run / "cells").iterdir():
        told = pd.read_parquet(folder / "predictions.parquet")
        told.assign(kind=["form", "form", "table", "table"]).to_parquet(folder / "predictions.parquet")
    split = Findings.of(run).subgroups
    assert split.levels["level"].tolist() == ["form", "table"]
    assert split.levels["items"].tolist() == [2, 2]
    assert split.levels["difference"].abs().tolist() == pytest.approx([1 / 7, 0.0])
    assert split.notes == ("fusion: anls/docvqa was not split by mistyped: nothing of that name is known of its items",)
