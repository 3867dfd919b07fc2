"""OCRBench: hits of a thousand, and by kind of question."""

from __future__ import annotations

from fila_lab.evaluation.aggregates.base import Scored, register_aggregate

QUESTIONS = 1000
RECOGNITION = tuple(
    f"{kind} Recognition"
    for kind in ("Regular Text", "Irregular Text", "Artistic Text", "Handwriting", "Digit String", "Non-Semantic Text")
)
"""The kinds that are reported together as text recognition."""


@register_aggregate("ocrbench")
def ocrbench(scored: Scored) -> dict[str, float]:
    """`ocrbench` (hits / 1,000, however many rows there are), `hits` and `hits/<kind>`. Column: question_type."""
    rows = scored.need("question_type")
    hits = {str(kind): float(sum_) for kind, sum_ in rows.groupby("question_type", sort=True)["score"].sum().items()}
    total = sum(hits.values())
    figures = {"ocrbench": total / QUESTIONS, "hits": total}
    if any(kind in hits for kind in RECOGNITION):
        figures["hits/Text Recognition"] = sum(hits.get(kind, 0.0) for kind in RECOGNITION)
    return figures | {f"hits/{kind}": value for kind, value in hits.items()}
