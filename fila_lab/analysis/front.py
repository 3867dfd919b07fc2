"""Plain functions on points in several objectives: which no other dominates, how much they cover, how surely they stay on the front.

`values` is [points, objectives] throughout, `directions` one of "maximize" and "minimize" an objective. A point dominates another that it
is at least as good as in every objective and better than in one; equal points do not dominate each other. A point with a value that is no
finite number is on no front and dominates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

BEYOND = 0.1
"""How far beyond the worst value the reference point lies, as a share of the objective's span."""
REFERENCE_RULE = f"the worst value of all complete trials in each objective, moved off by {BEYOND:.0%} of that objective's span"
DECIMALS = 12
"""Of means that are compared."""
Floats = NDArray[np.float64]


def non_dominated(values: ArrayLike, directions: Sequence[str]) -> NDArray[np.bool_]:
    """Which points [points] no other dominates.

    Example:
        >>> non_dominated([[0.6, 2.0], [0.5, 1.0], [0.5, 3.0]], ["maximize", "minimize"]).tolist()
        [True, True, False]
    """
    losses = _losses(values, directions)
    on_front = np.zeros(len(losses), dtype=bool)
    front = np.empty((0, losses.shape[1]))
    # From the best in the first objective on, no later point dominates an earlier one.
    for index in np.lexsort(losses.T[::-1]):
        loss = losses[index]
        if np.isfinite(loss).all() and not _dominates(front, loss).any():
            on_front[index] = True
            front = np.vstack([front, loss])
    return on_front


def dominators(values: ArrayLike, directions: Sequence[str], of: ArrayLike) -> NDArray[np.bool_]:
    """Which points dominate the point `of` [objectives]."""
    losses = _losses(values, directions)
    found: NDArray[np.bool_] = _dominates(losses, _losses(of, directions)[0]) & np.isfinite(losses).all(axis=1)
    return found


def shortfall(values: ArrayLike, directions: Sequence[str], of: ArrayLike) -> float:
    """How much better in the first objective the point `of` would have to be to be dominated by none of `values`; 0 where none is."""
    above = dominators(values, directions, of)
    if not above.any():
        return 0.0
    first = np.asarray(values, dtype=float)[above, 0] - float(np.asarray(of, dtype=float)[0])
    return float(np.abs(first).max())


def reference_point(values: ArrayLike, directions: Sequence[str]) -> Floats:
    """The point [objectives] that hypervolume is measured from, by REFERENCE_RULE; rows that are not finite are left out.

    An objective without a span is moved off by BEYOND of its value, and by 1 where that is 0.

    Example:
        >>> reference_point([[0.6, 2.0], [0.5, 1.0]], ["maximize", "minimize"]).round(3).tolist()
        [0.49, 2.1]
    """
    losses = _finite(_losses(values, directions))
    worst = losses.max(axis=0)
    span = worst - losses.min(axis=0)
    span = np.where(span > 0, span, np.where(worst != 0, np.abs(worst), 1 / BEYOND))
    found: Floats = (worst + BEYOND * span) * _signs(directions)
    return found


def hypervolume(values: ArrayLike, directions: Sequence[str], reference: ArrayLike) -> float:
    """The volume, in the product of the objectives' units, of what lies between the points and the reference point: exact.

    A point that is not better than the reference in every objective adds nothing.

    Example:
        >>> hypervolume([[1, 2], [2, 1]], ["minimize", "minimize"], [3, 3])
        3.0
    """
    return _covered(_gains(values, directions, reference))


def hypervolume_history(values: ArrayLike, directions: Sequence[str], reference: ArrayLike) -> Floats:
    """Hypervolume of the first 1, 2, ... points [points].

    Example:
        >>> hypervolume_history([[1, 2], [2, 1]], ["minimize", "minimize"], [3, 3]).tolist()
        [2.0, 3.0]
    """
    front = np.empty((0, len(directions)))
    total, history = 0.0, []
    for gain in _gains(values, directions, reference, keep=True):
        if (gain > 0).all() and not (front >= gain).all(axis=1).any():
            total += float(gain.prod()) - _covered(np.minimum(front, gain))
            front = np.vstack([front[~(front <= gain).all(axis=1)], gain])
        history.append(total)
    return np.array(history)


