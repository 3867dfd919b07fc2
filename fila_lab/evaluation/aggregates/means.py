"""The mean, over all rows and by what is known of them."""

from __future__ import annotations

from fila_lab.evaluation.aggregates.base import Scored, levels, register_aggregate


@register_aggregate("mean")
def mean(scored: Scored) -> dict[str, float]:
    """`<score>`, and `<score>/<column>=<level>`."""
    return {scored.score: float(scored.rows["score"].mean())} | levels(scored.score, scored.rows, "score", scored.by)
