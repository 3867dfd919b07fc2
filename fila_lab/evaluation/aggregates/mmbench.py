"""MMBench: a question stands in the file once for each rotation of its options, and is right if all of them are."""

from __future__ import annotations

import pandas as pd

from fila_lab.config.base import FilaError
from fila_lab.evaluation.aggregates.base import Scored, levels, register_aggregate

ROTATION = 10**6
"""Rotations of one question are this far apart in `index`."""


@register_aggregate("mmbench_circular")
def mmbench_circular(scored: Scored) -> dict[str, float]:
    """`mmbench_circular` over questions, `<score>` over all rows, and the first by category. Column: index."""
    index = pd.to_numeric(scored.need("index")["index"], errors="coerce")
    if index.isna().any():
        raise FilaError(f"index = {scored.rows['index'][index.isna()].iloc[0]!r} is no number; MMBench's rotations are told apart by it")
    rows = scored.rows.assign(question=index.astype(int) % ROTATION)
    questions = rows.groupby("question", sort=True).agg({"score": "min", **{name: "first" for name in scored.by if name in rows}})
    figures = {"mmbench_circular": float(questions["score"].mean()), scored.score: float(rows["score"].mean())}
    return figures | levels("mmbench_circular", questions, "score", scored.by)
