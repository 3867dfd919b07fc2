"""Scores of one prediction against its accepted answers, by name: `SCORES["anls"](prediction, answers)` lies between 0 and 1.

Each is what the field computes; `fila_lab.config.score_names` says in a line what each is, and whose where definitions differ.
"""

from fila_lab.evaluation.scores import annotators, letters, mathvista, numbers, ocr, similarity, texts, yes_no
from fila_lab.evaluation.scores.base import SCORES, Answers, Score, score

__all__ = [
    "SCORES",
    "Answers",
    "Score",
    "annotators",
    "letters",
    "mathvista",
    "numbers",
    "ocr",
    "score",
    "similarity",
    "texts",
    "yes_no",
]
