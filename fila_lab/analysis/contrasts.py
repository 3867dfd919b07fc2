"""The numbers of one contrast, paired by seed, on the scale where its margin is applied; no verdicts here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fila_lab.analysis import statistics
from fila_lab.analysis.new_items import NewItems
from fila_lab.config import power
from fila_lab.config.metrics import ACCURACY, parse_metric

FLOOR, CEILING = 0.20, 0.90
"""Outside this range of accuracy differences are compressed, and the margin is applied on the logit scale."""
Floats = NDArray[np.float64]


def sides(arms: Sequence[str]) -> tuple[str, str]:
    """Names of what is compared: the two arms of a contrast, or `(A − B)` and `(C − D)` of an interaction."""
    return (arms[0], arms[1]) if len(arms) == 2 else (f"({arms[0]} − {arms[1]})", f"({arms[2]} − {arms[3]})")


def family_title(family: str, judged: str, metric: str) -> str:
    """What tables call a family: its name and, where that is not the study's, the metric it is judged by."""
    return family if judged == metric else f"{family}: {judged}"


def signs(arms: Sequence[str]) -> dict[str, float]:
    """Arm -> its sign in A - B, or in (A - B) - (C - D)."""
    return dict(zip(arms, (1.0, -1.0) if len(arms) == 2 else (1.0, -1.0, -1.0, 1.0), strict=True))


def paired(values: pd.DataFrame, arms: Sequence[str]) -> tuple[Floats, Floats]:
    """The two sides at the seeds [n] that all of the comparison's arms finished; `values` has a row a seed and a column an arm."""
    whole = _columns(values, arms)
    return _two_sides(whole[np.isfinite(whole).all(axis=1)].T)


def _columns(values: pd.DataFrame, arms: Sequence[str]) -> Floats:
    """[seeds, arms]"""
    known = list(values.columns)
    return values.to_numpy(float)[:, [known.index(arm) for arm in arms]]


def _two_sides(own: Floats) -> tuple[Floats, Floats]:
    """[2, n] as they are; the differences of the pairs of [4, n]."""
    return (own[0], own[1]) if len(own) == 2 else (own[0] - own[1], own[2] - own[3])


def logit_margin(margin: float, below: bool, above: bool) -> float:
    """The margin, in logits, of a contrast with an arm below the floor, above the ceiling, or one of either (then the smaller of the two).

    It is what `margin` points are worth at the border that was crossed: logit(c + margin / 2) - logit(c - margin / 2), c = 20 % or 90 %. So
    nothing jumps as an arm crosses the border, and the farther out, the smaller the difference in points that the margin stands for.
    """
    borders = [border for border, crossed in ((FLOOR, below), (CEILING, above)) if crossed]
    halves = [min(margin / 2, 0.999 * min(border, 1 - border)) for border in borders]
    return min(float(np.diff(statistics.logit([c - half, c + half]))[0]) for c, half in zip(borders, halves, strict=True))


