"""Every metric of a cell computed again from its predictions, apart from the code that computed it the first time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from fila_lab.analysis.check import Check, listed
from fila_lab.analysis.columns import ByPlace, equal
from fila_lab.config.data import FURTHER_PLACES, PLACES, SHIFTS
from fila_lab.config.metrics import ACCURACY, AVERAGES, averaged, is_score, parse_metric

NAME = "metrics recomputed from predictions"
TOLERANCE = 1e-6
"""Shares agree to the last bits of a float64 sum; one item more or less is at least a thousand times this."""


def recompute(predictions: pd.DataFrame, judged_by: Mapping[str, str] = MappingProxyType({})) -> pd.DataFrame:
    """One row a cell (index `id`), a column a metric that follows from test predictions; NaN where a cell has no such items.

    judged_by: the score of tasks that are not judged by `exact`: their worth is the column `score`. Elsewhere right is what equals the
    answer, where the answers are there; `correct` alone else. `<score>/<task>` is the mean over its places (further ones apart),
    `exact/mean` over the tasks judged so, `exact/fine` over those with fine detail, by place too; gaps and fragmentation errors are over
    items at all three places.
    """
    frame = predictions[["id", "task", "place"]].assign(right=_worth(predictions, judged_by))
    by_place = frame.groupby(["id", "task", "place"])["right"].mean().unstack("place")  # [cells x tasks, places]
    by_task = by_place.drop(columns=list(FURTHER_PLACES), errors="ignore").mean(axis=1).unstack("task")
    score_of = {task: judged_by.get(str(task), ACCURACY) for task in by_task}
    parts = {f"{score_of[task]}/{task}/{place}": by_place[place].unstack("task")[task] for task in by_task for place in by_place if place}
    parts |= {f"{score_of[task]}/{task}": by_task[task] for task in by_task}
    exact = [str(task) for task in by_task if score_of[task] == ACCURACY]
    for average in AVERAGES:
        if own := averaged(average, exact):
            parts[f"{ACCURACY}/{average}"] = by_task[own].mean(axis=1)
            parts |= {f"{ACCURACY}/{average}/{place}": by_place[place].unstack("task")[own].mean(axis=1) for place in by_place if place}
    further = [place for place in FURTHER_PLACES if place in by_place.columns]
    aside = ByPlace.of(predictions, ["id", "task", "item_id"], [*PLACES, *further], frame["right"])
    of = [frame[name].iloc[aside.first].reset_index(drop=True) for name in ("id", "task")]
    items = of[0].groupby(of).size().unstack("task")
    parts |= {f"n/{task}": items[task].astype(float) for task in items}
    if set(PLACES) <= set(by_place.columns):
        cut, sham, intact, *others = aside.worth.T
        whole = np.flatnonzero(np.isfinite(aside.worth[:, : len(PLACES)]).all(axis=1))
        of = [own.iloc[whole].reset_index(drop=True) for own in of]
        kinds = {
            "seam_gap": sham - cut,
            "sham_gap": intact - sham,
            "fragmentation": sham * (1 - cut),
            "fragmentation_reverse": (1 - sham) * cut,
        }
        beside = dict(zip(further, others, strict=True))
        if "cross" in beside:
            kinds["cross_gap"] = sham - beside["cross"]
        if shifted := [right for place, right in beside.items() if place in SHIFTS]:
            kinds["shift_gap"] = sham - np.mean(shifted, axis=0)
            kinds["shift_error"] = sham * (1 - np.mean(shifted, axis=0))
        for kind, values in kinds.items():
            means = pd.Series(values[whole]).groupby(of).mean().unstack("task")
            parts |= {f"{kind}/{task}": means[task] for task in means}
    found = pd.DataFrame(parts).dropna(axis=1, how="all")
    return found.set_axis(found.index.astype(str))


def recomputed_check(frame: pd.DataFrame, predictions: pd.DataFrame, wanted: Iterable[str]) -> Check:
    """What the cells reported against their predictions. frame: of `load_study_frame`; wanted: the metrics that verdicts use.

    A value that differs, one that is missing, and an answer marked right that is not (or the reverse) fail, for their arm. A cell
    without predictions, or a wanted metric that does not follow from them, leaves the check not made.
    """
    judged_by = _scores_of(frame.columns)
    ours = recompute(predictions, judged_by)
    cells = frame.set_index("id")
    known = [metric for metric in ours if metric in cells]
    there = cells.index.intersection(ours.index)
    gaps = (cells.loc[there, known].astype(float) - ours.loc[there, known]).abs()
    unreported = cells.loc[there, known].isna() & ours.loc[there, known].notna()
    wrong = (gaps > TOLERANCE) | unreported
    marked = _mismarked(predictions, ~predictions["task"].isin(judged_by))
    names = {cell: f"{arm} seed {seed}" for cell, arm, seed in zip(cells.index, cells["arm"], cells["seed"], strict=True)}
    trouble = [
        f"{names[cell]}: {metric} is {_said(cells[metric][cell])}, its predictions give {ours[metric][cell]:.4f}"
        for metric in dict.fromkeys([*(name for name in wanted if name in known), *known])
        for cell in wrong.index[wrong[metric]]
    ]
    trouble += [f"{names[cell]}: {count} answers are marked wrongly" for cell, count in marked.items()]
    if trouble:
        bad = {*wrong.index[wrong.any(axis=1)], *marked}
        more = f"; and {len(trouble) - 3} more" if len(trouble) > 3 else ""
        return Check(NAME, False, "; ".join(trouble[:3]) + more, frozenset(cells.loc[list(bad), "arm"].astype(str)))
    unmade = []
    if without := [names[cell] for cell in cells.index.difference(there)]:
        unmade.append(f"{len(without)} of {len(cells)} cells have no readable predictions ({listed(without)})")
    if left := [metric for metric in dict.fromkeys(wanted) if metric not in known]:
        unmade.append(f"{', '.join(left)} cannot be computed from predictions")
    if unmade:
        return Check(NAME, None, "; ".join(unmade))
    kinds = sorted({str(name).split("/")[0] for name in cells if _is_metric(str(name)) and name not in known})
    rest = f"; not from predictions: {', '.join([*kinds, 'values on validation items'])}"
    worst = float(np.nan_to_num(gaps.to_numpy()).max(initial=0.0))
    return Check(NAME, True, f"{int(gaps.notna().to_numpy().sum())} values of {len(there)} cells, greatest deviation {worst:.1e}{rest}")


def _scores_of(columns: Iterable[object]) -> dict[str, str]:
    """Task -> the score by which cells say it is judged, of those that are not judged by `exact`."""
    metrics = [parse_metric(str(name)) for name in columns]
    return {metric.task: metric.kind for metric in metrics if metric.task and metric.kind != ACCURACY and is_score(metric.kind)}


def _worth(predictions: pd.DataFrame, judged_by: Mapping[str, str]) -> pd.Series:
    """What each answer counts, 0 to 1."""
    scored = predictions["task"].isin(judged_by)
    if not scored.any() or "score" not in predictions:
        return _right(predictions)
    return _right(predictions).mask(scored, predictions["score"].astype(float))


def _right(predictions: pd.DataFrame) -> pd.Series:
    """1.0 where the answer given is the answer wanted."""
    right = predictions["correct"] if "answer" not in predictions else equal(predictions["prediction"], predictions["answer"])
    return right.astype(float)


def _mismarked(predictions: pd.DataFrame, rows: pd.Series) -> dict[str, int]:
    """Cell id -> answers of these rows whose mark does not follow from prediction and answer."""
    off = rows & (_right(predictions).astype(bool) != predictions["correct"].astype(bool))
    return {str(cell): int(count) for cell, count in off.groupby(predictions["id"]).sum().items() if count}


def _is_metric(column: str) -> bool:
    return "/" in column and not column.startswith("timing/")


def _said(value: float) -> str:
    return "missing" if value != value else f"{value:.4f}"
