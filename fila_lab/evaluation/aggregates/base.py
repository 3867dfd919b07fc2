"""What an aggregate is: scored rows of a benchmark give its own figures; and the registry of all of them, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd

from fila_lab.config.base import FilaError
from fila_lab.config.score_names import AGGREGATE_GROUP
from fila_lab.config.score_names import AGGREGATES as BUILT_IN
from fila_lab.evaluation.registry import Registry

SEVERAL = "; "
"""Between the values of a column that has several in one row."""


@dataclass(frozen=True)
class Scored:
    """Rows of one benchmark with their scores.

    `rows`: a frame with id, prediction, answers, score and the columns that are known of each; `score`: the name of the score; `by`:
    columns whose levels get figures of their own.
    """

    rows: pd.DataFrame
    score: str
    by: tuple[str, ...] = ()

    def need(self, *columns: str) -> pd.DataFrame:
        """The rows, which have these columns.

        Raises:
            FilaError: one is missing.
        """
        if missing := [column for column in columns if column not in self.rows]:
            raise FilaError(
                f"rows: no column {', '.join(missing)}, which this aggregate goes by; known are {', '.join(map(str, self.rows.columns))}"
            )
        return self.rows


Aggregate = Callable[[Scored], dict[str, float]]
F = TypeVar("F", bound=Aggregate)
AGGREGATES: Registry[Aggregate] = Registry("aggregate", AGGREGATE_GROUP)
"""Name -> function of `Scored` rows to figures by name."""


def register_aggregate(name: str) -> Callable[[F], F]:
    """Decorator: make a function of `Scored` rows available as `AGGREGATES[name]`."""

    def add(rule: F) -> F:
        if rule.__module__.startswith(f"{__package__}.") and name not in BUILT_IN:
            raise FilaError(f"aggregate {name!r} has no line in config.score_names; add it there")
        AGGREGATES.add(name, rule)
        return rule

    return add


def levels(name: str, units: pd.DataFrame, values: str, by: Sequence[str]) -> dict[str, float]:
    """`name/column=level` -> mean of the column `values` over the rows of each level of each column of `by` that is known."""
    figures = {}
    for column in by:
        if column not in units:
            continue
        known = units.loc[units[column].notna(), [column, values]]
        known = known.assign(**{column: known[column].astype(str).str.split(SEVERAL, regex=False)}).explode(column)
        for level, mean in known[known[column] != ""].groupby(column, sort=True)[values].mean().items():
            figures[f"{name}/{column}={level}"] = float(mean)
    return figures