@dataclass(frozen=True)
class Contrast:
    """A comparison's paired differences [n] in the metric's units, and `scaled` [n] with `margin` on the scale where sizes are judged."""

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    first: Floats
    second: Floats
    scaled: Floats
    margin: float
    flag: str
    items: float | None

    @staticmethod
    def of(values: pd.DataFrame, arms: Sequence[str], metric: str, margin: float, items: float | None) -> Contrast:
        """values: a row a seed, a column an arm, NaN where a cell did not finish. items: how many stand behind an accuracy."""
        whole = _columns(values, arms)
        there = np.asarray(np.isfinite(whole).all(axis=1))
        own = whole[there].T  # [arms, n]
        seeds = tuple(int(seed) for seed in values.index[there])
        first, second = _two_sides(own)
        # Gaps and rates of errors are shares too, but have no floor or ceiling of their own to be near.
        shares = parse_metric(metric).kind == ACCURACY and bool(seeds) and own.min() >= 0 and own.max() <= 1
        means = dict(zip(arms, own.mean(axis=1), strict=True)) if shares else {}
        low, high = [arm for arm, mean in means.items() if mean < FLOOR], [arm for arm, mean in means.items() if mean > CEILING]
        scaled, limit = first - second, margin
        if low or high:
            scaled = np.subtract(*_two_sides(statistics.logit(own, items)))
            limit = logit_margin(margin, bool(low), bool(high))
        out = [f"{arm} below {FLOOR:.0%}" if arm in low else f"{arm} above {CEILING:.0%}" for arm in means if arm in (*low, *high)]
        return Contrast(tuple(arms), seeds, first, second, scaled, limit, "; ".join(out), items)

    @property
    def difference(self) -> Floats:
        return self.first - self.second

    @property
    def on_logits(self) -> bool:
        return bool(self.flag)

    @property
    def aligned(self) -> bool:
        """Whether the mean has one sign on both scales; only then can a difference lie beyond the margin."""
        return bool(self.scaled.size) and float(self.scaled.mean()) * float(self.difference.mean()) > 0

    def reach(self, size: int) -> dict[str, float | None]:
        """`mde`, the smallest difference these seeds find with 80 % power in a family of this size, and `seeds_for_margin`, how many would
        find one as large as the margin, on the scale where that is applied; None where there is none."""
        if len(self.seeds) < 2:
            return {"mde": None, "seeds_for_margin": None}
        sd, scaled = (float(own.std(ddof=1)) for own in (self.difference, self.scaled))
        found = power.minimal_detectable_effect(sd, len(self.seeds), size)
        return {"mde": found, "seeds_for_margin": power.seeds_for_effect(self.margin, scaled, size)}

    def numbers(self) -> dict[str, Any]:
        """What stands in a row, by column of `judge`, corrections over the family left out."""
        a, b = sides(self.arms)
        d = self.difference
        wide, narrow = statistics.paired_interval(d), statistics.paired_interval(d, 0.9)
        logits = statistics.paired_interval(self.scaled if self.on_logits else [])
        enough = wide.n > 1
        return {
            "a": a,
            "b": b,
            "n": wide.n,
            "mean_a": float(self.first.mean()) if wide.n else float("nan"),
            "mean_b": float(self.second.mean()) if wide.n else float("nan"),
            "difference": wide.mean,
            "low": wide.low,
            "high": wide.high,
            "low90": narrow.low,
            "high90": narrow.high,
            "p": statistics.sign_flip(d),
            "p_greater": statistics.probability_greater(self.first, self.second),
            "p_tost": statistics.tost(self.scaled, self.margin),
            "p_beyond": statistics.exceeds(self.scaled, self.margin) if self.aligned or not enough else 1.0,
            "sd": wide.sd,
            "flag": self.flag,
            "logit_difference": logits.mean,
            "logit_low": logits.low,
            "logit_high": logits.high,
            "logit_margin": self.margin if self.on_logits else float("nan"),
        }

    def for_new_items(self, found: NewItems | None) -> dict[str, float]:
        """`items_low`, `items_high` in the metric's units, and p of direction, equivalence and exceeding the margin when images are drawn
        anew as well; empty where the predictions are not those of these numbers."""
        if found is None or not self._is_of(found):
            return {}
        weights = signs(self.arms)
        direct = found.error_of(weights, self.seeds)
        sized = found.error_of(weights, self.seeds, lambda x: statistics.logit(x, self.items)) if self.on_logits else direct
        if direct is None or sized is None:
            return {}
        mean, scaled = float(self.difference.mean()), float(self.scaled.mean())
        return {
            "items_low": mean - direct.half(),
            "items_high": mean + direct.half(),
            "p_items": min(1.0, 2 * direct.tail(abs(mean))),
            "p_tost_items": max(sized.tail(self.margin - scaled), sized.tail(self.margin + scaled)),
            "p_beyond_items": sized.tail(abs(scaled) - self.margin) if self.aligned else 1.0,
        }

    def _is_of(self, found: NewItems) -> bool:
        """Whether the predictions recompute this contrast's differences."""
        if not set(self.arms) <= set(found.arms) or not set(self.seeds) <= set(found.seeds):
            return False
        columns = [found.seeds.index(seed) for seed in self.seeds]
        again = sum(sign * found.observed[found.arms.index(arm), columns] for arm, sign in signs(self.arms).items())
        return bool(np.allclose(again, self.difference, atol=1e-6, rtol=0))
