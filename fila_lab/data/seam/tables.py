"""Real tables: whole numbers of public-domain data sets that the statsmodels package carries as CSV; test has tables of its own.

A value is the table's number rounded to a whole one; what has more than three digits, or is negative, is left out. Numbers recur in all
splits, as digits do.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache

import numpy as np

from fila_lab.data.seam import content

LONGEST = 3
"""Digits of a value, at most."""

_COLUMNS: dict[str, dict[str, dict[str, str]]] = {
    "train": {
        "sunspots": {"SUNACTIVITY": "SUN"},
        "stackloss": {"STACKLOSS": "LOSS", "AIRFLOW": "AIR", "WATERTEMP": "TEMP", "ACIDCONC": "ACID"},
        "elnino": {"JAN": "JAN", "APR": "APR", "JUL": "JUL", "OCT": "OCT"},
        "longley": {"GNPDEFL": "DEFL", "GNP": "GNP"},
    },
    "test": {
        "statecrime": {"hs_grad": "HS", "poverty": "POOR", "single": "SNGL", "urban": "CITY", "violent": "CRIM"},
        "macrodata": {"cpi": "CPI", "pop": "POP", "unemp": "JOBS"},
    },
}
"""Split -> data set -> column -> its header as drawn."""


@dataclass(frozen=True)
class Table:
    """One real table: `values` int [rows, columns], -1 where a number cannot be shown."""

    name: str
    headers: tuple[str, ...]
    values: np.ndarray

    def rows(self, column: int, digits: int) -> np.ndarray:
        """Rows whose number in a column has at most `digits` digits."""
        numbers = self.values[:, column]
        return np.flatnonzero((numbers >= 0) & (numbers < 10**digits))


@cache
def tables(split: str) -> tuple[Table, ...]:
    """The tables of a split. FilaError where statsmodels lacks one."""
    found = []
    for name, columns in _COLUMNS[content.source(split)].items():
        with content.package_file("statsmodels", f"datasets/{name}/{name}.csv").open() as file:
            lines = list(csv.DictReader(file))
        values = np.array([[_whole(line[column]) for column in columns] for line in lines])
        found.append(Table(name, tuple(columns.values()), values))
    return tuple(found)


@cache
def columns(split: str, digits: int, distinct: int) -> tuple[tuple[int, int], ...]:
    """(table, column) of those with at least `distinct` different numbers of at most `digits` digits."""
    return tuple(
        (number, column)
        for number, table in enumerate(tables(split))
        for column in range(len(table.headers))
        if len(set(table.values[table.rows(column, digits), column])) >= distinct
    )


def _whole(text: str) -> int:
    number = round(float(text))
    return number if 0 <= number < 10**LONGEST else -1
