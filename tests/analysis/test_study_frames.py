"""The tidy frames of a study's folder: what stands in them, of a running and of a finished study, and an item's page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from synthetic import PLACES, write_study

from fila_lab.analysis import Findings, load, load_study_frame, task_scores
from fila_lab.analysis.study_frames import StudyFrames
from fila_lab.config.base import FilaError

ARMS = ("none", "concat", "foreign")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("frames") / "out", arms=ARMS, seeds=range(4), triplets=12, tuning=False)


@pytest.fixture(scope="module")
def study(out: Path) -> StudyFrames:
    return load(out)


def test_a_row_a_cell_with_what_was_changed_as_columns(study: StudyFrames) -> None:
    cells = study.cells
    assert list(cells["arm"]) == [arm for arm in ARMS for _ in range(4)]
    assert list(cells[["role", "label"]].drop_duplicates().itertuples(index=False, name=None)) == [
        *(("baseline", "none"), ("fusion", "concat"), ("control", "foreign"))
    ]
    assert cells.groupby("arm")["fusion.name"].first().to_dict() == {"none": "none", "concat": "concat", "foreign": "concat"}
    assert cells.groupby("arm")["fusion.control"].first().to_dict()["foreign"] == "foreign"
    assert "seed" in cells
    assert not [name for name in cells if name.startswith("train.")]
    assert set(cells["steps"]) == {1000}
    assert set(cells["learning_rate"]) == {2e-3}
    assert set(cells["status"]) == {"done"}
    assert cells[study.metric].between(0, 1).all()


def test_cells_that_have_not_run_are_rows_too(out: Path, tmp_path: Path) -> None:
    running = tmp_path / "running"
    shutil.copytree(out, running)
    shutil.rmtree(running / "cells" / "none-0001")
    broken = running / "cells" / "concat-0002" / "result.json"
    broken.write_text(broken.read_text(encoding="utf-8")[:40], encoding="utf-8")
    study = load(running)
    status = study.cells.set_index("id")["status"]
    assert status["none-0001"] == "missing"
    assert status["concat-0002"] == "damaged"
    assert (status == "done").sum() == 10
    assert set(study.cells["steps"].dropna()) == {1000}
    assert len(study.scores[["arm", "seed"]].drop_duplicates()) == 10
    for cell in (running / "cells").iterdir():
        shutil.rmtree(cell)
    assert set(load(running).cells["status"]) == {"missing"}
    with pytest.raises(FilaError, match="none of its 12 main cells is finished"):
        _ = load(running).scores


def test_scores_are_the_wide_frames_numbers(out: Path, study: StudyFrames) -> None:
    scores, wide = study.scores, load_study_frame(out)
    assert list(scores.columns) == ["arm", "seed", "pair", "task", "place", "metric", "value"]
    assert not scores.duplicated(["arm", "seed", "task", "place", "metric"]).any()
    for row in scores.sample(40, random_state=0).itertuples(index=False):
        name = "/".join(filter(None, (row.metric, row.task, row.place)))
        assert wide.loc[(wide["arm"] == row.arm) & (wide["seed"] == row.seed), name].item() == row.value
    names = [name for name in wide if "/" in name and not name.startswith("timing/")]
    assert len(scores) == wide[names].notna().to_numpy().sum()
    assert list(scores["arm"].cat.categories) == list(ARMS)


def test_scores_of_tasks_leave_out_what_is_none(study: StudyFrames) -> None:
    chosen = task_scores(study.scores, place="cut")
    assert set(chosen["metric"]) == {"exact"}
    assert set(chosen["task"]) == {"reading", "coarse"}
    with pytest.raises(ValueError, match="no task has a score at place 'corner'"):
        task_scores(study.scores, place="corner")
    with pytest.raises(ValueError, match="no column metric"):
        task_scores(study.scores.drop(columns="metric"))


def test_items_say_how_many_were_right(study: StudyFrames) -> None:
    items, asked = study.items, study.predictions
    assert len(items) == 12 * len(PLACES)
    assert {"arm", "seed", "prediction", "correct"}.isdisjoint(items.columns)
    one = items.iloc[7]
    own = asked[(asked["item_id"] == one["item_id"]) & (asked["place"] == one["place"])]
    assert (one["answers"], one["right"]) == (len(own), own["correct"].mean())
    assert list(asked.columns[:4]) == ["arm", "seed", "pair", "id"]


def test_what_else_there_is(study: StudyFrames) -> None:
    assert list(study.costs["arm"]) == list(ARMS)
    assert list(study.costs["role"]) == ["baseline", "fusion", "control"]
    assert set(study.contrasts["a"]) == {"concat", "foreign"}
    assert list(study.curves.columns[:5]) == ["arm", "seed", "pair", "id", "step"]
    assert study.styles["foreign"].filled is False


def test_pairs_of_towers_are_counted(out: Path, tmp_path: Path) -> None:
    paired = tmp_path / "paired"
    shutil.copytree(out, paired)
    for path in (paired / "cells").glob("*/result.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        result["config"]["tower_pairs"] = [{"vit": "a"}, {"vit": "b"}]
        path.write_text(json.dumps(result), encoding="utf-8")
    study = load(paired)
    for frame in (study.cells, study.scores, study.predictions, study.curves):
        assert (frame["pair"] == frame["seed"] % 2).all()


def test_findings_are_not_computed_again(out: Path) -> None:
    findings = Findings.of(out)
    assert load(findings).findings is findings
    assert load(findings).contrasts is findings.verdicts


def test_a_page_with_all_answers(study: StudyFrames) -> None:
    def draw(folder: Path, item: str) -> Mapping[str, Image.Image]:
        assert (folder, item) == (study.folder.out, "test-0003")
        return {place: Image.new("RGB", (84, 42)) for place in PLACES}

    figure = study.show("test-0003", draw)
    assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == list(PLACES)
    (table,) = figure.axes[-1].tables
    texts = [cell.get_text().get_text() for cell in table.get_celld().values()]
    assert {*ARMS, *PLACES} <= set(texts)
    own = study.predictions.query("item_id == 'test-0003' and arm == 'none' and place == 'cut'")
    assert f"{own['prediction'].mode().iloc[0]}   {own['correct'].sum()}/4" in texts
    assert len(study.show("test-0003").axes) == 1
    with pytest.raises(FilaError, match=r"item 'test-0999': not among the 12 items .* the first is test-0000"):
        study.show("test-0999")


def test_without_predictions_frames_have_no_rows(out: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(out, bare)
    for path in (bare / "cells").glob("*/predictions.parquet"):
        path.unlink()
    study = load(bare)
    assert study.predictions.empty
    assert study.items.empty
    with pytest.raises(FilaError, match="no cell has readable predictions"):
        study.show("test-0003")


def test_factors_are_columns(out: Path, tmp_path: Path) -> None:
    """By their names, which another column may have; one named by the field that it sets is that field's column."""
    crossed = tmp_path / "crossed"
    shutil.copytree(out, crossed)
    plan = json.loads((crossed / "plan.json").read_text(encoding="utf-8"))
    levels = {arm: {"kind": arm[:1], "steps": "many", "fusion.name": arm} for arm in ARMS[:2]}
    plan["study"]["factors"] = levels
    (crossed / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    cells = load(crossed).cells.groupby("arm", sort=False).first()
    assert cells["kind"].tolist()[:2] == ["n", "c"]
    assert pd.isna(cells.at["foreign", "kind"])
    assert cells["factor.steps"].tolist()[:2] == ["many", "many"]
    assert set(cells["steps"]) == {1000}
    assert "factor.fusion.name" not in cells
