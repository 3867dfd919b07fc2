"""Benchmark metrics against values known from their definitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fila_lab.config.base import FilaError
from fila_lab.evaluation import anls, exact_match, relaxed_accuracy, vqa_accuracy
from fila_lab.evaluation.metrics import levenshtein, normalise_vqa


def test_exact_match() -> None:
    assert exact_match(" k7 ", "K7")
    assert exact_match("two  words", ["one", "two words"])
    assert not exact_match("K7", "K71")
    assert not exact_match("", "K")


@pytest.mark.parametrize(
    ("prediction", "answers", "score"),
    [
        ("hello", "hallo", 0.8),
        ("ab", "ac", 0.5),
        ("abc", "axy", 0.0),
        ("HELLO", ["nothing", "hello"], 1.0),
        ("", "", 1.0),
        ("", "abc", 0.0),
    ],
)
def test_anls(prediction: str, answers: str | list[str], score: float) -> None:
    assert anls(prediction, answers) == pytest.approx(score)


def test_the_best_answer_counts_from_the_threshold_on() -> None:
    assert anls("abcd", ["abxy", "zzzz"]) == 0.5
    assert anls("abcd", ["abxy"], threshold=0.51) == 0
    assert anls("a", "abcd", threshold=0.2) == pytest.approx(0.25)
    assert anls("abcd", "a", threshold=0.2) == pytest.approx(0.25)


@pytest.mark.parametrize(("first", "second", "distance"), [("kitten", "sitting", 3), ("", "abc", 3), ("flaw", "lawn", 2), ("a", "a", 0)])
def test_levenshtein(first: str, second: str, distance: int) -> None:
    assert levenshtein(first, second) == distance


@given(st.text("abc", max_size=6), st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_levenshtein_is_a_metric(first: str, second: str, third: str) -> None:
    assert levenshtein(first, second) == levenshtein(second, first)
    assert (levenshtein(first, second) == 0) == (first == second)
    assert levenshtein(first, third) <= levenshtein(first, second) + levenshtein(second, third)


@pytest.mark.parametrize(
    ("prediction", "target", "right"),
    [
        ("10.5", "10", True),
        ("10.51", "10", False),
        ("9.5", "10", True),
        ("5%", "0.05", True),
        ("-10", "10", False),
        ("-9.6", "-10", True),
        ("Yes", "yes", True),
        ("ten", "10", False),
        ("0", "0", True),
        ("0.01", "0", False),
        ("nan", "10", False),
    ],
)
def test_relaxed_accuracy(prediction: str, target: str, right: bool) -> None:
    assert relaxed_accuracy(prediction, target) is right


@pytest.mark.parametrize(("agreeing", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_vqa_accuracy(agreeing: int, score: float) -> None:
    assert vqa_accuracy("red", ["red"] * agreeing + ["blue"] * (10 - agreeing)) == pytest.approx(score)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Two dogs.", "2 dogs"),
        ("dont", "don't"),
        ("1,000", "1000"),
        ("3.5", "3.5"),
        ("black/white", "black white"),
        ("yes!", "yes"),
        ("A\nstop sign", "stop sign"),
        ("a\tstop\tsign", "stop sign"),
        # A mark that stands at the edge of a word anywhere is dropped everywhere, else it parts words.
        ("co-op x- ray", "coop x ray"),
        ("co-op x-ray", "co op x ray"),
        ("1,000 co-op", "1000 co op"),
    ],
)
def test_vqa_normal_form(text: str, normal: str) -> None:
    assert normalise_vqa(text) == normal


def test_answers_must_not_be_empty() -> None:
    with pytest.raises(FilaError, match="answers is empty"):
        exact_match("a", [])
    with pytest.raises(FilaError, match="at least 2 answers"):
        vqa_accuracy("a", ["a"])
