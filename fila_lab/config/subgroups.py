"""By what a family's contrasts may be split: columns of the predictions, and which metrics they can split."""

from __future__ import annotations

from collections.abc import Sequence

from fila_lab.config.base import did_you_mean
from fila_lab.config.data import SEAM_TASKS
from fila_lab.config.metrics import ACCURACY, AVERAGES, MEAN, is_score, parse_metric
from fila_lab.config.renamed import renamed_word

GAPS = {"seam_gap": ("sham", "cut"), "sham_gap": ("intact", "sham"), "cross_gap": ("sham", "cross")}
"""Kinds of metric that are, beside every score, means over items, so that a part of the items has one of its own -> the places of which
they are the accuracy of the first less that of the second."""
SUBGROUPS = ("place", "task", "length", "addressing", "cut_fraction", "axis", "canvas", "evidence", "height_class")
"""What is known of generated items beside their answers. `length`: characters of a code; `addressing`: how the question names its target;
`height_class`: whether its text is legible on the canvas, where `data.seam.below_share` asks for both."""


def check_by(field: str, by: Sequence[str], metric: str) -> None:
    """ValueError, with `field` named, for columns that are unknown, named twice, or the same for all items of the metric.

    What is known of the items of files stands in these, so of a task of theirs every column is taken.
    """
    if not by:
        return
    kind, task, place = parse_metric(metric)
    if kind not in GAPS and not is_score(kind):
        remedy = f"split a score ({ACCURACY}/...) or {', '.join(GAPS)}"
        raise ValueError(f"{field}: metric {metric!r} is no mean over items, so no part of them has one; {remedy}")
    for at, column in enumerate(by):
        if column not in SUBGROUPS and (task in SEAM_TASKS or task in AVERAGES or not is_score(kind)):
            unknown = renamed_word(column) or f"unknown column {column!r}{did_you_mean(column, SUBGROUPS)}"
            raise ValueError(f"{field}: {unknown}; columns are {', '.join(SUBGROUPS)}")
        if column in by[:at]:
            raise ValueError(f"{field}: {column!r} stands there twice; remove one")
        if column == "task" and task not in AVERAGES:
            raise ValueError(f"{field}: 'task' cannot split {metric!r}, whose items are all of the task {task}; use the metric {MEAN}")
        if column == "place" and (place or kind != ACCURACY):
            other = f"{ACCURACY}/{task}"
            raise ValueError(f"{field}: 'place' cannot split {metric!r}, which names its places itself; use the metric {other}")
