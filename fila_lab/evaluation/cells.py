"""A cell's answers judged: a score for each, the metrics of its tasks, and the figures that benchmarks have of their own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fila_lab.config import score_names
from fila_lab.data.suite import TaskRule
from fila_lab.evaluation.aggregates import AGGREGATES, Scored
from fila_lab.evaluation.scores import SCORES
from fila_lab.evaluation.seam import summarise


def judged(predictions: pd.DataFrame, rules: Mapping[str, TaskRule]) -> pd.DataFrame:
    """The frame (columns task, prediction, answer or answers, and what is known) with `score`, 0 to 1, and `correct`, a score of 1.

    Rows without answers have no score (NaN) and are not correct.
    """
    frame = predictions.reset_index(drop=True)
    several = frame["answers"] if "answers" in frame else frame["answer"].map(lambda answer: [answer])
    scores = np.full(len(frame), np.nan)
    for task, rows in frame.groupby("task", sort=False, observed=True):
        rule = SCORES[rules[str(task)].score]
        columns = [name for name in (*rule.known, *rule.may_know) if name in rows]
        asked = rows[["prediction", *columns]].to_dict("records")  # of no columns at all, pandas before 3.1 makes no records
        scores[rows.index.to_numpy()] = [
            rule(row["prediction"], tuple(answers), {name: row[name] for name in columns}) if len(answers) else np.nan
            for row, answers in zip(asked, several[rows.index], strict=True)
        ]
    return frame.assign(score=scores, correct=scores == 1.0)


def check_judged(items: pd.DataFrame, rules: Mapping[str, TaskRule]) -> None:
    """Judge an empty answer to each item, so that what cannot be judged is known before anything is asked. Scores and aggregates of other
    packages are not tried: they may cost much.

    Raises:
        FilaError: answers or known columns are not those that the score or the aggregate of a task goes by.
    """
    own = {task: rule for task, rule in rules.items() if rule.score in score_names.SCORES and rule.aggregate in score_names.AGGREGATES}
    asked = items[items["task"].astype(str).isin(list(own))]
    if len(asked):
        aggregated(judged(asked.assign(prediction=""), own), own)


def measured(predictions: pd.DataFrame, rules: Mapping[str, TaskRule]) -> dict[str, float]:
    """`<score>/<task>[/<place>]` and what triplets say, of `judged` predictions; tasks without answers have no metric."""
    there = predictions[predictions["score"].notna()]
    return summarise(there, {task: rule.score for task, rule in rules.items()}) if len(there) else {}


def aggregated(predictions: pd.DataFrame, rules: Mapping[str, TaskRule]) -> dict[str, float]:
    """The figures of a benchmark whose own aggregate is no mean, or that has parts, of `judged` predictions of one suite; with the task in
    front (`task: figure`) where several of its tasks have some."""
    found: dict[str, dict[str, float]] = {}
    for task, rows in predictions[predictions["score"].notna()].groupby("task", observed=True):
        rule = rules[str(task)]
        if rule.aggregate != "mean" or rule.by:
            found[str(task)] = AGGREGATES[rule.aggregate](Scored(rows.rename(columns={"item_id": "id"}), rule.score, rule.by))
    several = len(found) > 1
    return {f"{task}: {name}" if several else name: value for task, figures in found.items() for name, value in figures.items()}
