"""What a prediction is worth: benchmark metrics, and what triplets say about seams. No torch here."""

from fila_lab.evaluation.blind import question_only
from fila_lab.evaluation.metrics import anls, exact_match, relaxed_accuracy, vqa_accuracy
from fila_lab.evaluation.seam import PLACES, Interval, seam_gap_interval, summarise, triplet_table

__all__ = [
    "PLACES",
    "Interval",
    "anls",
    "exact_match",
    "question_only",
    "relaxed_accuracy",
    "seam_gap_interval",
    "summarise",
    "triplet_table",
    "vqa_accuracy",
]
