"""What may split a family's contrasts, and that a family without `by` is the same declaration as ever."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fila_lab.config import resolve_run
from fila_lab.config.study import Family, StudyConfig
from fila_lab.config.subgroups import SUBGROUPS
from fila_lab.data.seam import Seam
from fila_lab.studies.plan import study_hash


def study(primary: str = "exact/reading", **family: Any) -> StudyConfig:
    return StudyConfig.model_validate(
        {
            "name": "split",
            "question": "?",
            "arms": {"a": {}, "b": {}},
            "families": {"f": {"contrasts": [["a", "b"]], **family}},
            "metric": primary,
            "margin": 0.02,
            "budgets": {"small": {"seeds": [0]}},
        }
    )


@pytest.mark.parametrize(
    ("by", "metric", "said"),
    [
        (["family"], "exact/mean", r"families\.f\.by: 'family' is now 'task'"),
        (["plce"], "exact/reading", r"families\.f\.by: unknown column 'plce' \(did you mean 'place'\?\)"),
        (["question"], "exact/reading", "unknown column 'question'.*columns are place, task"),
        (["place", "place"], "exact/reading", "'place' stands there twice"),
        (["task"], "exact/reading", "'task' cannot split 'exact/reading', whose items are all of the task reading"),
        (["place"], "exact/reading/cut", "'place' cannot split 'exact/reading/cut', which names its places itself"),
        (["place"], "exact/fine/cut", "'place' cannot split 'exact/fine/cut', which names its places itself"),
        (["place"], "seam_gap/reading", "'place' cannot split 'seam_gap/reading'"),
        (["place"], "cross_gap/reading", "'place' cannot split 'cross_gap/reading'"),
        (["length"], "fragmentation/reading", "is no mean over items"),
        (["length"], "shift_gap/reading", r"split a score \(exact/...\) or seam_gap, sham_gap, cross_gap"),
        (["length"], "question_only/reading", "is no mean over items"),
    ],
)
def test_what_cannot_split_is_refused_with_the_field_and_a_remedy(by: list[str], metric: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        study(metric, by=by)
    with pytest.raises(ValidationError, match=said):
        study("exact/mean", by=by, metric=metric)


def test_what_can_split() -> None:
    assert study(by="length").families["f"].by == ("length",)
    assert study(by=["axis"], metric="cross_gap/reading").families["f"].by == ("axis",)
    assert study(by=None).families["f"].by == ()
    assert study("exact/mean", by=["task", "place"]).families["f"].by == ("task", "place")
    assert study("exact/fine/cut", by=["task"]).families["f"].by == ("task",)
    assert study("exact/mean", by=["place"], metric="exact/table").families["f"].by == ("place",)
    assert study("anls/docvqa", by=["question_type"]).families["f"].by == ("question_type",)
    assert study("exact/mine", by=["task_of_mine", "canvas"]).families["f"].by == ("task_of_mine", "canvas")


def test_every_column_stands_in_the_predictions() -> None:
    run = resolve_run("mini", {"data.seam.below_height": [6, 8], "data.seam.below_share": 0.5})
    (item,) = Seam(run.data, run.geometry).items("val", 0)
    assert set(SUBGROUPS) <= {"task", "place", "canvas", *item.known}


def test_it_is_declared_in_advance_where_it_stands_and_changes_nothing_where_not() -> None:
    assert study_hash(study()) == study_hash(study(by=None)) == study_hash(study(by=[]))
    assert study_hash(study(by=["place"])) != study_hash(study())
    assert "by" in Family(contrasts=(("a", "b"),)).model_dump()
