"""A benchmark's own figures against figures by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from fila_lab.config.base import FilaError
from fila_lab.evaluation import aggregate


def rows(*columns: str, **common: Any) -> Any:
    """A function of lines to rows with these columns and ids of their own."""

    def of(*lines: tuple[Any, ...]) -> list[dict[str, Any]]:
        return [{"id": str(n), **common, **dict(zip(columns, line, strict=True))} for n, line in enumerate(lines)]

    return of


def test_means_by_what_is_known() -> None:
    lines = rows("prediction", "answers", "type")(("10.4", "10", "human"), ("9", "10", "human"), ("yes", ["Yes"], "augmented"))
    figures = aggregate("chartqa", lines)
    assert figures == pytest.approx({"relaxed": 2 / 3, "relaxed/type=human": 0.5, "relaxed/type=augmented": 1, "n": 3})
    assert aggregate("chartqa", pd.DataFrame(lines)) == figures
    stricter = aggregate("chartqa", lines, score="exact_nocase")
    assert stricter["exact_nocase"] == pytest.approx(1 / 3)


def test_a_row_counts_in_each_of_its_kinds() -> None:
    lines = rows("prediction", "answers", "question_type")(("a", ["a"], "layout; form"), ("b", ["a"], "form"), ("a", ["a"], None))
    figures = aggregate("docvqa", lines)
    assert figures == pytest.approx({"anls": 2 / 3, "anls/question_type=form": 0.5, "anls/question_type=layout": 1, "n": 3})


def test_vqa_by_answer_type() -> None:
    ten = ["yes"] * 3 + ["no"] * 7
    figures = aggregate("vqav2", rows("prediction", "answers", "answer_type")(("yes", ten, "yes/no"), ("2", ["two"] * 10, "number")))
    assert figures == pytest.approx({"vqa_v2": 0.95, "vqa_v2/answer_type=yes/no": 0.9, "vqa_v2/answer_type=number": 1, "n": 2})


POPE = rows("prediction", "answers", "category")(
    ("Yes, it is", "yes", "random"),
    ("no", "yes", "random"),
    ("yes", "no", "popular"),
    ("no", "no", "popular"),
)


def test_pope_by_both_definitions() -> None:
    original = aggregate("pope", POPE)
    assert {name: original[name] for name in ("accuracy", "precision", "recall", "f1_score", "yes_ratio")} == {
        "accuracy": 0.5,
        "precision": 0.5,
        "recall": 0.5,
        "f1_score": 0.5,
        "yes_ratio": 0.5,
    }
    # random: one hit, one miss; popular: one false alarm, and nothing to find.
    assert original["f1_score/category=random"] == pytest.approx(2 / 3)
    assert original["f1_score/category=popular"] == 0
    assert original["f1_score/mean"] == pytest.approx(1 / 3)
    theirs = aggregate("pope", POPE, definition="pope_lmms_eval")
    assert (theirs["accuracy"], theirs["precision"], theirs["recall"], theirs["yes_ratio"]) == (0.25, 0, 0, 0.5)


@pytest.mark.parametrize("definition", ["pope_original", "pope_lmms_eval"])
def test_a_model_that_never_says_yes_has_figures(definition: str) -> None:
    figures = aggregate("pope", [{**row, "prediction": "no"} for row in POPE], definition=definition)
    assert figures["precision"] == figures["f1_score"] == 0
    assert figures["accuracy"] == 0.5


def test_mme_counts_an_image_by_both_of_its_questions() -> None:
    ask = rows("prediction", "answers", "question_id", "category")
    figures = aggregate(
        "mme",
        ask(
            ("Yes", "Yes", "a", "OCR"),
            ("No.", "No", "a", "OCR"),
            ("yes", "Yes", "b", "OCR"),
            ("yes", "No", "b", "OCR"),
            ("n", "Yes", "a", "code_reasoning"),
            ("hm", "No", "a", "code_reasoning"),
            ("Yes", "Yes", "alone", "count"),
        ),
    )
    assert figures == {
        "acc/OCR": 75,
        "acc_plus/OCR": 50,
        "mme/OCR": 125,
        "mme_perception_score": 125,
        "acc/code_reasoning": 0,
        "acc_plus/code_reasoning": 0,
        "mme/code_reasoning": 0,
        "mme_cognition_score": 0,
        "images_without_two_questions": 1,
        "n": 7,
    }
    with pytest.raises(FilaError, match=r"category = 'colour' is none of MME's \(did you mean 'color'"):
        aggregate("mme", ask(("Yes", "Yes", "a", "colour")))


def test_mmbench_is_right_in_every_rotation() -> None:
    ask = rows("prediction", "answers", "index", "category", options={"A": "x", "B": "y"})
    lines = ask(("A", "A", 7, "colour"), ("B", "B", "1000007", "colour"), ("A", "A", 8, "shape"), ("A", "B", 1000008, "shape"))
    figures = aggregate("mmbench", lines)
    assert figures["mmbench_circular"] == 0.5
    assert figures["mmbench_choice"] == 0.75
    assert (figures["mmbench_circular/category=colour"], figures["mmbench_circular/category=shape"]) == (1, 0)
    with pytest.raises(FilaError, match="index = 'x' is no number"):
        aggregate("mmbench", ask(("A", "A", "x", "colour")))


def test_ocrbench_counts_hits_of_a_thousand() -> None:
    ask = rows("prediction", "answers", "question_type", dataset="SVT")
    lines = ask(
        ("it says Centre", ["centre"], "Regular Text Recognition"),
        ("12", ["13"], "Digit String Recognition"),
        ("9", ["9"], "Doc-oriented VQA"),
    )
    assert aggregate("ocrbench", lines) == {
        "ocrbench": 0.002,
        "hits": 2,
        "hits/Text Recognition": 1,
        "hits/Regular Text Recognition": 1,
        "hits/Digit String Recognition": 0,
        "hits/Doc-oriented VQA": 1,
        "n": 3,
    }
    assert aggregate("ocrbench", lines) == aggregate("ocrbench", lines)  # nothing adds up from one evaluation to the next


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "rows is empty"),
        ([{"id": 1, "prediction": "a"}], "no column answers"),
        ([{"id": 1, "prediction": "a", "answers": "a"}] * 2, "id '1' stands twice"),
        ([{"id": 1, "prediction": "a", "answers": []}, {"id": 2, "prediction": "a", "answers": ["a"]}], "1 of 2 rows have none"),
        ([{"id": 1, "prediction": "a", "answers": None}], "only the benchmark's server scores them"),
    ],
)
def test_rows_that_cannot_be_judged_are_refused(lines: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(FilaError, match=words):
        aggregate("docvqa", lines)


def test_names_are_checked() -> None:
    line = [{"id": 1, "prediction": "a", "answers": "a"}]
    with pytest.raises(FilaError, match=r"benchmark 'docvqs' is unknown \(did you mean 'docvqa'"):
        aggregate("docvqs", line)
    with pytest.raises(FilaError, match=r"aggregate 'pope' is unknown"):
        aggregate("pope", line, definition="pope")
    with pytest.raises(FilaError, match="no column category, question_id"):
        aggregate("mme", line)
