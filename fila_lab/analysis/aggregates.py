"""How good arms are over all their tasks and seeds at once: aggregates, performance profiles, probabilities of improvement.

As Agarwal et al. (NeurIPS 2021) ask of few runs. Uncertainty is over seeds: a cell's tasks share its training, so a bootstrap draws cells
whole. With fewer than about ten seeds it is too narrow, which verdicts, by Student's t and exact tests, are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import trim_mean

from fila_lab.analysis.score_frame import task_scores
from fila_lab.analysis.statistics import CONFIDENCE
from fila_lab.config.base import did_you_mean

Floats = NDArray[np.float64]
DRAWS = 2000
STEPS = 101
"""Thresholds of a performance profile."""


def interquartile_mean(runs: Floats) -> Floats:
    """Of runs [..., seeds, tasks] the mean of the middle half [...]: as robust as the median, and of more runs."""
    return np.asarray(trim_mean(runs.reshape(*runs.shape[:-2], -1), 0.25, axis=-1))


AGGREGATES: dict[str, Callable[[Floats], Floats]] = {
    "mean": lambda runs: np.asarray(runs.mean(axis=(-2, -1))),
    "median": lambda runs: np.asarray(np.median(runs.mean(axis=-2), axis=-1)),
    "iqm": interquartile_mean,
}
"""Name -> function of runs [..., seeds, tasks]; the median is that of the tasks' means."""


def aggregate_intervals(scores: pd.DataFrame, place: str = "", draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """A row an arm and aggregate (mean, median of the tasks' means, interquartile mean): arm, aggregate, value, low, high, seeds, tasks.

    Args:
        scores: of `StudyFrames.scores`, or rows of it. Each task counts alike, by the score it is judged by.
        place: "" for accuracies over all places, else one place.
        draws: of the bootstrap over seeds, 95 %.
        seed: of these draws.

    Raises:
        ValueError: no such scores, or an arm without a seed that has all tasks.

    Example:
        >>> study = load("experiments/results/remove_fusion")
        >>> aggregate_intervals(study.scores)["aggregate"].unique().tolist()
        ['mean', 'median', 'iqm']
    """
    rows = []
    for arm, runs in _runs(scores, place).items():
        again = runs[_drawn(len(runs), draws, seed)]
        for name, aggregate in AGGREGATES.items():
            low, high = _bounds(aggregate(again))
            rows.append((arm, name, float(aggregate(runs)), low, high, *runs.shape))
    return pd.DataFrame(rows, columns=["arm", "aggregate", "value", "low", "high", "seeds", "tasks"])


def performance_profiles(scores: pd.DataFrame, place: str = "", draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """A row an arm and threshold: arm, threshold, share of its runs (a seed and task each) that score above it, low, high (95 %, over
    seeds, at each threshold by itself). Arguments and errors as of `aggregate_intervals`.

    Example:
        >>> study = load("experiments/results/remove_fusion")
        >>> profiles = performance_profiles(study.scores)
        >>> bool(profiles["share"].between(0, 1).all())
        True
    """
    runs = _runs(scores, place)
    everything = np.concatenate([own.ravel() for own in runs.values()])
    thresholds = np.linspace(everything.min(), everything.max(), STEPS)
    parts = []
    for arm, own in runs.items():
        above = (own[:, :, None] > thresholds).mean(axis=1)  # of each seed [seeds, thresholds]
        low, high = np.quantile(above[_drawn(len(own), draws, seed)].mean(axis=1), _tails(), axis=0)
        parts.append(pd.DataFrame({"arm": arm, "threshold": thresholds, "share": above.mean(axis=0), "low": low, "high": high}))
    return pd.concat(parts, ignore_index=True)


def improvement_probabilities(
    scores: pd.DataFrame, pairs: Sequence[tuple[str, str]] | None = None, place: str = "", draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """A row a pair of arms: a, b, probability that A scores above B at a seed and task drawn at random, ties counted half, low, high (95 %,
    over seeds), seeds (that both have). Each task counts alike; runs are paired by seed.

    Args:
        scores, place, draws, seed: as of `aggregate_intervals`.
        pairs: (A, B); None compares every arm with the first.

    Raises:
        ValueError: as of `aggregate_intervals`; an arm of a pair is not among the scores; a pair shares no seed.

    Example:
        >>> study = load("experiments/results/remove_fusion")
        >>> improvement_probabilities(study.scores)[["a", "b"]].values.tolist()
        [['concat', 'none']]
    """
    tables = _tables(scores, place)
    first, *others = tables
    rows = []
    for a, b in [(arm, first) for arm in others] if pairs is None else pairs:
        for arm in (a, b):
            if arm not in tables:
                raise ValueError(f"pairs: {arm!r} is not among the arms {', '.join(tables)}{did_you_mean(arm, tables)}")
        seeds = tables[a].index.intersection(tables[b].index)
        if seeds.empty:
            raise ValueError(f"pairs: {a} and {b} have no seed in common")
        one, other = tables[a].loc[seeds].to_numpy(), tables[b].loc[seeds].to_numpy()
        ahead = ((one > other) + 0.5 * (one == other)).mean(axis=1)
        low, high = _bounds(ahead[_drawn(len(seeds), draws, seed)].mean(axis=1))
        rows.append((a, b, float(ahead.mean()), low, high, len(seeds)))
    return pd.DataFrame(rows, columns=["a", "b", "probability", "low", "high", "seeds"])


def _tables(scores: pd.DataFrame, place: str) -> dict[str, pd.DataFrame]:
    """Arm -> its runs, a row a seed and a column a task; seeds that lack a task are left out."""
    chosen = task_scores(scores, place)
    tasks = list(chosen["task"].unique())
    arms = chosen["arm"].cat.categories if isinstance(chosen["arm"].dtype, pd.CategoricalDtype) else chosen["arm"].unique()
    found = {}
    for arm in [str(arm) for arm in arms if (chosen["arm"] == arm).any()]:
        wide = chosen[chosen["arm"] == arm].pivot(index="seed", columns="task", values="value").reindex(columns=tasks).dropna()
        if wide.empty:
            raise ValueError(f"scores: arm {arm} has no seed with all of {', '.join(map(str, tasks))}; choose tasks that all arms have")
        found[arm] = wide
    return found


def _runs(scores: pd.DataFrame, place: str) -> dict[str, Floats]:
    """Arm -> [seeds, tasks]."""
    return {arm: table.to_numpy(dtype=float) for arm, table in _tables(scores, place).items()}


def _drawn(seeds: int, draws: int, seed: int) -> NDArray[np.int64]:
    """[draws, seeds], with replacement; the same for all arms of as many seeds, which are paired."""
    return np.random.default_rng(seed).integers(0, seeds, size=(draws, seeds))


def _tails() -> tuple[float, float]:
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2


def _bounds(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, _tails())
    return float(low), float(high)
