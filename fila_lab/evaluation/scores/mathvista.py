"""MathVista: a short answer read as the type its question asks for. What a judge would extract from a longer text is not part of it."""

from __future__ import annotations

import re
from typing import Any

from fila_lab.evaluation.scores.base import score
from fila_lab.evaluation.scores.letters import options_of
from fila_lab.evaluation.scores.similarity import levenshtein


@score("mathvista", known=("question_type", "answer_type"), may_know=("options", "precision"))
def mathvista(
    prediction: str, answers: tuple[str, ...], question_type: Any, answer_type: Any, options: Any = (), precision: Any = None
) -> float:
    """Equal to the answer as text, once read: an option by its letter or as the nearest by edits (never unread), a whole number, a number
    rounded to `precision` places; lists and texts as they stand."""
    if question_type == "multi_choice":
        said = _nearest(prediction.strip(), options_of(options))
    else:
        said = _typed(prediction, answer_type, precision)
    return said is not None and said.strip() in {answer.strip() for answer in answers}


def _nearest(text: str, options: dict[str, str]) -> str | None:
    if found := re.search(r"\(([a-zA-Z])\)", text):
        text = found[1].upper()
    if text in options:
        return options[text]
    return min(options.values(), key=lambda option: levenshtein(text, option), default=None)


def _typed(text: str, kind: Any, precision: Any) -> str | None:
    try:
        if kind == "integer":
            return str(int(float(text)))
        if kind == "float":
            return str(round(float(text), int(precision)))
    except (ValueError, OverflowError, TypeError):
        return None
    return text
