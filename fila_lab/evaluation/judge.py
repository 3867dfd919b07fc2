"""Rows of a benchmark and what was predicted for them: a score for each, and the benchmark's figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fila_lab.config.base import FilaError
from fila_lab.config.benchmark import Benchmark, load_benchmark
from fila_lab.evaluation.aggregates import AGGREGATES, Scored
from fila_lab.evaluation.scores import SCORES

NEEDED = ("id", "prediction", "answers")
Rows = pd.DataFrame | Iterable[Mapping[str, Any]]


def aggregate(
    benchmark: str | Path | Benchmark, rows: Rows, *, score: str | None = None, definition: str | None = None
) -> dict[str, float]:
    """A benchmark's own figures, with `n`, the number of rows.

    Args:
        benchmark: a name (docvqa), the path of a YAML file that defines one, or what that says.
        rows: a frame or mappings with id, prediction, answers, and what is known of each (category, index, ... as the aggregate needs).
        score: another score than the benchmark's (vqa_vlmevalkit), where definitions differ.
        definition: another aggregate (pope_lmms_eval); the score of the same name goes with it where there is one and none is given.

    Raises:
        FilaError: an unknown name, rows without answers, ids that stand twice, or a column missing.
    """
    rule = benchmark if isinstance(benchmark, Benchmark) else load_benchmark(benchmark)
    score, name = chosen(rule, score, definition)
    judge = AGGREGATES[name]
    scored = scored_rows(rows, score)
    return {**judge(Scored(scored, score, rule.by)), "n": float(len(scored))}


def chosen(rule: Benchmark, score: str | None, definition: str | None) -> tuple[str, str]:
    """(score, aggregate) by which a benchmark is judged where these are asked for."""
    with_it = definition if definition is not None and definition in SCORES else rule.score
    return score or with_it, definition or rule.aggregate


def scored_rows(rows: Rows, score: str) -> pd.DataFrame:
    """The rows as a frame, with `answers` as tuples and a column `score`.

    Raises:
        FilaError: as in `aggregate`.
    """
    try:
        frame = rows.copy() if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    except UnicodeEncodeError as error:
        raise FilaError(f"rows: a text holds {error.object[error.start]!r}, half of a character; write it whole") from error
    if frame.empty:
        raise FilaError("rows is empty; there is nothing to judge")
    if missing := [column for column in NEEDED if column not in frame]:
        raise FilaError(f"rows: no column {', '.join(missing)}; each row has {', '.join(NEEDED)}")
    if (twice := frame["id"].duplicated()).any():
        raise FilaError(f"id {str(frame.loc[twice, 'id'].iloc[0])!r} stands twice in the rows; each is judged once")
    frame["answers"] = [_listed(answers) for answers in frame["answers"]]
    bare = frame["answers"].map(len) == 0
    if bare.any():
        first = str(frame.loc[bare, "id"].iloc[0])
        raise FilaError(
            f"answers: {int(bare.sum())} of {len(frame)} rows have none (first: id {first!r}), as in a test split; predictions for it can "
            "be made, but only the benchmark's server scores them"
        )
    rule = SCORES[score]
    columns = [name for name in (*rule.known, *rule.may_know) if name in frame]
    frame["score"] = [
        rule(row["prediction"], row["answers"], {name: row[name] for name in columns})
        for row in frame[["prediction", "answers", *columns]].to_dict("records")
    ]
    return frame


def _listed(answers: Any) -> tuple[str, ...]:
    if isinstance(answers, str):
        return (answers,)
    return tuple(answers) if isinstance(answers, Iterable) else ()
