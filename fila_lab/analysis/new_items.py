"""Would new items of the same kind say the same? Two-way bootstrap over seeds and images, from a study's predictions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize

from fila_lab.analysis.columns import numbered
from fila_lab.analysis.statistics import CONFIDENCE, EQUAL, t_quantile, t_upper
from fila_lab.config.data import FURTHER_PLACES, PLACES
from fila_lab.config.metrics import ACCURACY, AVERAGES, averaged, is_score, parse_metric
from fila_lab.config.subgroups import GAPS

DRAWS = 1000
Floats = NDArray[np.float64]
Scale = Callable[[Floats], Floats]


@dataclass(frozen=True)
class ItemError:
    """Variance of a mean paired difference when seeds and images are both drawn anew, in its two parts, each with its degrees of freedom.

    The error is the sum of two t variables (Behrens and Fisher's distribution): never narrower than the interval over seeds, and equal to
    it where images add nothing.
    """

    of_seeds: float
    of_images: float
    seeds: int
    images: int

    @property
    def _none(self) -> bool:
        """Whether there is no error, but for the last bits of shares that are equal in exact arithmetic."""
        return (self.of_seeds + self.of_images) ** 0.5 <= EQUAL

    def tail(self, distance: float) -> float:
        """One-sided p of an estimate that lies `distance` on the alternative's side of the null."""
        seeds, images = self.of_seeds**0.5, self.of_images**0.5
        if self._none:
            return 0.0 if distance > EQUAL else 1.0
        if images == 0:
            return float(t_upper(distance / seeds, self.seeds - 1))
        nodes, weights = _t_nodes(self.seeds - 1)
        return float(weights @ t_upper((distance - seeds * nodes) / images, self.images - 1))

    def half(self) -> float:
        """Half of the 95 % interval's width."""
        wanted, scale = (1 - CONFIDENCE) / 2, (self.of_seeds + self.of_images) ** 0.5
        if self._none:
            return 0.0
        widest = 2 * scale * t_quantile(1 - wanted / 2, min(self.seeds, self.images) - 1)
        return float(optimize.brentq(lambda distance: self.tail(distance) - wanted, 0, widest))


@functools.lru_cache(maxsize=64)
def _t_nodes(freedom: int) -> tuple[Floats, Floats]:
    """Nodes and weights that integrate over Student's t, by t = sqrt(freedom) tan(angle)."""
    unit, share = np.polynomial.legendre.leggauss(200)
    angle = unit * np.pi / 2
    weights = share * np.cos(angle) ** (freedom - 1)
    return freedom**0.5 * np.tan(angle), weights / weights.sum()


@dataclass(frozen=True)
class NewItems:
    """A metric of every cell [arms, seeds] (NaN where a cell has no predictions) and under images drawn anew [draws, arms, seeds]."""

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    observed: Floats
    drawn: Floats
    images: int

    @staticmethod
    def of(predictions: pd.DataFrame, metric: str, draws: int = DRAWS, seed: int = 0) -> NewItems | None:
        """None where the metric is no mean over items (gaps included), or cells were tested on different items.

        predictions: frame of `load_predictions`. Images, not items, are drawn: items on one page are not independent.
        """
        terms = _terms(predictions, metric)
        if terms is None:
            return None
        arms, arm_of = numbered(predictions["arm"])
        seeds, seed_of = numbered(predictions["seed"])
        images, image_of = numbered(predictions["image_id"])
        rng = np.random.default_rng(seed)
        weights = _drawn(len(images), draws, rng)
        observed = np.zeros((len(arms), len(seeds)))
        drawn = np.zeros((draws, len(arms) * len(seeds)))
        scored = parse_metric(metric).kind not in (ACCURACY, *GAPS)
        right = predictions["score" if scored else "correct"].to_numpy()
        for factor, rows in terms:
            cell = arm_of[rows].astype(np.int64) * len(seeds) + seed_of[rows]
            shape = (len(arms) * len(seeds), len(images))
            place = cell * len(images) + image_of[rows]
            sums = np.bincount(place, weights=right[rows].astype(float), minlength=shape[0] * shape[1]).reshape(shape)
            counts = np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape)
            there = counts.any(axis=1)
            items = counts[there][0]  # [images], the same in every cell
            if (counts[there] != items).any():
                return None
            sums[~there] = np.nan
            with np.errstate(invalid="ignore", divide="ignore"):  # a draw without any of the term's images
                drawn += factor * (weights @ sums.T) / (weights @ items)[:, None]
            observed += factor * (sums.sum(axis=1) / items.sum()).reshape(observed.shape)
        return NewItems(tuple(map(str, arms)), tuple(map(int, seeds)), observed, drawn.reshape(draws, *observed.shape), len(images))

    def error_of(self, weights: dict[str, float], seeds: Sequence[int], scale: Scale | None = None) -> ItemError | None:
        """Of sum over arms of weight x metric, mean over `seeds` [n >= 2], the metric mapped by `scale` first; None without predictions.

        The variance is the seeds' own (that of the Student-t interval) and what images add to it: the two-way bootstrap's variance less
        the seeds' part of it.
        """
        if not set(weights) <= set(self.arms) or not set(seeds) <= set(self.seeds):
            return None
        arms = [self.arms.index(arm) for arm in weights]
        columns = [self.seeds.index(one) for one in seeds]
        factors = np.array(list(weights.values()))
        mapped = scale or (lambda x: x)
        own = factors @ mapped(self.observed[np.ix_(arms, columns)])  # [n]
        every = np.einsum("a,das->ds", factors, mapped(self.drawn[:, arms][:, :, columns]))  # [draws, n]
        every = every[np.isfinite(every).all(axis=1)]
        n = len(columns)
        if n < 2 or len(every) < 2 or not np.isfinite(own).all():
            return None
        chosen = _drawn(n, len(every), np.random.default_rng(0)) / n
        of_seeds = float(own.var(ddof=1)) / n
        of_images = max(0.0, float((every * chosen).sum(axis=1).var(ddof=1)) - of_seeds * (n - 1) / n)
        return ItemError(of_seeds, of_images, n, max(2, self.images))


