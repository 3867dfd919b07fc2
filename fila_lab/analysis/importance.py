"""How much of an objective's spread over trials each searched field explains (Optuna's fANOVA), beside what noise explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fila_lab.config.space import Choices, Dimension, choice_text

FEWEST = 10
"""Trials below which nothing is said of a field."""
MOST = 300
"""Trials beyond which as many are drawn: they tell shares well enough, and Optuna copies every trial for every forest."""
SHUFFLES = 19
"""Shuffles of the values: what exceeds the largest of them does so by chance once in 20 times."""
TREES, DEPTH = 16, 5
"""Of the forest; deeper trees follow the noise of single trials, and take time that grows with the square of their number."""
RANDOM = "(random)"
"""Name of the column that holds random numbers."""
COLUMNS = ("parameter", "trials", "importance", "shuffled_mean", "shuffled_most", "random", "above_noise")


def importances(
    parameters: Sequence[Mapping[str, Any]], values: Sequence[float], space: Mapping[str, Dimension], shuffles: int = SHUFFLES
) -> pd.DataFrame:
    """One row a field of the space, in its order: parameter, trials (in which it was active, at most MOST of them), importance, and
    the controls.

    importance: share of the values' variance, 0 to 1, that a forest fitted to the trials gives to the field alone (fANOVA). shuffled_mean,
    shuffled_most: the same with the values shuffled among the trials. random: that of a column of random numbers in the same forest.
    above_noise: whether the importance exceeds shuffled_most and random. NaN where a field took one value only, where it was active in
    fewer than FEWEST trials, or where all values are equal.

    Args:
        parameters: of each trial, its active fields.
        values: of each trial, its value in one objective.
        space: every field that was searched.
        shuffles: how many.

    Example:
        >>> from fila_lab.config.space import Range
        >>> space = {"train.learning_rate": Range(low=1e-3, high=1e-2, log=True)}
        >>> trials = [{"train.learning_rate": 0.001 * (step + 1)} for step in range(10)]
        >>> table = importances(trials, [0.5 + 0.01 * step for step in range(10)], space, shuffles=1)
        >>> table[["parameter", "trials"]].values.tolist()
        [['train.learning_rate', 10]]
    """
    found: dict[str, dict[str, float]] = {}
    active = {path: tuple(index for index, own in enumerate(parameters) if path in own) for path in space}
    everywhere = [path for path in space if len(active[path]) == len(parameters)]
    for trials in dict.fromkeys(active.values()):
        drawn = trials if len(trials) <= MOST else sorted(np.random.default_rng(0).choice(trials, MOST, replace=False).tolist())
        own = [path for path in space if active[path] == trials]
        rows = [parameters[index] for index in drawn]
        wanted = {path: space[path] for path in dict.fromkeys([*everywhere, *own])}
        scores = _beside_noise(rows, [values[index] for index in drawn], wanted, shuffles)
        found |= {path: scores.get(path, {}) | {"trials": len(drawn)} for path in own}
    table = pd.DataFrame([{"parameter": path, **found[path]} for path in space]).reindex(columns=list(COLUMNS))
    table["above_noise"] = table["importance"] > table[["shuffled_most", "random"]].max(axis=1)
    return table


def _beside_noise(
    rows: Sequence[Mapping[str, Any]], values: Sequence[float], space: Mapping[str, Dimension], shuffles: int
) -> dict[str, dict[str, float]]:
    varied = {path: one for path, one in space.items() if len({choice_text(row[path]) for row in rows}) > 1}
    if len(rows) < FEWEST or not varied or max(values) == min(values):
        return {}
    rng = np.random.default_rng(0)
    noise = rng.random(len(rows))
    real = _shares(rows, values, varied, noise)
    shuffled = [_shares(rows, rng.permutation(values), varied, noise) for _ in range(shuffles)]
    return {
        path: {
            "importance": real[path],
            "shuffled_mean": float(np.mean([own[path] for own in shuffled])),
            "shuffled_most": max(own[path] for own in shuffled),
            "random": real[RANDOM],
        }
        for path in varied
    }


def _shares(
    rows: Sequence[Mapping[str, Any]], values: Sequence[float] | np.ndarray, space: Mapping[str, Dimension], noise: np.ndarray
) -> dict[str, float]:
    """Field -> share of the variance; RANDOM -> that of `noise`."""
    import optuna
    from optuna.distributions import FloatDistribution

    from fila_lab.config.distributions import distribution, scalar

    distributions = {path: distribution(path, one) for path, one in space.items()} | {RANDOM: FloatDistribution(0, 1)}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would tell of every study in memory
    try:
        study = optuna.create_study(direction="maximize")
    finally:
        optuna.logging.set_verbosity(verbosity)
    for row, value, random in zip(rows, values, noise, strict=True):
        told = {path: scalar(row[path]) if isinstance(one, Choices) else row[path] for path, one in space.items()}
        trial = optuna.trial.create_trial(params=told | {RANDOM: float(random)}, distributions=distributions, value=float(value))
        study.add_trial(trial)
    forest = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, max_depth=DEPTH, seed=0)
    return {path: float(share) for path, share in forest.evaluate(study).items()}
