"""How many seeds a family needs, and the smallest effect a given number of seeds can find."""

from __future__ import annotations

from scipy import stats

ALPHA = 0.05
POWER = 0.8
MOST_SEEDS = 500


def seeds_needed(contrasts: int, alpha: float = ALPHA) -> int:
    """Smallest n at which the exact sign-flip test can reach alpha over `contrasts` comparisons: contrasts * 2^(1-n) < alpha."""
    n = 1
    while contrasts * 2.0 ** (1 - n) >= alpha:
        n += 1
    return n


def can_test(contrasts: int, seeds: int, alpha: float = ALPHA) -> bool:
    return seeds >= seeds_needed(contrasts, alpha)


def power_of(effect: float, sd: float, seeds: int, contrasts: int = 1, alpha: float = ALPHA) -> float:
    """Power of the paired two-sided t test for a mean difference `effect` at sd of the differences, alpha divided by the contrasts."""
    if seeds < 2:
        return 0.0
    critical = stats.t.ppf(1 - alpha / contrasts / 2, seeds - 1)
    shift = effect / sd * seeds**0.5
    return float(stats.nct.sf(critical, seeds - 1, shift) + stats.nct.cdf(-critical, seeds - 1, shift))


def minimal_detectable_effect(sd: float, seeds: int, contrasts: int = 1, alpha: float = ALPHA, power: float = POWER) -> float:
    """Smallest true mean difference found with probability `power`, in the units of sd (of the paired differences). NaN for n < 2.

    It takes the paired t test at alpha / contrasts, Holm's first step: the exact test needs a little more.
    """
    if seeds < 2 or sd != sd:
        return float("nan")
    if sd == 0:
        return 0.0
    low, high = 0.0, sd
    while power_of(high, sd, seeds, contrasts, alpha) < power:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if power_of(middle, sd, seeds, contrasts, alpha) < power else (low, middle)
    return high


def seeds_for_effect(effect: float, sd: float, contrasts: int = 1, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Fewest seeds that find `effect` with probability `power` and are testable at all; None beyond MOST_SEEDS."""
    if sd == 0:
        return seeds_needed(contrasts, alpha)
    for n in range(seeds_needed(contrasts, alpha), MOST_SEEDS + 1):
        if power_of(effect, sd, n, contrasts, alpha) >= power:
            return n
    return None