def box(values: ArrayLike, directions: Sequence[str], reference: ArrayLike) -> float:
    """Volume between the reference point and the point that has the best value in every objective: what hypervolume is a share of."""
    best = _finite(_losses(values, directions)).min(axis=0)
    return float((_losses(reference, directions)[0] - best).prod())


def mean_draws(values: ArrayLike, weights: ArrayLike) -> Floats:
    """Means [draws, points] of `values` [points, seeds] under bootstrap `weights` [draws, seeds]: how often each seed is drawn.

    One draw takes the same seeds for every point, so that what seeds have in common does not blur their order.
    """
    w = np.asarray(weights, dtype=float)
    return settled((w @ np.asarray(values, dtype=float).T) / w.sum(axis=1, keepdims=True))


def settled(means: ArrayLike) -> Floats:
    """Means without the last bits of a float, so that equal ones are equal whatever the order of their sums."""
    return np.round(np.asarray(means, dtype=float), DECIMALS)


def median_draws(rounds: ArrayLike, draws: int, rng: np.random.Generator) -> Floats:
    """Bootstrap medians [draws, points] of `rounds` [points, rounds], drawn alike for every point: a round measured them side by side."""
    values = np.asarray(rounds, dtype=float)
    drawn = rng.integers(values.shape[1], size=(draws, values.shape[1]))
    return np.stack([np.median(own[drawn], axis=1) for own in values], axis=1)


def front_shares(draws: ArrayLike, directions: Sequence[str]) -> Floats:
    """Share of `draws` [draws, points, objectives] in which each point [points] is on the front of its draw.

    Example:
        >>> front_shares([[[0.6, 2.0], [0.5, 1.0]], [[0.6, 2.0], [0.7, 1.0]]], ["maximize", "minimize"]).tolist()
        [0.5, 1.0]
    """
    losses = np.asarray(draws, dtype=float) * _signs(directions)
    kept = [~_dominates(losses, losses[:, index : index + 1]).any(axis=1) for index in range(losses.shape[1])]
    return np.array([own.mean() for own in kept])


def _signs(directions: Sequence[str]) -> Floats:
    if odd := [direction for direction in directions if direction not in ("maximize", "minimize")]:
        raise ValueError(f"directions: {odd[0]!r} is neither 'maximize' nor 'minimize'")
    return np.array([-1.0 if direction == "maximize" else 1.0 for direction in directions])


def _losses(values: ArrayLike, directions: Sequence[str]) -> Floats:
    """`values` with every objective to be minimised."""
    found: Floats = np.asarray(values, dtype=float).reshape(-1, len(directions)) * _signs(directions)
    return found


def _finite(losses: Floats) -> Floats:
    kept = losses[np.isfinite(losses).all(axis=1)]
    if not len(kept):
        raise ValueError("values: no point has only finite values")
    return kept


def _dominates(losses: Floats, other: Floats) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.logical_and.reduce(losses <= other, axis=-1) & np.logical_or.reduce(losses < other, axis=-1)
    return found


def _gains(values: ArrayLike, directions: Sequence[str], reference: ArrayLike, keep: bool = False) -> Floats:
    """How far each point is better than the reference; those that are not in every objective are left out, or (`keep`) without gain."""
    gains: Floats = _losses(reference, directions) - _losses(values, directions)
    inside = np.logical_and.reduce(np.isfinite(gains) & (gains > 0), axis=1)
    return np.where(inside[:, None], gains, 0.0) if keep else gains[inside]


def _covered(gains: Floats) -> float:
    """Volume of the union of the boxes from the origin to `gains`: each adds its own less what the later ones cover of it."""
    gains = gains[np.logical_and.reduce(gains > 0, axis=1)]
    if not len(gains):
        return 0.0
    width = gains.shape[1]
    gains = np.unique(gains, axis=0)[::-1]
    if width == 1:
        return float(gains[0, 0])
    if width == 2:
        tops = np.maximum.accumulate(gains[:, 1])
        return float((gains[:, 0] * np.diff(tops, prepend=0.0)).sum())
    gains = gains[non_dominated(gains, ("maximize",) * width)]
    return sum(float(gain.prod()) - _covered(np.minimum(gains[index + 1 :], gain)) for index, gain in enumerate(gains))
