"""What the triplets say: accuracies by place, seam gap, sham gap and fragmentation error; and what the places beside them do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fila_lab.config.base import FilaError
from fila_lab.config.data import FURTHER_PLACES, PLACES, SHIFTS
from fila_lab.config.metrics import ACCURACY, AVERAGES, averaged


def summarise(predictions: pd.DataFrame, scores: Mapping[str, str] | None = None) -> dict[str, float]:
    """Metrics of a predictions frame (columns item_id, task, place, correct; one row an item and place), all shares except `n/`.

    `scores`: the score by which a task is judged, `exact` where none is named; the mean of another is that of the column `score`.
    `<score>/<task>` is the mean over its places of `<score>/<task>/<place>`; `exact/mean` the mean over the tasks judged so, `exact/fine`
    over those of them with fine detail, both by place too. Gaps and fragmentation errors are over triplets; a task whose items have one
    place each, or none, has none: those names are then absent.
    Places beside a triplet's count in no mean over places. What two seams cost is `cross_gap`, accuracy(sham) - accuracy(cross); what sham
    places lose by a shift of less than a patch is the noise floor of the gaps and errors, `shift_gap` and `shift_error` (right at the sham
    place, wrong when shifted), each the mean over the shifts.
    Raises FilaError for an empty or malformed frame, and for a task in which only some items are whole triplets.
    """
    judged_by = {task: name for task, name in (scores or {}).items() if name != ACCURACY}
    frame = _checked(predictions, *(("score",) if judged_by else ()))
    metrics: dict[str, float] = {}
    for task, rows in frame.groupby("task", sort=True):
        kind = judged_by.get(str(task), ACCURACY)
        by_place = rows.groupby("place")["correct" if kind == ACCURACY else "score"].mean()
        for place in (*PLACES, *FURTHER_PLACES):
            if place in by_place.index:
                metrics[f"{kind}/{task}/{place}"] = float(by_place[place])
        metrics[f"{kind}/{task}"] = float(by_place.drop(labels=list(FURTHER_PLACES), errors="ignore").mean())
        metrics[f"n/{task}"] = float(rows["item_id"].nunique())
        table = _triplets(rows[~rows["place"].isin(FURTHER_PLACES)], str(task))
        if len(table):
            cut, sham, intact = (table[place].to_numpy() for place in PLACES)
            metrics |= _beside(rows, table["sham"], str(task))
            metrics[f"seam_gap/{task}"] = float(sham.mean() - cut.mean())
            metrics[f"sham_gap/{task}"] = float(intact.mean() - sham.mean())
            metrics[f"fragmentation/{task}"] = float((sham & ~cut).mean())
            metrics[f"fragmentation_reverse/{task}"] = float((~sham & cut).mean())
    return metrics | _averages(metrics, [str(task) for task in frame["task"].unique() if task not in judged_by])


def _averages(metrics: Mapping[str, float], tasks: Sequence[str]) -> dict[str, float]:
    """Means over tasks, and over those that have a place, by place."""
    found = {}
    for average in AVERAGES:
        for end in ("", *(f"/{place}" for place in (*PLACES, *FURTHER_PLACES))):
            values = [metrics[name] for task in averaged(average, tasks) if (name := f"{ACCURACY}/{task}{end}") in metrics]
            if values:
                found[f"{ACCURACY}/{average}{end}"] = float(np.mean(values))
    return found


def _checked(predictions: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The needed columns with `correct` as bool, or FilaError."""
    needed = ["item_id", "task", "place", "correct", *columns]
    missing = [column for column in needed if column not in predictions.columns]
    if missing:
        raise FilaError(f"predictions: columns {', '.join(missing)} are missing; a predictions frame has {', '.join(needed)}")
    if not len(predictions):
        raise FilaError("predictions: the frame is empty; there must be at least one predicted item")
    frame = predictions[needed]
    gaps = [column for column in needed if frame[column].isna().any()]
    if gaps:
        raise FilaError(f"predictions: columns {', '.join(gaps)} have empty values; every row needs them")
    unknown = sorted(set(map(str, frame["place"].unique())) - {*PLACES, *FURTHER_PLACES, ""})
    if unknown:
        raise FilaError(f"predictions: unknown place {', '.join(map(repr, unknown))}; places are {', '.join(PLACES)}")
    if not frame["correct"].isin([0, 1]).all():
        raise FilaError("predictions: column correct has values other than true and false")
    twice = frame.duplicated(["task", "item_id", "place"])
    if twice.any():
        row = frame[twice].iloc[0]
        raise FilaError(f"predictions: item {row['item_id']!r} of task {row['task']!r} appears twice at place {row['place']!r}")
    return frame.assign(correct=frame["correct"].astype(bool))


def _beside(rows: pd.DataFrame, sham: pd.Series, task: str) -> dict[str, float]:
    """What the further places of one task's checked rows say beside their items' sham places. FilaError where an item lacks one."""
    found, shifted = {}, []
    for place in FURTHER_PLACES:
        own = rows[rows["place"] == place].set_index("item_id")["correct"].reindex(sham.index)
        if own.isna().all():
            continue
        if own.isna().any():
            raise FilaError(f"predictions: item {own.index[own.isna()][0]!r} of task {task!r} lacks the place {place!r}, which others have")
        if place in SHIFTS:
            shifted.append(own.to_numpy(bool))
        else:
            found[f"cross_gap/{task}"] = float(sham.mean() - own.mean())
    if shifted:
        found[f"shift_gap/{task}"] = float(np.mean([sham.mean() - right.mean() for right in shifted]))
        found[f"shift_error/{task}"] = float(np.mean([(sham.to_numpy() & ~right).mean() for right in shifted]))
    return found


def _triplets(rows: pd.DataFrame, task: str) -> pd.DataFrame:
    """item_id x places, bool, of one task's checked rows; empty where no item has all places."""
    counts = rows.groupby("item_id")["place"].count()
    whole = int((counts == len(PLACES)).sum())
    if whole and whole < len(counts):
        lacking = counts.index[counts < len(PLACES)][0]
        raise FilaError(
            f"predictions: {len(counts) - whole} of {len(counts)} items of task {task!r} lack a place (the first is {lacking!r}); "
            f"triplets need {', '.join(PLACES)}"
        )
    if not whole:
        return pd.DataFrame({place: np.zeros(0, bool) for place in PLACES}, index=pd.Index([], name="item_id"))
    table = rows.pivot(index="item_id", columns="place", values="correct")[list(PLACES)]
    return table.astype(bool).rename_axis(columns=None)
