"""What a prediction is worth: scores and aggregates by name, and what triplets say about seams. No torch here."""

from fila_lab.evaluation.aggregates import AGGREGATES, Scored
from fila_lab.evaluation.blind import question_only
from fila_lab.evaluation.cells import aggregated, check_judged, judged, measured
from fila_lab.evaluation.judge import aggregate, scored_rows
from fila_lab.evaluation.scores import SCORES, Score
from fila_lab.evaluation.seam import summarise

__all__ = [
    "AGGREGATES",
    "SCORES",
    "Score",
    "Scored",
    "aggregate",
    "aggregated",
    "check_judged",
    "judged",
    "measured",
    "question_only",
    "scored_rows",
    "summarise",
]
