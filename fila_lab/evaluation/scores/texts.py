"""Equal, or contained: scores of texts as they are."""

from __future__ import annotations

import string

from fila_lab.evaluation.scores.base import score

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@score("exact")
def exact(prediction: str, answers: tuple[str, ...]) -> float:
    """Equal to one of the answers, character by character: what a cell's `correct` says."""
    return prediction in answers


@score("exact_nocase")
def exact_nocase(prediction: str, answers: tuple[str, ...]) -> float:
    """Equal to one of the answers, letter case and surplus white space aside."""
    return plain(prediction) in {plain(answer) for answer in answers}


@score("gqa")
def gqa(prediction: str, answers: tuple[str, ...]) -> float:
    """GQA as in lmms-eval: equal in lower case without ASCII punctuation. White space and articles count."""
    return _bare(prediction) in {_bare(answer) for answer in answers}


@score("gqa_original")
def gqa_original(prediction: str, answers: tuple[str, ...]) -> float:
    """GQA's own evaluation of the file that LLaVA writes for it: lower case, without full stops at the end."""
    return prediction.rstrip(".").lower() in answers


@score("contains")
def contains(prediction: str, answers: tuple[str, ...]) -> float:
    """One of the answers stands in the prediction, letter case aside, line breaks as spaces."""
    return within(_line(prediction), [_line(answer) for answer in answers])


def within(text: str, answers: list[str]) -> bool:
    """Whether one of the answers stands in the text. An empty one stands in an empty text only."""
    return any(answer in text if answer else not text for answer in answers)


def plain(text: str) -> str:
    """Without letter case and surplus white space."""
    return " ".join(text.split()).casefold()


def _bare(text: str) -> str:
    return text.lower().translate(_NO_PUNCTUATION)


def _line(text: str) -> str:
    return text.lower().strip().replace("\n", " ")
