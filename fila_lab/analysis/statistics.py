"""Paired statistics over seeds: Student-t interval, exact sign-flip test, Holm, P(A > B), equivalence (TOST), the logit scale."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

CONFIDENCE = 0.95
"""Of every interval that names no other."""
EXACT_UP_TO = 36
"""Largest number of pairs whose sign-flip p is exact; beyond it, seeded Monte Carlo."""
JOINT_EXACT_UP_TO = 16
"""The same for score vectors, whose 2^n assignments have to be enumerated one by one."""

MONTE_CARLO_DRAWS = 65_535
SIGNS_AT_ONCE = 4096
"""Draws that are multiplied in one go: a few megabytes."""
EQUAL = 1e-9
"""Numbers that differ by less than this share of their size are equal but for the last bits of a float."""


def t_upper(t: ArrayLike, freedom: float) -> NDArray[np.float64]:
    """P(T > t) of Student's t; without the overhead of scipy.stats' distributions, which is most of what a table of contrasts takes."""
    return np.asarray(special.stdtr(freedom, -np.asarray(t, dtype=float)))


def t_quantile(share: float, freedom: float) -> float:
    return float(special.stdtrit(freedom, share))


@dataclass(frozen=True)
class Interval:
    """Mean of n values with its two-sided interval; NaN bounds when n < 2."""

    mean: float
    low: float
    high: float
    n: int
    sd: float

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2


def paired_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Student-t interval of the mean of `values` [n] (for a contrast: the paired differences).

    Example:
        >>> interval = paired_interval([0.10, 0.12, 0.11])
        >>> round(interval.mean, 3), round(interval.low, 3), round(interval.high, 3)
        (0.11, 0.085, 0.135)
    """
    x = _vector(values)
    if x.size < 2:
        mean = float(x.mean()) if x.size else float("nan")
        return Interval(mean, float("nan"), float("nan"), x.size, float("nan"))
    sd = float(x.std(ddof=1))
    half = t_quantile(0.5 + confidence / 2, x.size - 1) * sd / x.size**0.5
    return Interval(float(x.mean()), float(x.mean()) - half, float(x.mean()) + half, x.size, sd)


