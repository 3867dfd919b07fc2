"""A searched field in Optuna's terms; imported only where Optuna is needed."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from fila_lab.config.space import Choices, Dimension, choice_text


def distribution(path: str, one: Dimension) -> BaseDistribution:
    """A field's dimension in Optuna's terms. Choices that are no scalars stand there as JSON."""
    if isinstance(one, Choices):
        return CategoricalDistribution([scalar(value) for value in one.values])
    if one.whole(path):
        return IntDistribution(int(one.low), int(one.high), log=one.log, step=int(one.step or 1))
    return FloatDistribution(one.low, one.high, log=one.log, step=one.step)


def scalar(value: Any) -> Any:
    """A value as Optuna holds it: what is no scalar is JSON text."""
    return value if value is None or isinstance(value, bool | int | float | str) else choice_text(value)
