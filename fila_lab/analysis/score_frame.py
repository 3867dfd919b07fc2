"""Every metric of every finished cell as one long frame, and the part of it that says how good arms are."""

from __future__ import annotations

import pandas as pd

from fila_lab.config.metrics import MEAN, is_score, parse_metric

KEYS = ("arm", "seed", "pair")
COLUMNS = (*KEYS, "task", "place", "metric", "value")
OVER_TASKS = parse_metric(MEAN).task
"""The task of what is a mean over tasks."""


def score_frame(frame: pd.DataFrame, arms: tuple[str, ...]) -> pd.DataFrame:
    """Columns COLUMNS, a row a cell and metric, cells in their order; arm is categorical in the order of `arms`.

    frame: of `load_study_frame`, with `pair`; columns that are no metrics (times) are left out, and what a cell does not have.
    """
    names = [name for name in map(str, frame.columns) if "/" in name and not name.startswith("timing/")]
    long = frame.reset_index(names="cell").melt(["cell", *KEYS], names, "name", "value").dropna(subset=["value"])
    parts = {name: parse_metric(name) for name in names}
    for column, part in (("metric", "kind"), ("task", "task"), ("place", "place")):
        long[column] = long["name"].map({name: getattr(one, part) for name, one in parts.items()}).astype("category")
    long["arm"] = pd.Categorical(long["arm"], categories=list(arms))
    return long.sort_values("cell", kind="stable")[list(COLUMNS)].reset_index(drop=True)


def task_scores(scores: pd.DataFrame, place: str = "") -> pd.DataFrame:
    """The rows of `scores` that say how good a cell is at a task: each task by the score it is judged by, over all places or at one.

    Means over tasks, gaps, error rates and counts are left out.

    Raises:
        ValueError: the columns are not those of `StudyFrames.scores`, or no row is left.

    Example:
        >>> study = load("experiments/results/remove_fusion")
        >>> task_scores(study.scores, place="cut")["task"].unique().tolist()
        ['coarse', 'reading']
    """
    if missing := [name for name in COLUMNS if name not in scores]:
        raise ValueError(
            f"scores: no column {', '.join(missing)}; give the frame of `fila_lab.analysis.load(FOLDER).scores`, or rows of it"
        )
    kinds = [kind for kind in scores["metric"].unique() if is_score(kind)]
    chosen = scores[scores["metric"].isin(kinds) & (scores["task"] != OVER_TASKS) & (scores["place"] == place)]
    if chosen.empty:
        places = ", ".join(repr(one) for one in scores["place"].unique())
        raise ValueError(f"scores: no task has a score at place {place!r}; there is {places or 'no row'}")
    return chosen
