"""How much a number of seeds can show: smallest detectable effect, and seeds a family of contrasts needs. Pure Python."""

from __future__ import annotations

import math

ALPHA = 0.05
POWER = 0.8
ASSUMED_SD = 0.02
"""Standard deviation over seeds of a paired difference in accuracy, assumed until it is measured."""


def seeds_needed(contrasts: int, alpha: float = ALPHA) -> int:
    """Least n for which Holm's correction of the smallest two-sided sign-flip p, m x 2^(1-n), falls below alpha."""
    seeds = 2
    while contrasts * 2.0 ** (1 - seeds) >= alpha:
        seeds += 1
    return seeds


def minimal_detectable_effect(seeds: int, sd: float = ASSUMED_SD, alpha: float = ALPHA, power: float = POWER) -> float:
    """Paired difference a two-sided t test finds with the given power: (t_alpha/2 + t_power) x sd / sqrt(n); infinite for one seed."""
    if seeds < 2:
        return math.inf
    return (t_quantile(1 - alpha / 2, seeds - 1) + t_quantile(power, seeds - 1)) * sd / math.sqrt(seeds)


def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t (probability > .5), by bisection of the closed-form distribution function."""
    low, high = 0.0, 1.0
    while t_cdf(high, freedom) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, freedom) < probability else (low, middle)
    return high


def t_cdf(value: float, freedom: int) -> float:
    """P(T <= value) for value >= 0 and whole degrees of freedom (Abramowitz and Stegun 26.7.3-4)."""
    angle = math.atan(value / math.sqrt(freedom))
    cos2 = math.cos(angle) ** 2
    term, total = 1.0, 0.0
    if freedom % 2:
        term = math.cos(angle)
        for j in range(3, freedom + 1, 2):
            total += term
            term *= cos2 * (j - 1) / j
        inside = 2 / math.pi * (angle + math.sin(angle) * total)
    else:
        for j in range(2, freedom + 1, 2):
            total += term
            term *= cos2 * (j - 1) / j
        inside = math.sin(angle) * total
    return 0.5 + inside / 2