def sign_flip(differences: ArrayLike, seed: int = 0) -> float:
    """Two-sided sign-flip p of the mean paired difference [n]: exact up to EXACT_UP_TO, else Monte Carlo with the observed one counted.

    The null: each difference is symmetric about zero. The smallest possible p is 2 / 2^n.

    Example:
        >>> sign_flip([0.10, 0.12, 0.11])
        0.25
    """
    d = _vector(differences)
    if not 0 < d.size <= EXACT_UP_TO:
        return joint_sign_flip(d[:, None], seed)
    reach = _reach(d[:, None])
    if reach <= 0:
        return 1.0
    # Half of the signs against the other half: 2^(n/2) sums each, and a search in place of 2^n sums.
    first, second = _signed_sums(d[: d.size // 2]), np.sort(_signed_sums(d[d.size // 2 :]))
    reaching = second.size - np.searchsorted(second, reach - first, side="left")
    return 2.0 * float(reaching.sum()) / 2.0**d.size


def joint_sign_flip(scores: ArrayLike, seed: int = 0) -> float:
    """Sign-flip p of the length of the mean of paired score vectors [n, d], each seed's vector flipped whole; d = 1 is `sign_flip`.

    Without an assumption on how the d scores go together, where the F test of repeated measures needs sphericity.
    """
    z = np.asarray(scores, dtype=float)
    if not np.isfinite(z).all():
        raise ValueError("scores must be finite; leave failed cells out before comparing")
    n = len(z)
    if n == 0:
        return float("nan")
    reach = _reach(z)
    if n <= JOINT_EXACT_UP_TO:
        codes = np.arange(2**n, dtype=np.uint32)[:, None]
        signs = 1.0 - 2.0 * ((codes >> np.arange(n, dtype=np.uint32)) & 1)
        return float(np.mean(np.linalg.norm(signs @ z, axis=1) >= reach))
    reaching = sum(np.count_nonzero(np.linalg.norm(signs @ z, axis=1) >= reach) for signs in _drawn_signs(n, seed))
    return float((reaching + 1) / (MONTE_CARLO_DRAWS + 1))


def sign_flips(differences: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
    """`sign_flip` of each row of [k, n]; rows that are many share their random signs."""
    d = np.asarray(differences, dtype=float)
    if d.shape[1] <= EXACT_UP_TO:
        return np.array([sign_flip(own, seed) for own in d])
    reach = np.array([_reach(_vector(own)[:, None]) for own in d])
    reaching = sum((np.abs(signs @ d.T) >= reach).sum(axis=0) for signs in _drawn_signs(d.shape[1], seed))
    return np.asarray((reaching + 1) / (MONTE_CARLO_DRAWS + 1), dtype=float)


def _drawn_signs(n: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """[draws, n] of +1 and -1, MONTE_CARLO_DRAWS in all, a part at a time."""
    drawn = _drawn(n, seed)
    for start in range(0, MONTE_CARLO_DRAWS, SIGNS_AT_ONCE):
        yield drawn[start : start + SIGNS_AT_ONCE].astype(np.float64) * 2 - 1


@functools.lru_cache(maxsize=1)
def _drawn(n: int, seed: int) -> NDArray[np.int8]:
    """A table of contrasts asks for the same draws again and again."""
    return np.random.default_rng(seed).integers(0, 2, size=(MONTE_CARLO_DRAWS, n)).astype(np.int8)


def helmert(levels: int) -> NDArray[np.float64]:
    """[levels - 1, levels], orthonormal rows that sum to zero: what differs between levels, nothing of what they share."""
    rows = []
    for k in range(1, levels):
        row = np.zeros(levels)
        row[:k], row[k] = 1.0, -k
        rows.append(row / np.linalg.norm(row))
    return np.array(rows)


def holm(p_values: Sequence[float], size: int | None = None) -> list[float]:
    """Holm-adjusted p values. `size` is the declared family's size when some of its contrasts have no p; NaN stays NaN and still counts.

    Example:
        >>> holm([0.01, 0.04])
        [0.02, 0.04]
    """
    p = np.asarray(p_values, dtype=float)
    m = max(size or 0, p.size)
    adjusted = np.full(p.size, np.nan)
    running = 0.0
    for rank, index in enumerate(i for i in np.argsort(p, kind="stable") if not np.isnan(p[i])):
        running = max(running, (m - rank) * float(p[index]))
        adjusted[index] = min(1.0, running)
    return [float(value) for value in adjusted]


def probability_greater(a: ArrayLike, b: ArrayLike) -> float:
    """Share of seeds at which A exceeds B, ties counted half. a, b [n] in the same seed order.

    Example:
        >>> probability_greater([0.7, 0.6, 0.5], [0.6, 0.6, 0.6])
        0.5
    """
    first, second = _vector(a), _vector(b)
    return float(np.mean((first > second) + 0.5 * (first == second))) if first.size else float("nan")


def tost(differences: ArrayLike, margin: float) -> float:
    """p of the paired two one-sided t tests: small when the mean difference lies within (-margin, margin). NaN for n < 2.

    Example:
        >>> tost([0.01, 0.0, -0.01, 0.0], margin=0.03) < 0.05
        True
    """
    d = _vector(differences)
    if d.size < 2:
        return float("nan")
    return float(max(beyond(margin + d.mean(), d, margin), beyond(margin - d.mean(), d, margin)))


def exceeds(differences: ArrayLike, margin: float) -> float:
    """p of the one-sided t test that the mean difference lies beyond the margin on the side where it was found. NaN for n < 2."""
    d = _vector(differences)
    if d.size < 2:
        return float("nan")
    return beyond(abs(float(d.mean())) - margin, d, margin)


def beyond(distance: float, differences: NDArray[np.float64], margin: float) -> float:
    """One-sided p of a mean that lies `distance` from the null, by the differences' own scatter [n >= 2].

    Differences that are equal in exact arithmetic can differ in the last bits, and so can a mean and the margin that it equals: a
    relative tolerance counts both as equal. Without scatter the side decides, and a mean that is exactly the margin is on neither.
    """
    noise = EQUAL * max(abs(margin), float(np.abs(differences).max()))
    error = float(differences.std(ddof=1)) / differences.size**0.5
    if error <= noise:
        return 0.0 if distance > noise else 1.0
    return float(t_upper(distance / error, differences.size - 1))


def logit(share: ArrayLike, items: float | None = None) -> NDArray[np.float64]:
    """log(p / (1 - p)); shares of 0 and 1 are moved in by half an item (of `items`, else of 1000)."""
    half = 0.5 / (items or 1000.0)
    p = np.clip(np.asarray(share, dtype=float), half, 1 - half)
    return np.asarray(np.log(p / (1 - p)))


def _reach(z: NDArray[np.float64]) -> float:
    """Length of the observed sum of score vectors [n, d]. Sums that are equal in exact arithmetic can differ in the last bits; a
    relative tolerance counts them as equal."""
    return float(np.linalg.norm(z.sum(axis=0))) - EQUAL * max(1e-12, float(np.linalg.norm(z, axis=1).sum()))


def _signed_sums(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n] -> [2^n], the sum under every assignment of signs."""
    sums = np.zeros(1)
    for value in x:
        sums = np.concatenate([sums - value, sums + value])
    return sums


def _vector(values: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=float).ravel()
    if not np.isfinite(x).all():
        raise ValueError("values must be finite; leave failed cells out before comparing")
    return x
