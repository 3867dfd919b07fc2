"""What the triplets say: accuracies by place, seam gap, sham gap and fragmentation error, with intervals over items clustered by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fila_lab.config.base import FilaError
from fila_lab.config.run import PLACES

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


def summarise(predictions: pd.DataFrame) -> dict[str, float]:
    """Metrics of a predictions frame (columns item_id, family, place, correct; one row an item and place), all shares except `n/`.

    `exact/<family>` is the mean over its places of `exact/<family>/<place>`, and `exact/mean` the mean over families. Gaps and
    fragmentation errors are over triplets; a family whose items have one place each (validation) has none: those names are then absent.
    Raises FilaError for an empty or malformed frame, and for a family in which only some items are whole triplets.
    """
    frame = _checked(predictions)
    metrics: dict[str, float] = {}
    for family, rows in frame.groupby("family", sort=True):
        by_place = rows.groupby("place")["correct"].mean()
        for place in PLACES:
            if place in by_place.index:
                metrics[f"exact/{family}/{place}"] = float(by_place[place])
        metrics[f"exact/{family}"] = float(by_place.mean())
        metrics[f"n/{family}"] = float(rows["item_id"].nunique())
        table = _triplets(rows, str(family))
        if len(table):
            cut, sham, intact = (table[place].to_numpy() for place in PLACES)
            metrics[f"seam_gap/{family}"] = float(sham.mean() - cut.mean())
            metrics[f"sham_gap/{family}"] = float(intact.mean() - sham.mean())
            metrics[f"fragmentation/{family}"] = float((sham & ~cut).mean())
            metrics[f"fragmentation_reverse/{family}"] = float((~sham & cut).mean())
    metrics["exact/mean"] = float(np.mean([metrics[f"exact/{family}"] for family in frame["family"].unique()]))
    return metrics


def triplet_table(predictions: pd.DataFrame, family: str | None = None) -> pd.DataFrame:
    """item_id x (cut, sham, intact): whether the answer was right, bool. Of one family, or of all where they share no item ids."""
    frame = _checked(predictions) if family is None else _of_family(predictions, family)
    tables = [_triplets(rows, str(name)) for name, rows in frame.groupby("family", sort=True)]
    table = pd.concat(tables)
    if not table.index.is_unique:
        raise FilaError("item_id: families share item ids; give triplet_table a family")
    return table


def seam_gap_interval(
    predictions: pd.DataFrame, family: str, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Percentile bootstrap intervals of `seam_gap` and `sham_gap` of one family, over its triplets clustered by `image_id`.

    Whole images are drawn with replacement, so items that share a page or photo stay together. The same draws serve both gaps.
    Raises FilaError where the family has no triplets, an item lies on several images, or fewer than 2 images leave nothing to resample.
    """
    if not 0 < confidence < 1 or resamples < 1:
        raise FilaError(f"confidence={confidence}, resamples={resamples}: confidence must lie between 0 and 1, and resamples be at least 1")
    frame = _of_family(predictions, family, "image_id")
    table = _triplets(frame, family)
    if not len(table):
        raise FilaError(f"family {family!r} has no triplets; a seam gap needs each item at the places {', '.join(PLACES)}")
    images = frame.groupby("item_id")["image_id"]
    if (images.nunique() != 1).any():
        raise FilaError(f"image_id: items of family {family!r} have different images at their places; a triplet shares one image_id")
    codes, _ = pd.factorize(images.first().loc[table.index], sort=True)
    clusters = int(codes.max()) + 1
    if clusters < 2:
        raise FilaError(f"image_id: family {family!r} lies on one image; an interval clustered by image needs at least 2")
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


def _of_family(predictions: pd.DataFrame, family: str, *columns: str) -> pd.DataFrame:
    frame = _checked(predictions, *columns)
    rows = frame[frame["family"] == family]
    if not len(rows):
        known = ", ".join(map(repr, sorted(frame["family"].unique())))
        raise FilaError(f"family {family!r} is not among the predictions; they have {known}")
    return rows


def _checked(predictions: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The needed columns with `correct` as bool, or FilaError."""
    needed = ["item_id", "family", "place", "correct", *columns]
    missing = [column for column in needed if column not in predictions.columns]
    if missing:
        raise FilaError(f"predictions: columns {', '.join(missing)} are missing; a predictions frame has {', '.join(needed)}")
    if not len(predictions):
        raise FilaError("predictions: the frame is empty; there must be at least one predicted item")
    frame = predictions[needed]
    gaps = [column for column in needed if frame[column].isna().any()]
    if gaps:
        raise FilaError(f"predictions: columns {', '.join(gaps)} have empty values; every row needs them")
    unknown = sorted(set(map(str, frame["place"].unique())) - set(PLACES))
    if unknown:
        raise FilaError(f"predictions: unknown place {', '.join(map(repr, unknown))}; places are {', '.join(PLACES)}")
    if not frame["correct"].isin([0, 1]).all():
        raise FilaError("predictions: column correct has values other than true and false")
    twice = frame.duplicated(["family", "item_id", "place"])
    if twice.any():
        row = frame[twice].iloc[0]
        raise FilaError(f"predictions: item {row['item_id']!r} of family {row['family']!r} appears twice at place {row['place']!r}")
    return frame.assign(correct=frame["correct"].astype(bool))


def _triplets(rows: pd.DataFrame, family: str) -> pd.DataFrame:
    """item_id x places, bool, of one family's checked rows; empty where no item has all places."""
    counts = rows.groupby("item_id")["place"].count()
    whole = int((counts == len(PLACES)).sum())
    if whole and whole < len(counts):
        lacking = counts.index[counts < len(PLACES)][0]
        raise FilaError(
            f"predictions: {len(counts) - whole} of {len(counts)} items of family {family!r} lack a place (the first is {lacking!r}); "
            f"triplets need {', '.join(PLACES)}"
        )
    if not whole:
        return pd.DataFrame({place: np.zeros(0, bool) for place in PLACES}, index=pd.Index([], name="item_id"))
    table = rows.pivot(index="item_id", columns="place", values="correct")[list(PLACES)]
    return table.astype(bool).rename_axis(columns=None)
