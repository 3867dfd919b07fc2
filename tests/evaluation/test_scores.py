"""Scores and aggregates against values that the field's own functions gave (metric_vectors.json), and rules that no vector holds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fila_lab.config.base import FilaError
from fila_lab.config.score_names import AGGREGATES as AGGREGATE_NAMES
from fila_lab.config.score_names import SCORES as SCORE_NAMES
from fila_lab.config.score_names import score_names
from fila_lab.evaluation import AGGREGATES, SCORES, Scored, aggregate, scored_rows
from fila_lab.evaluation.scores import annotators, letters, similarity, yes_no

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "metric_vectors.json").read_text(encoding="utf-8"))
LETTERED = {"A": "red", "B": "blue", "C": "green", "D": "black"}


def listed(target: Any) -> list[str]:
    return [target] if isinstance(target, str) else target


def yes_no_figures(name: str) -> Callable[[Any, Any], dict[str, float]]:
    def figures(predictions: list[str], truth: list[str]) -> dict[str, float]:
        rows = [{"id": i, "prediction": said, "answers": meant} for i, (said, meant) in enumerate(zip(predictions, truth, strict=True))]
        return AGGREGATES[name](Scored(scored_rows(rows, name), name))

    return figures


def mme_figures(predictions: list[str], targets: list[dict[str, str]]) -> dict[str, float]:
    rows = [
        {"id": i, "prediction": said, "answers": [target["answer"]], "category": target["category"], "question_id": target["question_id"]}
        for i, (said, target) in enumerate(zip(predictions, targets, strict=True))
    ]
    figures = aggregate("mme", rows)
    return {name: value for name, value in figures.items() if name.startswith("mme_")}


def circular(predictions: list[str], targets: list[dict[str, Any]]) -> float:
    rows = [
        {"id": target["index"], "index": target["index"], "prediction": said, "answers": [target["answer"]], "options": LETTERED}
        for said, target in zip(predictions, targets, strict=True)
    ]
    return aggregate("mmbench", rows)["mmbench_circular"]


BY_NAME: dict[str, Callable[[Any, Any], Any]] = {
    "vqa_normalise": lambda said, _: annotators.vqa_normalise(said),
    "vqa": lambda said, target: SCORES["vqa"](said, target),
    "vqav2_accuracy": lambda said, target: SCORES["vqa_v2"](said, target),
    "anls": lambda said, target: SCORES["anls"](said, target),
    "relaxed": lambda said, target: SCORES["relaxed"](said, target),
    "gqa": lambda said, target: SCORES["gqa"](said, target),
    "pope_lmms_eval": yes_no_figures("pope_lmms_eval"),
    "pope_original": yes_no_figures("pope_original"),
    "mme_parse": lambda said, _: yes_no.mme_parse(said),
    "mme_score": mme_figures,
    "mmbench_choice": lambda said, target: letters.read_mmbench(said, target) or False,
    "choice_letter": lambda said, target: letters.ranked_letter(said, target),
    "scienceqa": lambda said, target: SCORES["scienceqa"](said, "ABCDE"[target["answer"]]),
    "seedbench": lambda said, target: SCORES["seedbench"](said, target),
    "vstar_letter": lambda said, _: letters.vstar_letter(said),
    "mmbench_circular": circular,
    "ocrbench": lambda said, target: SCORES["ocrbench"](said, target["answer"], {"dataset": target["dataset"]}),
}


@pytest.mark.parametrize("number", range(len(VECTORS)))
def test_each_vector_by_name_of_metric(number: int) -> None:
    vector = VECTORS[number]
    ask = BY_NAME[vector["metric"]]
    if vector["metric"] == "vqav2_accuracy" and vector["expected"] == 0:
        # The same question as another vector, whose answers had ids in the harness that computed both.
        ask = lambda said, target: SCORES["vqa_v2_no_ids"](said, target)  # noqa: E731
    found = ask(vector["prediction"], vector["target"])
    if vector["expected"] == "ZeroDivisionError":
        assert found == {"accuracy": 1.0, "precision": 0.0, "recall": 0.0, "f1_score": 0.0, "yes_ratio": 0.0}
    elif isinstance(vector["expected"], int | float | dict) and not isinstance(vector["expected"], bool):
        assert found == pytest.approx(vector["expected"], abs=1e-6)
    else:
        assert found == vector["expected"]


def test_all_vectors_are_here() -> None:
    assert len(VECTORS) == 138
    assert Counter(vector["metric"] for vector in VECTORS).keys() == BY_NAME.keys()


def test_every_name_that_planning_knows_has_a_rule() -> None:
    assert set(SCORES) == set(SCORE_NAMES) == set(score_names())
    assert set(AGGREGATES) == set(AGGREGATE_NAMES)


@pytest.mark.parametrize(
    ("name", "prediction", "answers", "value"),
    [
        ("exact", "K7", ["k7", "K7"], 1),
        ("exact", "k7", "K7", 0),
        ("exact", "K7 ", "K7", 0),
        ("exact_nocase", " k7 ", "K7", 1),
        ("exact_nocase", "two  words", ["one", "two words"], 1),
        ("exact_nocase", "", "K", 0),
        ("gqa_original", "Left.", "left", 1),
        ("gqa_original", "le-ft", "left", 0),
        ("contains", "It says STOP\nhere", "stop here", 1),
        ("contains", "anything", "", 0),
        ("contains", "", "", 1),
        # ANLS: three denominators.
        ("anls", "new  york", "New York", 1),
        ("anls_stvqa", "new  york", "New York", 1 - 1 / 9),
        ("anls", "abcd   ", "abXY", 1 - 2 / 7),
        ("anls_stvqa", "abcd   ", "abXY", 0.5),
        ("anls_vlmevalkit", "abcd   ", "abXY", 0.5),
        ("anls", "", "", 1),
        ("anls", "Токио", ["токио"], 1),
        ("anls", "東京都", ["東京", "x"], 1 - 1 / 3),
        ("anls", "a" * 100_000, "a", 0),
        ("relaxed", "-9.6", ["-10"], 1),
        ("relaxed", "-10", "10", 0),
        ("relaxed", "2019", "2024", 1),
        ("relaxed", "5", ["7", "5"], 1),
        # The normal forms of VQA where they part.
        ("vqa", "it's", ["it 's"] * 4, 1),
        ("vqa_v2", "it's", ["it 's"] * 4, 0),
        ("vqa_v2", "one,two", ["1 2"] * 4, 1),
        ("vqa", "one,two", ["1 2"] * 4, 0),
        ("vqa_v2", "10.", ["10"] * 4, 1),
        ("vqa_vlmevalkit", "10.", ["10"] * 4, 0),
        ("vqa", "im", ["im"] * 3 + ["no"], 0.75 * 2 / 3 + 0.25),
        ("vqa_v2_no_ids", "yes", ["yes"] * 3 + ["no"] * 7, 0.7),
        # Letters.
        ("letter", "b", "B", 1),
        ("letter", " (B) ", "B", 1),
        ("letter", "B. blue", "B", 1),
        ("letter", "The answer is B.", "B", 1),
        ("letter", "the correct option is (B)", "B", 1),
        ("letter", "I think B is right", "B", 1),
        ("letter", "A red car", "A", 0),
        ("letter", "I see A or B", "B", 0),
        ("letter", "because", "B", 0),
        ("mmbench_choice", "b", "B", 0),
        ("mmbench_vlmevalkit", "I think A is right", "A", 1),
        ("mmbench_vlmevalkit", "It is blue", "B", 1),
        ("choice_letter", "A or B", "A", 1),
        ("scienceqa", "B. blue", "B", 1),
        ("scienceqa_llava", "The answer is B.", "B", 1),
        ("scienceqa", "The answer is B.", "B", 0),
        ("scienceqa_llava", "B\nblue", "B", 1),
        ("scienceqa_llava", "b", "B", 0),
        ("pope_original", "There is not, a dog. Yes", "no", 1),
        ("pope_original", "maybe", "yes", 1),
        ("pope_lmms_eval", "maybe", "yes", 0),
        ("mme", "yesterday", "Yes", 1),
    ],
)
def test_rules_and_where_they_part(name: str, prediction: str, answers: str | list[str], value: float) -> None:
    assert SCORES[name](prediction, answers, {"options": LETTERED}) == pytest.approx(value)


@pytest.mark.parametrize(
    ("prediction", "known", "value"),
    [
        ("(b)", {"question_type": "multi_choice", "answer_type": "text", "options": ["3/11", "8/11"]}, 1),
        ("8/1l", {"question_type": "multi_choice", "answer_type": "text", "options": "3/11\n8/11"}, 1),
        ("8.0", {"question_type": "free_form", "answer_type": "integer"}, 0),
        ("8/11", {"question_type": "free_form", "answer_type": "list"}, 1),
        ("eight", {"question_type": "free_form", "answer_type": "float", "precision": 1.0}, 0),
    ],
)
def test_mathvista_reads_by_type(prediction: str, known: dict[str, Any], value: float) -> None:
    assert SCORES["mathvista"](prediction, ["8/11"], known) == value


def test_mathvista_numbers() -> None:
    known = {"question_type": "free_form", "answer_type": "float", "precision": 1.0}
    assert SCORES["mathvista"]("1.24", ["1.2"], known) == 1
    assert SCORES["mathvista"]("14.0", ["14"], {"question_type": "free_form", "answer_type": "integer"}) == 1


def test_an_options_text_is_read_as_its_letter() -> None:
    known = {"options": "a red car\nA blue car."}
    assert SCORES["letter"]("A blue car", "B", known) == 1
    assert SCORES["letter"]("E", "E", known) == 0
    assert SCORES["letter"]("E", "E") == 1


@given(st.text("abc", max_size=6), st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_levenshtein_is_a_metric(first: str, second: str, third: str) -> None:
    distance = similarity.levenshtein
    assert distance(first, second) == distance(second, first)
    assert (distance(first, second) == 0) == (first == second)
    assert distance(first, third) <= distance(first, second) + distance(second, third)


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=12), st.lists(st.text(max_size=12), min_size=2, max_size=4))
def test_every_score_is_a_share_of_any_text(prediction: str, answers: list[str]) -> None:
    known = {"options": LETTERED, "dataset": "HME100k", "question_type": "free_form", "answer_type": "float", "precision": 2}
    for score in SCORES.values():
        assert 0 <= score(prediction, answers, known) <= 1


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(FilaError, match="answers is empty"):
        SCORES["exact"]("a", [])
    with pytest.raises(FilaError, match="at least 2 answers"):
        SCORES["vqa"]("a", ["a"])
    with pytest.raises(FilaError, match="7 is no text"):
        SCORES["exact"]("a", [7])  # type: ignore[list-item]
    with pytest.raises(FilaError, match="ocrbench reads what is known of an item, and dataset is not"):
        SCORES["ocrbench"]("a", ["a"])
    with pytest.raises(FilaError, match=r"score 'anl' is unknown \(did you mean 'anls'\?\); choose anls, "):
        SCORES["anl"]
    assert "anl" not in SCORES
    assert SCORES.get("anl") is None


def test_another_package_brings_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_scores.py").write_text(
        "def first(prediction, answers):\n    return prediction[:1] == answers[0][:1]\n", encoding="utf-8"
    )
    package = tmp_path / "own_scores-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: own-scores\nVersion: 1\n", encoding="utf-8")
    (package / "entry_points.txt").write_text(
        "[fila_lab.scores]\nfirst_of_mine = own_scores:first\nlost = own_scores:absent\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "first_of_mine" in score_names()
    assert SCORES["first_of_mine"]("abc", ["axy"]) == 1
    with pytest.raises(FilaError, match="score 'lost': the entry point 'own_scores:absent' does not load"):
        SCORES["lost"]


def test_a_mark_at_any_words_edge_goes_without_a_trace_and_elsewhere_parts_words() -> None:
    """As the VQA challenge's own script has it, white space of every kind alike."""
    for white in " \n\t":
        assert annotators.vqa_v2_normalise(f"well-known -{white}yes") == "wellknown yes"
    assert annotators.vqa_v2_normalise("well-known yes") == "well known yes"
