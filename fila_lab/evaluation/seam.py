"""What the triplets say: accuracies by place, seam gap, sham gap and fragmentation error, with intervals over items clustered by image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fila_lab.config.base import FilaError
from fila_lab.config.data import PLACES
from fila_lab.config.metrics import ACCURACY, MEAN

_CHUNK = 1 << 22
"""Bootstrap weights held at once."""


@dataclass(frozen=True)
class Interval:
    """An estimate with the two ends of its interval, in shares; `items` triplets in `clusters` images."""

    estimate: float
    low: float
    high: float
    items: int
    clusters: int


def summarise(predictions: pd.DataFrame, scores: Mapping[str, str] | None = None) -> dict[str, float]:
    """Metrics of a predictions frame (columns item_id, task, place, correct; one row an item and place), all shares except `n/`.

    `scores`: the score by which a task is judged, `exact` where none is named; the mean of another is that of the column `score`.
    `<score>/<task>` is the mean over its places of `<score>/<task>/<place>`, and `exact/mean` the mean over the tasks judged so. Gaps and
    fragmentation errors are over triplets; a task whose items have one place each, or none, has none: those names are then absent.
    Raises FilaError for an empty or malformed frame, and for a task in which only some items are whole triplets.
    """
    judged_by = {task: name for task, name in (scores or {}).items() if name != ACCURACY}
    frame = _checked(predictions, *(("score",) if judged_by else ()))
    metrics: dict[str, float] = {}
    for task, rows in frame.groupby("task", sort=True):
        kind = judged_by.get(str(task), ACCURACY)
        by_place = rows.groupby("place")["correct" if kind == ACCURACY else "score"].mean()
        for place in PLACES:
            if place in by_place.index:
                metrics[f"{kind}/{task}/{place}"] = float(by_place[place])
        metrics[f"{kind}/{task}"] = float(by_place.mean())
        metrics[f"n/{task}"] = float(rows["item_id"].nunique())
        table = _triplets(rows, str(task))
        if len(table):
            cut, sham, intact = (table[place].to_numpy() for place in PLACES)
            metrics[f"seam_gap/{task}"] = float(sham.mean() - cut.mean())
            metrics[f"sham_gap/{task}"] = float(intact.mean() - sham.mean())
            metrics[f"fragmentation/{task}"] = float((sham & ~cut).mean())
            metrics[f"fragmentation_reverse/{task}"] = float((~sham & cut).mean())
    exact = [metrics[f"{ACCURACY}/{task}"] for task in frame["task"].unique() if task not in judged_by]
    return metrics | ({MEAN: float(np.mean(exact))} if exact else {})


def triplet_table(predictions: pd.DataFrame, task: str | None = None) -> pd.DataFrame:
    """item_id x (cut, sham, intact): whether the answer was right, bool. Of one task, or of all where they share no item ids."""
    frame = _checked(predictions) if task is None else _of_task(predictions, task)
    tables = [_triplets(rows, str(name)) for name, rows in frame.groupby("task", sort=True)]
    table = pd.concat(tables)
    if not table.index.is_unique:
        raise FilaError("item_id: tasks share item ids; give triplet_table a task")
    return table


def seam_gap_interval(
    predictions: pd.DataFrame, task: str, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Percentile bootstrap intervals of `seam_gap` and `sham_gap` of one task, over its triplets clustered by `image_id`.

    Whole images are drawn with replacement, so items that share a page or photo stay together. The same draws serve both gaps.
    Raises FilaError where the task has no triplets, an item lies on several images, or fewer than 2 images leave nothing to resample.
    """
    if not 0 < confidence < 1 or resamples < 1:
        raise FilaError(f"confidence={confidence}, resamples={resamples}: confidence must lie between 0 and 1, and resamples be at least 1")
    frame = _of_task(predictions, task, "image_id")
    table = _triplets(frame, task)
    if not len(table):
        raise FilaError(f"task {task!r} has no triplets; a seam gap needs each item at the places {', '.join(PLACES)}")
    images = frame.groupby("item_id")["image_id"]
    if (images.nunique() != 1).any():
        raise FilaError(f"image_id: items of task {task!r} have different images at their places; a triplet shares one image_id")
    codes, _ = pd.factorize(images.first().loc[table.index], sort=True)
    clusters = int(codes.max()) + 1
    if clusters < 2:
        raise FilaError(f"image_id: task {task!r} lies on one image; an interval clustered by image needs at least 2")
    cut, sham, intact = (table[place].to_numpy(float) for place in PLACES)
    differences = np.stack([sham - cut, intact - sham])
    sizes = np.bincount(codes, minlength=clusters).astype(float)
    sums = np.stack([np.bincount(codes, weights=row, minlength=clusters) for row in differences], axis=1)
    draws = _bootstrap_means(sums, sizes, resamples, np.random.default_rng(seed))
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return {
        name: Interval(float(differences[i].mean()), float(low[i]), float(high[i]), len(table), clusters)
        for i, name in enumerate(("seam_gap", "sham_gap"))
    }


def _bootstrap_means(sums: np.ndarray, sizes: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """sums [C, M] and sizes [C] per cluster -> means [R, M] of R draws of C clusters with replacement."""
    clusters = len(sizes)
    step = max(1, _CHUNK // clusters)
    means = []
    for start in range(0, resamples, step):
        weights = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=min(step, resamples - start)).astype(float)
        means.append((weights @ sums) / (weights @ sizes)[:, None])
    return np.concatenate(means)


def _of_task(predictions: pd.DataFrame, task: str, *columns: str) -> pd.DataFrame:
    frame = _checked(predictions, *columns)
    rows = frame[frame["task"] == task]
    if not len(rows):
        known = ", ".join(map(repr, sorted(frame["task"].unique())))
        raise FilaError(f"task {task!r} is not among the predictions; they have {known}")
    return rows


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
    unknown = sorted(set(map(str, frame["place"].unique())) - {*PLACES, ""})
    if unknown:
        raise FilaError(f"predictions: unknown place {', '.join(map(repr, unknown))}; places are {', '.join(PLACES)}")
    if not frame["correct"].isin([0, 1]).all():
        raise FilaError("predictions: column correct has values other than true and false")
    twice = frame.duplicated(["task", "item_id", "place"])
    if twice.any():
        row = frame[twice].iloc[0]
        raise FilaError(f"predictions: item {row['item_id']!r} of task {row['task']!r} appears twice at place {row['place']!r}")
    return frame.assign(correct=frame["correct"].astype(bool))


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