def _drawn(size: int, draws: int, rng: np.random.Generator) -> Floats:
    """[draws, size]: how often each of `size` things comes when as many are drawn with replacement."""
    places = rng.integers(0, size, (draws, size)) + size * np.arange(draws)[:, None]
    return np.bincount(places.ravel(), minlength=draws * size).reshape(draws, size).astype(float)


def _terms(predictions: pd.DataFrame, metric: str) -> list[tuple[float, NDArray[np.bool_]]] | None:
    """The metric as a sum of factor x mean over rows of `correct`, or of `score` where that is the task's: as `evaluation` defines scores
    and the gaps; None for others."""
    kind, task, place = parse_metric(metric)
    tasks, places = predictions["task"], predictions["place"]
    if kind in GAPS and not place:
        of_triplet = places.where(places.isin(PLACES))
        whole = of_triplet.groupby(predictions["item_id"], observed=True).transform("nunique").to_numpy() == len(PLACES)
        high, low = GAPS[kind]
        own = whole & (tasks == task).to_numpy()
        found = [(1.0, own & (places == high).to_numpy()), (-1.0, own & (places == low).to_numpy())]
    elif not is_score(kind) or (kind != ACCURACY and "score" not in predictions):
        return None
    else:
        rows = places == place if place else pd.Series(True, predictions.index)
        wanted = averaged(task, tasks[rows].unique()) if task in AVERAGES else [task]
        found = []
        for name in wanted:
            at = rows & (tasks == name)
            there = places[at].unique()
            own = [one for one in there if one not in FURTHER_PLACES] or list(there)  # of one further place alone: itself
            found += [(1 / len(wanted) / len(own), (at & (places == one)).to_numpy()) for one in own]
    return found if found and all(rows.any() for _, rows in found) else None
