"""Item-level uncertainty of a gap between two places: bootstrap over images, all seeds of an arm together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fila_lab.analysis.columns import ByPlace
from fila_lab.analysis.statistics import CONFIDENCE
from fila_lab.config.data import PLACES

FEW_CLUSTERS = 20
"""Below this many images a cluster bootstrap under-covers, and the report says so."""


@dataclass(frozen=True)
class GapInterval:
    """accuracy(high place) - accuracy(low place) over triplets, with a 95 % percentile interval over test images; seeds are held fixed.

    Example:
        >>> found = Findings.of("experiments/results/remove_fusion")
        >>> gap = found.gaps["none", "reading", "seam"]
        >>> gap.low < gap.gap < gap.high
        True
    """

    gap: float
    low: float
    high: float
    triplets: int
    images: int
    seeds: int


def triplet_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Rows (arm, seed, task, item_id), columns cut/sham/intact (bool) and image_id; triplets with a missing place are left out.

    predictions: frame of `load_predictions`.
    """
    keys = ["arm", "seed", "task", "item_id"]
    if not set(PLACES) <= set(predictions["place"].unique()):
        return pd.DataFrame(columns=[*keys, *PLACES, "image_id"])
    aside = ByPlace.of(predictions, keys, PLACES, predictions["correct"])
    whole = np.isfinite(aside.worth).all(axis=1)
    table = predictions[keys].iloc[aside.first[whole]].reset_index(drop=True)
    for name, right in zip(PLACES, aside.worth[whole].T, strict=True):
        table[name] = right.astype(bool)
    image = predictions[["item_id", "image_id"]].drop_duplicates("item_id").set_index("item_id")["image_id"]
    table["image_id"] = image.reindex(table["item_id"]).array
    return table


def clustered_gap(triplets: pd.DataFrame, high: str = "sham", low: str = "cut", draws: int = 2000, seed: int = 0) -> GapInterval:
    """Seam gap (high="sham", low="cut") or sham gap ("intact", "sham") of one arm and task.

    triplets: rows of `triplet_table` for one arm and task. One image's items and all its seeds are drawn together, so that neither
    items on one page nor seeds on one item count as independent. Draws are weights [draws, images], one matrix product for all.

    Example:
        >>> found = Findings.of("experiments/results/remove_fusion")
        >>> triplets = found.triplets
        >>> own = triplets[(triplets["arm"] == "none") & (triplets["task"] == "reading")]
        >>> clustered_gap(own).seeds == own["seed"].nunique()
        True
    """
    nothing = float("nan")
    if triplets.empty:
        return GapInterval(nothing, nothing, nothing, 0, 0, 0)
    difference = triplets[high].astype(float) - triplets[low].astype(float)
    grouped = difference.groupby(triplets["image_id"], sort=True).agg(["sum", "count"])
    sums, counts = grouped["sum"].to_numpy(), grouped["count"].to_numpy(dtype=float)
    images = sums.size
    weights = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=draws)
    gaps = (weights @ sums) / (weights @ counts)
    tail = (1 - CONFIDENCE) / 2
    bounds = np.quantile(gaps, [tail, 1 - tail])
    seeds = triplets["seed"].nunique()
    return GapInterval(float(sums.sum() / counts.sum()), float(bounds[0]), float(bounds[1]), triplets["item_id"].nunique(), images, seeds)
