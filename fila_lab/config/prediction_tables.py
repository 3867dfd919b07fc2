"""The tables of a study's test items and of what cells answered: `items.parquet`, `predictions.parquet`, joined on their column `row`.

An item stands once, whichever cells answered it; where cells saw different items under one id, each of them stands. A column is the
item's where it follows from the item's id, place, question and answer, and the answer's otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ITEM = ("item_id", "task", "place", "question", "answer", "image_id")
"""Columns that say which item it is, as far as they are there."""
ANSWERED = ("prediction", "score", "correct")
CELL, ROW = "cell", "row"


def write_prediction_tables(items: Path, predictions: Path, cells: Mapping[str, pd.DataFrame]) -> None:
    """Write both tables.

    Args:
        items: items.parquet.
        predictions: predictions.parquet.
        cells: cell id -> its predictions, a row an item, in the order to be kept.

    Raises:
        ValueError: a column holds things of different kinds in different cells, or a name that is taken.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [_arrow(cell_id, frame) for cell_id, frame in cells.items()]
    try:
        whole = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(f"predictions of the cells do not fit into one table ({error})") from error
    frame = _comparable(whole.drop_columns([CELL]))
    names = [name for name in map(str, frame) if name not in ANSWERED]
    key = [name for name in ITEM if name in names]
    same = _groups(frame, key)
    own = [name for name in names if name in key or (_groups(frame, [*key, name]).max() == same.max())]
    rows = _groups(frame, own)
    first = rows.drop_duplicates().index.to_numpy()  # rows are counted in the order of first appearance
    column = pa.array(rows.to_numpy().astype("int32"))
    listed = whole.select(own).take(pa.array(first)).add_column(0, ROW, pa.array(range(len(first)), pa.int32()))
    answers = whole.select([name for name in whole.column_names if name not in own]).add_column(1, ROW, column)
    _write(pq, items, listed)
    _write(pq, predictions, answers)


def read_predictions(items: pa.Table, answers: pa.Table, columns: Sequence[str]) -> pa.Table:
    """A cell's predictions as they were handed to `write_prediction_tables`.

    Args:
        items: items.parquet.
        answers: the cell's rows of predictions.parquet.
        columns: the cell's columns, in their order.
    """
    seen = items.take(answers[ROW])
    parts = {name: seen[name] if name in seen.column_names else answers[name] for name in columns}
    import pyarrow as pa

    return pa.table(parts)


def by_cell(answers: pa.Table) -> dict[str, pa.Table]:
    """Cell id -> its rows of predictions.parquet, in their order."""
    import pyarrow.compute as pc

    ends = pc.run_end_encode(answers[CELL].combine_chunks()) if len(answers) else None
    found: dict[str, pa.Table] = {}
    start = 0
    for cell_id, end in zip(ends.values.to_pylist(), ends.run_ends.to_pylist(), strict=True) if ends is not None else ():
        found[cell_id] = answers.slice(start, end - start)
        start = end
    return found


def _arrow(cell_id: str, frame: pd.DataFrame) -> pa.Table:
    import pyarrow as pa

    if taken := [name for name in (CELL, ROW) if name in frame]:
        raise ValueError(f"predictions of cell {cell_id} have a column {taken[0]}, which is the table's own")
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    return table.add_column(0, CELL, pa.array([cell_id] * len(frame), pa.string()))


def _comparable(table: pa.Table) -> pd.DataFrame:
    """Rows that can be told apart by what pandas takes for equal (nulls and NaN are): lists and structures stand as text."""
    import pyarrow as pa

    columns = dict(zip(table.column_names, table.columns, strict=True))
    nested = {name: pa.array(map(repr, column.to_pylist())) for name, column in columns.items() if pa.types.is_nested(column.type)}
    frame: pd.DataFrame = pa.table(columns | nested).to_pandas()
    return frame


def _groups(frame: pd.DataFrame, columns: Iterable[str]) -> pd.Series:
    """int [rows]: equal rows have equal numbers, counted from 0 in the order of first appearance."""
    numbers: pd.Series = frame.groupby(list(columns), sort=False, dropna=False, observed=True).ngroup()
    return numbers


def _write(pq: Any, path: Path, table: pa.Table) -> None:
    """Dictionaries for what repeats, differences for row numbers: they count up."""
    repeated = [name for name in table.column_names if name != ROW]
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=repeated,
        column_encoding={ROW: "DELTA_BINARY_PACKED"},
    )
