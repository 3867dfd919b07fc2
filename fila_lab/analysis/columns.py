"""Predictions of many cells in columns: text as numbered categories, read cell by cell and put together once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fila_lab.config.cell_checks import PREDICTION_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

AT_ONCE = 256
"""Cells whose tables are held as they were read, before their columns are numbered."""
Codes = NDArray[np.signedinteger[Any]]


def fits(table: pa.Table) -> bool:
    """Whether a table is at one glance what readers need (`fila_lab.config.cell_checks.check_predictions` judges those that are not)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not table.num_rows or not set(PREDICTION_COLUMNS) <= set(table.column_names):
        return False
    for name in {*PREDICTION_COLUMNS, "answer"} & set(table.column_names):
        column = table[name]
        if column.null_count or not (pa.types.is_boolean(column.type) if name == "correct" else _is_text(column.type)):
            return False
    if "score" in table.column_names:
        score = table["score"]
        if not pa.types.is_floating(score.type) or pc.any(pc.or_(pc.less(score, 0), pc.greater(score, 1))).as_py():
            return False
    return "cut_fraction" not in table.column_names or pa.types.is_floating(table["cut_fraction"].type)


def text_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns of text."""
    return [field.name for field in schema if _is_text(field.type)]


class Columns:
    """Tables of one schema, one after another."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema.remove_metadata()
        self.rows: list[int] = []
        self._tables: list[pa.Table] = []
        self._numbers: dict[str, dict[str | None, int]] = {name: {} for name in text_columns(schema)}
        self._parts: dict[str, list[Any]] = {field.name: [] for field in schema}

    def add(self, table: pa.Table) -> None:
        """The next cell's."""
        self.rows.append(table.num_rows)
        self._tables.append(table.replace_schema_metadata())
        if len(self._tables) == AT_ONCE:
            self._number()

    def _number(self) -> None:
        import pyarrow as pa

        whole = pa.concat_tables(self._tables).unify_dictionaries()
        self._tables = []
        for name, parts in self._parts.items():
            column = whole[name].combine_chunks()
            if name not in self._numbers:
                parts.append(column.to_pandas())
                continue
            numbered = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
            known = self._numbers[name]
            places = [known.setdefault(text, len(known)) for text in numbered.dictionary.to_pylist()]
            codes = numbered.indices.fill_null(len(places)).to_numpy()
            parts.append(np.array([*places, -1], _least(len(known)))[codes])

    def frame(self, head: Mapping[str, Any]) -> pd.DataFrame:
        """A row a prediction; categories in the order of their texts. head: further columns, in front."""
        if self._tables:
            self._number()
        columns = dict(head)
        for name in list(self._parts):
            parts = self._parts.pop(name)
            if name in self._numbers:
                columns[name] = categorical(np.concatenate(parts), list(self._numbers[name]))
            else:
                columns[name] = pd.concat(parts, ignore_index=True)
        return pd.DataFrame(columns, copy=False)


def categorical(codes: Codes, names: Sequence[Any]) -> pd.Categorical:
    """codes: places in `names`, -1 where there is none. Categories are sorted, so that groups come in the order of their names."""
    order = sorted(range(len(names)), key=names.__getitem__)
    ranks = np.empty(len(names) + 1, _least(len(names)))
    ranks[order] = np.arange(len(names))
    ranks[-1] = -1
    return pd.Categorical.from_codes(ranks[codes], pd.Index([names[at] for at in order]), validate=False)


def repeated(values: Sequence[Any], counts: Sequence[int]) -> pd.Categorical:
    """Each of `values` as often as its count says."""
    names = list(dict.fromkeys(values))
    numbers = {name: number for number, name in enumerate(names)}
    return categorical(np.repeat(np.array([numbers[value] for value in values], _least(len(names))), counts), names)


def numbered(values: pd.Series) -> tuple[list[Any], Codes]:
    """The values there are, in their order, and each row's place among them."""
    codes, known = pd.factorize(values, sort=True)
    return list(known), codes


def equal(one: pd.Series, other: pd.Series) -> pd.Series:
    """Row by row; categories of both may differ."""
    if not all(isinstance(own.dtype, pd.CategoricalDtype) for own in (one, other)):
        return one.astype(object) == other.astype(object)
    places = other.cat.categories.get_indexer(one.cat.categories)
    theirs = np.append(np.where(places < 0, -2, places), -2)  # -1 is what is missing, and equals nothing
    return pd.Series(theirs[one.cat.codes.to_numpy()] == other.cat.codes.to_numpy(), one.index)


@dataclass(frozen=True)
class ByPlace:
    """Rows of predictions put side by side by place: `first` [n], each group's first row, groups in the order of their keys; `worth`
    [n, places], NaN where a group has no row of a place, else that of its first."""

    first: NDArray[np.int64]
    worth: NDArray[np.float64]

    @staticmethod
    def of(predictions: pd.DataFrame, keys: Sequence[str], places: Sequence[str], worth: pd.Series) -> ByPlace:
        """keys: the columns by which rows are grouped; places: of which rows are taken."""
        named, codes = numbered(predictions["place"])
        place = np.array([*(places.index(name) if name in places else -1 for name in named), -1])[codes]
        number = np.zeros(len(predictions), np.int64)
        for key in keys:
            known, codes = numbered(predictions[key])
            number = number * len(known) + codes
        group, groups = pd.factorize(number, sort=True)
        first, table = np.zeros(len(groups), np.int64), np.full((len(groups), len(places)), np.nan)
        backwards = np.arange(len(group) - 1, -1, -1)  # what is written last stays
        first[group[backwards]] = backwards
        backwards = backwards[place[backwards] >= 0]
        table[group[backwards], place[backwards]] = worth.to_numpy(float)[backwards]
        return ByPlace(first, table)


def _least(count: int) -> type[np.signedinteger[Any]]:
    """The smallest type that numbers so many things."""
    return np.int8 if count < 2**7 else np.int16 if count < 2**15 else np.int32


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
