"""Are the means of a few groups alike? A permutation test over how values could have been dealt to them, and what it can find."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from fila_lab.analysis.statistics import EQUAL, MONTE_CARLO_DRAWS
from fila_lab.config.power import ALPHA, POWER

EXACT_DEALS = 150_000
"""Most ways to deal the values that are enumerated; of more, seeded Monte Carlo."""

Floats = NDArray[np.float64]


def between_groups(values: ArrayLike, groups: Sequence[int], seed: int = 0) -> float:
    """p that the groups' means of `values` [n] are equal, by the spread between them: exact over all ways to deal the values to groups of
    these sizes up to EXACT_DEALS, else Monte Carlo with the observed one counted.

    The null: whatever group a value stands in, its distribution is the same. The smallest possible p is `least_p`. NaN for one group.
    """
    x = np.asarray(values, dtype=float)
    names = sorted(set(groups))
    if len(names) < 2:
        return float("nan")
    x = x - x.mean()
    own = [x[[group == name for group in groups]] for name in names]
    sizes = [len(each) for each in own]
    noise = EQUAL * max(1e-12, float((x**2).sum()))
    reach = sum(float(each.sum()) ** 2 / len(each) for each in own) - noise
    if deals(sizes) <= EXACT_DEALS:
        reaching = sum(int((spread >= reach).sum()) for spread in _spreads(x, sizes))
        return reaching / deals(sizes)
    rng = np.random.default_rng(seed)
    ends = np.cumsum(sizes)[:-1]
    reaching = 0
    for _ in range(MONTE_CARLO_DRAWS // 1023):
        dealt = rng.permuted(np.tile(x, (1023, 1)), axis=1)
        spread = sum(part.sum(axis=1) ** 2 / part.shape[1] for part in np.split(dealt, ends, axis=1))
        reaching += int((spread >= reach).sum())
    return (reaching + 1) / (MONTE_CARLO_DRAWS // 1023 * 1023 + 1)


def deals(sizes: Sequence[int]) -> int:
    """Ways to deal values to groups of these sizes."""
    return math.factorial(sum(sizes)) // math.prod(map(math.factorial, sizes))


def least_p(sizes: Sequence[int]) -> float:
    """The smallest p: groups of one size can change their names, which changes no spread."""
    alike = math.prod(math.factorial(sizes.count(size)) for size in set(sizes))
    return alike / deals(sizes)


def detectable_spread(sizes: Sequence[int], contrasts: int = 1) -> float:
    """The sd between groups, over the sd within them, that is found with 80 % power among so many contrasts: of the F test at the first
    step of Holm, which the permutation test follows. NaN without two groups and a value more than groups."""
    groups, n = len(sizes), sum(sizes)
    if groups < 2 or n <= groups:
        return float("nan")
    between, within = groups - 1, n - groups
    critical = special.fdtri(between, within, 1 - ALPHA / contrasts)
    ratio = critical / special.fdtri(between, within, 1 - POWER)
    return float(((ratio - 1) / (groups / sum(1 / size for size in sizes))) ** 0.5)


def _spreads(x: Floats, sizes: Sequence[int]) -> Iterator[Floats]:
    """The spread between groups of all ways to deal `x`, many at a time."""

    def dealt(rest: list[int], sizes: Sequence[int], so_far: float) -> Iterator[Floats]:
        first, *others = sizes
        if len(others) == 1:
            sums = x[np.array(list(itertools.combinations(rest, first)))].sum(axis=1)
            yield so_far + sums**2 / first + (x[rest].sum() - sums) ** 2 / others[0]
            return
        for chosen in itertools.combinations(rest, first):
            left = [index for index in rest if index not in chosen]
            yield from dealt(left, others, so_far + float(x[list(chosen)].sum()) ** 2 / first)

    yield from dealt(list(range(len(x))), list(sizes), 0.0)
