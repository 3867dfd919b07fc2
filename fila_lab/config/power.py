"""How much seeds can show: the power of the exact sign-flip test that decides, and what follows from it. One home for plan and reports."""

from __future__ import annotations

import functools
import math
import numbers
import sys
from collections.abc import Callable
from typing import Any

from fila_lab.config.base import MOST, ConfigError

ALPHA = 0.05
INVERSE_ALPHA = 20
POWER = 0.8
MOST_SEEDS = 500
COUNTED = 500
"""Most seeds whose signs are counted."""
ASSUMED_SD = 0.02
"""Standard deviation over seeds of a paired difference in accuracy, assumed until it is measured."""


def seeds_needed(contrasts: int) -> int:
    """Fewest seeds at which the test can reach .05 over `contrasts` comparisons: contrasts x 2^(1-n) < .05."""
    return (INVERSE_ALPHA * contrasts).bit_length() + 1


def can_test(contrasts: int, seeds: int) -> bool:
    return seeds >= seeds_needed(contrasts)


def power(effect: float, sd: float, seeds: int, contrasts: int) -> float:
    """Probability that the exact two-sided sign-flip test reaches p <= .05 / contrasts, Holm's first step; to about .003.

    seeds: independent normal paired differences with mean `effect` and standard deviation `sd` (same units). At effect 0 it is the level
    that the test attains, at most .05 / contrasts.
    Raises: ConfigError for what is no effect, sd, number of seeds or of contrasts.
    """
    if not _is_number(effect):
        raise ConfigError(f"effect = {effect}: give a finite number")
    counted, stretch = _counted(seeds, sd)
    ranks = _ranks(counted, contrasts)
    if ranks == 0:
        return 0.0
    if sd == 0:
        return float(effect != 0)
    return _power(abs(effect) / sd * stretch, counted, ranks)


def minimal_detectable_effect(sd: float, seeds: int, contrasts: int = 1, wanted: float = POWER) -> float | None:
    """Smallest true mean difference found with probability `wanted`, in the units of sd; None where these seeds can find none at all.

    Raises: ConfigError as `fila_lab.config.power.power`.
    """
    counted, stretch = _counted(seeds, sd)
    ranks = _ranks(counted, contrasts)
    return sd * _smallest(counted, ranks, wanted) / stretch if ranks else None


def seeds_for_effect(effect: float, sd: float, contrasts: int = 1, wanted: float = POWER) -> int | None:
    """Fewest seeds that find `effect` with probability `wanted`; None where MOST_SEEDS do not.

    Raises: ConfigError as `fila_lab.config.power.power`.
    """
    high = seeds_needed(contrasts)
    low = high - 1
    while high <= MOST_SEEDS and power(effect, sd, high, contrasts) < wanted:
        low, high = high, max(high + 1, min(2 * high, MOST_SEEDS))
    if high > MOST_SEEDS:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if power(effect, sd, middle, contrasts) < wanted else (low, middle)
    return high


def _is_real(value: Any) -> bool:
    """A number of Python's or numpy's."""
    return isinstance(value, numbers.Real)


def _is_number(value: Any) -> bool:
    return _is_real(value) and bool(abs(value) <= sys.float_info.max)


def _check_whole(name: str, value: Any) -> None:
    if not (_is_real(value) and 1 <= value <= MOST and not value % 1):
        raise ConfigError(f"{name} = {value}: give a whole number, at least 1 and at most {MOST}")


def _counted(seeds: int, sd: float) -> tuple[int, float]:
    """Seeds at most COUNTED, and by how much an effect has to be stretched for so many to show it as all of them do: beyond COUNTED the
    power is that of the mean's distance from zero in standard errors, whatever the number."""
    if not (_is_number(sd) and sd >= 0):
        raise ConfigError(f"sd = {sd}: give a finite number, zero or above")
    _check_whole("seeds", seeds)
    counted = min(int(seeds), COUNTED)
    return counted, math.sqrt(seeds / counted)


def _ranks(seeds: int, contrasts: int) -> int:
    """How many of the values k / 2^(n-1) that p can take are at most .05 / contrasts; exact, in whole numbers."""
    _check_whole("contrasts", contrasts)
    return int(2 ** (int(seeds) - 1) // (INVERSE_ALPHA * int(contrasts)))


def _power(shift: float, seeds: int, ranks: int) -> float:
    """shift: the effect in standard deviations."""
    if ranks == 1:  # all differences have one sign
        above, below = (math.erfc(side * shift / math.sqrt(2)) / 2 for side in (-1, 1))
        return above**seeds + below**seeds
    from fila_lab.config.critical_t import critical_values, exceeding

    return exceeding(critical_values(seeds, ranks), seeds, math.sqrt(seeds) * min(shift, 1e6))


@functools.lru_cache(maxsize=4096)
def _smallest(seeds: int, ranks: int, wanted: float) -> float:
    return smallest_shift(lambda shift: _power(shift, seeds, ranks), wanted)


def smallest_shift(found: Callable[[float], float], wanted: float = POWER, within: float = 1e-4) -> float:
    """The shift at which `found`, a power that grows with it, is `wanted`: by bisection, `within` that share of itself."""
    low, high = 0.0, 1.0
    while found(high) < wanted:
        low, high = high, 2 * high
    while high - low > within * high:
        middle = (low + high) / 2
        low, high = (middle, high) if found(middle) < wanted else (low, middle)
    return high
