"""How a rule looks at many comparisons at once: one-sided t tests over seeds, Holm over all of them, and what they could find."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from scipy import stats

from fila_lab.analysis.statistics import Interval, holm
from fila_lab.config.power import smallest_shift

LEVEL = 0.05
"""Of studies in which a rule's alarm would be false, at most this share raises it, however many arms and tasks the rule looks at."""
LEAST_SEEDS = 3
"""Two differences say nothing about how a third would fall."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Screen(Generic[Key]):
    """`shown`: where the mean lies beyond the limit. `untested`: where seeds are too few or all equal. `reach`: the smallest distance
    from the limit that would have been found with 80 % power at the scatter measured, at the comparison that could find least."""

    shown: dict[Key, Interval]
    tested: int
    untested: tuple[Key, ...]
    reach: float


def usable(interval: Interval) -> bool:
    """At least three seeds, all numbers finite, and not all the same: a width of zero is no knowledge."""
    known = all(map(math.isfinite, (interval.mean, interval.sd)))
    return interval.n >= LEAST_SEEDS and known and interval.sd > 1e-9 * max(1.0, abs(interval.mean))


def screen(intervals: Mapping[Key, Interval], limit: float = 0.0, side: int = 1) -> Screen[Key]:
    """Which means lie above the limit (side 1) or below it (side -1), at LEVEL over all of them.

    intervals: of paired differences, or of an arm's values, over seeds. The t test takes them to be normal.
    """
    tried = {key: interval for key, interval in intervals.items() if usable(interval)}
    p_values = [float(stats.t.sf(side * (own.mean - limit) / (own.sd / own.n**0.5), own.n - 1)) for own in tried.values()]
    shown = {key: own for (key, own), p in zip(tried.items(), holm(p_values), strict=True) if p < LEVEL}
    reach = max((smallest_effect(own.sd, own.n, LEVEL / len(tried)) for own in tried.values()), default=math.nan)
    return Screen(shown, len(tried), tuple(key for key in intervals if key not in tried), reach)


def smallest_effect(sd: float, n: int, alpha: float) -> float:
    """The true mean that a one-sided t test at `alpha` finds with 80 % power, in the units of sd.

    The noncentral t as a mean over its denominator's quantiles: P(Z + d > t s), s the root of a chi-square over its degrees of freedom.
    """
    critical = stats.t.isf(alpha, n - 1)
    spread = np.sqrt(stats.chi2.ppf((np.arange(1000) + 0.5) / 1000, n - 1) / (n - 1))
    shift = smallest_shift(lambda shift: float(stats.norm.sf(critical * spread - shift).mean()), within=1e-12)
    return shift * sd / n**0.5
