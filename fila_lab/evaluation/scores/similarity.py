"""ANLS: how near a prediction comes to the nearest answer, by edits. Three definitions, which differ in the lengths they divide by."""

from __future__ import annotations

from fila_lab.evaluation.scores.base import score

THRESHOLD = 0.5
"""Similarities below count nothing."""


@score("anls")
def anls(prediction: str, answers: tuple[str, ...]) -> float:
    """DocVQA's and InfographicVQA's own (and lmms-eval's): edits between texts in lower case with single spaces, over the longer *raw*
    length."""
    said = _spaced(prediction)
    return max(_similarity(said, _spaced(answer), max(len(prediction), len(answer))) for answer in answers)


@score("anls_stvqa")
def anls_stvqa(prediction: str, answers: tuple[str, ...]) -> float:
    """ST-VQA's: lower case, white space removed at both ends only, lengths as compared."""
    said = prediction.lower().strip()
    return max(_similarity(said, meant, max(len(said), len(meant))) for meant in (answer.lower().strip() for answer in answers))


@score("anls_vlmevalkit")
def anls_vlmevalkit(prediction: str, answers: tuple[str, ...]) -> float:
    """VLMEvalKit's: as DocVQA's, but lengths as compared."""
    said = _spaced(prediction)
    return max(_similarity(said, meant, max(len(said), len(meant))) for meant in map(_spaced, answers))


def levenshtein(first: str, second: str) -> int:
    """Least number of insertions, deletions and substitutions of one character."""
    previous = list(range(len(second) + 1))
    for row, left in enumerate(first, 1):
        current = [row]
        for column, right in enumerate(second, 1):
            current.append(min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (left != right)))
        previous = current
    return previous[-1]


def _similarity(said: str, meant: str, length: int) -> float:
    if said == meant:
        return 1.0
    if 1 - abs(len(said) - len(meant)) / length < THRESHOLD:
        return 0.0  # no fewer edits than the difference in length: what runs on and on is not compared
    similarity = 1 - levenshtein(said, meant) / length
    return similarity if similarity >= THRESHOLD else 0.0


def _spaced(text: str) -> str:
    return " ".join(text.lower().split())
