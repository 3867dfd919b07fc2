"""Critical values of the exact sign-flip test for normal differences, as t statistics.

Of n normal differences, the t statistic is independent of the direction of the residuals, and given that direction the test's p falls as
|t| grows: it rejects exactly beyond a critical t. With p = k / 2^(n-1) the test rejects when k is at most K, and the critical t is the K-th
greatest mean of a subset of the residuals, in units of their standard error. So the test's power at any effect is that of a t test,
averaged over these critical values: nothing is simulated but the direction of the residuals, once for each (n, K).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Subset = tuple[int, ...]

COUNTED_UP_TO = 20
"""Largest K whose critical subset is found by counting; beyond it a saddlepoint approximates p (relative error well below one rank)."""
POINTS = 48
"""Quantiles that stand for the distribution of critical values."""
NODES = 32
"""Gauss-Legendre nodes over the sample's standard deviation."""
OUTER, INNER = 12, 3
_erfc = np.frompyfunc(math.erfc, 1, 1)


@functools.lru_cache(maxsize=4096)
def critical_values(n: int, ranks: int) -> Floats:
    """[POINTS] ascending critical |t|, n - 1 degrees of freedom, of the test that rejects at the `ranks` smallest of its p values, which
    are the k / 2^(n-1).

    Each stands for an equal share of the residuals' directions. Needs 1 <= ranks < 2^(n-2), n >= 3.
    """
    subsets = _leading_subsets(n, ranks) if ranks <= COUNTED_UP_TO else []
    # More directions where the critical value varies more, which is where counting is cheap.
    directions = max(2400, min(24_000, 480_000 // (n * len(subsets)))) if subsets else max(240, min(2400, 48_000 // n))
    residuals = np.random.default_rng(0).normal(size=(directions - directions % POINTS, n))
    residuals -= residuals.mean(axis=1, keepdims=True)
    residuals /= np.linalg.norm(residuals, axis=1, keepdims=True)
    means = _by_counting(residuals, subsets, ranks) if subsets else _by_saddlepoint(residuals, (ranks - 0.5) / 2 ** (n - 1))
    points: Floats = np.sort(means).reshape(POINTS, -1).mean(axis=1) * math.sqrt(n * (n - 1))
    return points


def exceeding(critical: Floats, n: int, shift: float) -> float:
    """Mean over `critical` of P(|T| > c), T noncentral t with n - 1 degrees of freedom and noncentrality `shift`.

    By quadrature over the standard deviation: finite and in [0, 1] for every shift, which closed forms of the far tail are not.
    """
    nodes, weights = _chi(n - 1)
    reached = critical[:, None] * nodes  # [points, nodes]
    both = _upper(reached - shift) + _upper(reached + shift)
    return float(min(1.0, (both @ weights).mean()))


def _upper(z: Floats) -> Floats:
    """P(Z > z) of a standard normal."""
    return np.asarray(_erfc(z / math.sqrt(2)), dtype=float) / 2


@functools.lru_cache(maxsize=1024)
def _chi(freedom: int) -> tuple[Floats, Floats]:
    """Nodes and weights of the distribution of s / sigma with this many degrees of freedom."""
    unit, share = np.polynomial.legendre.leggauss(NODES)
    middle = math.sqrt(freedom)
    low, high = max(0.0, middle - 6), middle + 6
    chi = low + (unit + 1) / 2 * (high - low)
    log = (freedom - 1) * np.log(chi) - chi**2 / 2
    weights = share * np.exp(log - log.max())
    return chi / middle, weights / weights.sum()


def _by_counting(residuals: Floats, subsets: list[Subset], ranks: int) -> Floats:
    """[directions]: the ranks-th greatest mean of a subset."""
    weights = np.zeros((residuals.shape[1], len(subsets)))
    for column, subset in enumerate(subsets):
        weights[list(subset), column] = 1 / len(subset)
    means = -np.sort(-residuals, axis=1) @ weights
    return np.asarray(np.partition(means, len(subsets) - ranks, axis=1)[:, len(subsets) - ranks])


def _leading_subsets(n: int, ranks: int) -> list[Subset]:
    """Subsets of the places of n descending values whose mean can be among the `ranks` greatest, whatever the values.

    A subset is out when at least `ranks` others have a mean no smaller for certain; those below it then are out as well.
    """
    found: list[Subset] = []
    seen: set[Subset] = {(0,)}
    waiting: list[Subset] = [(0,)]
    while waiting:
        subset = waiting.pop()
        if not _above_fewer_than(subset, ranks):
            continue
        found.append(subset)
        new = [below for below in _below(subset, n) if below not in seen and len(below) < n]
        seen.update(new)
        waiting += new
    return found


def _above_fewer_than(subset: Subset, ranks: int) -> bool:
    """Whether fewer than `ranks` other subsets have a mean no smaller for certain."""
    seen, waiting = {subset}, [subset]
    while waiting:
        new = [above for above in _above(waiting.pop()) if above not in seen]
        seen.update(new)
        waiting += new
        if len(seen) > ranks:
            return False
    return True


def _above(subset: Subset) -> Iterator[Subset]:
    """Subsets with a mean no smaller: a value replaced by the next greater, the smallest dropped, a greater one added."""
    for at, place in enumerate(subset):
        if place > 0 and (at == 0 or subset[at - 1] != place - 1):
            yield (*subset[:at], place - 1, *subset[at + 1 :])
    if len(subset) > 1:
        yield subset[:-1]
    if subset[0] > 0:
        yield (subset[0] - 1, *subset)


def _below(subset: Subset, n: int) -> Iterator[Subset]:
    """The same steps the other way."""
    for at, place in enumerate(subset):
        if place < n - 1 and (at == len(subset) - 1 or subset[at + 1] != place + 1):
            yield (*subset[:at], place + 1, *subset[at + 1 :])
    if subset[-1] < n - 1:
        yield (*subset, subset[-1] + 1)
    if len(subset) > 1:
        yield subset[1:]


def _by_saddlepoint(residuals: Floats, p: float) -> Floats:
    """[directions]: the mean at which the two-sided sign-flip p falls to `p`, by Lugannani and Rice (Robinson 1982) and secant steps."""
    n = residuals.shape[1]
    goal, z = math.log(p / 2), NormalDist().inv_cdf(1 - p / 2)
    share = min(z * z / n, 0.9)  # the normal approximation's (sum of differences)^2 / (n * sum of squares)
    top = -residuals.min(axis=1)  # from here on every difference is positive, and p the smallest there is
    mean = np.minimum(math.sqrt(share / (n * (1 - share))), 0.8 * top)
    before, saddle = _log_tail(residuals, mean, n * mean / (1 + n * mean**2), 2 * INNER)
    step = 0.02 * mean
    for _ in range(OUTER):
        step = np.minimum(step, (top - mean) / 2)
        mean = mean + step
        after, saddle = _log_tail(residuals, mean, saddle, INNER)
        if np.abs(after - goal).max() < 1e-3:
            break
        moved = np.where(after == before, -1.0, after - before)
        step, before = np.clip((goal - after) / moved * step, -0.2 * mean, 0.2 * mean), after
    return mean


def _log_tail(residuals: Floats, mean: Floats, saddle: Floats, steps: int) -> tuple[Floats, Floats]:
    """log P(sum of randomly signed differences >= their sum) [directions], and the saddlepoints [directions] after Newton `steps`."""
    differences = mean[:, None] + residuals
    total = differences.sum(axis=1)
    for _ in range(steps):
        tilt = np.tanh(differences * saddle[:, None])
        slope = np.maximum((differences**2 * (1 - tilt**2)).sum(axis=1), 1e-12)
        saddle = np.maximum(saddle - ((differences * tilt).sum(axis=1) - total) / slope, saddle / 2)
    scaled = np.abs(differences * saddle[:, None])
    cumulant = (scaled + np.log1p(np.exp(-2 * scaled)) - math.log(2)).sum(axis=1)
    slope = (differences**2 / np.cosh(np.minimum(scaled, 300)) ** 2).sum(axis=1)
    w, u = np.sqrt(np.maximum(2 * (saddle * total - cumulant), 1e-12)), saddle * np.sqrt(np.maximum(slope, 1e-12))
    tail = _upper(w) + np.exp(-(w**2) / 2) / math.sqrt(2 * math.pi) * (1 / u - 1 / w)
    return np.log(np.maximum(tail, 1e-300)), saddle
