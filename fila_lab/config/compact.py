"""Published results as tables of all cells, and the one place that knows which form a result folder has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fila_lab.config.base import FilaError
from fila_lab.config.cell_checks import check_predictions, check_result, short
from fila_lab.config.cell_table import CellRow, read_cell_table, write_cell_table
from fila_lab.config.cells import Cells, FolderCells
from fila_lab.config.prediction_tables import by_cell, read_predictions, write_prediction_tables
from fila_lab.config.published import read_mark
from fila_lab.config.renamed import SCHEMA, present_columns, present_result
from fila_lab.config.schemas import PUBLISHED, refuse_newer

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

T = TypeVar("T")

CELLS, ITEMS, PREDICTIONS = "cells.parquet", "items.parquet", "predictions.parquet"
TABLES = (CELLS, ITEMS, PREDICTIONS)


def open_cells(root: Path) -> Cells:
    """The reader of a result folder, whatever its form.

    Raises:
        FilaError: a newer version published it, or its table of cells is damaged.
    """
    return CompactCells(root) if is_compact(root) else FolderCells(root)


def is_compact(root: Path) -> bool:
    """Whether the folder holds tables of all cells rather than a folder a cell.

    Raises:
        FilaError: a newer version published it.
    """
    mark = read_mark(root)
    return (root / CELLS).is_file() or (mark is not None and mark.schema == PUBLISHED)


class CompactCells:
    """`cells.parquet`, `items.parquet`, `predictions.parquet`: as `Cells` says. The tables are read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._rows = {row.id: row for row in _undamaged(root / CELLS, read_cell_table)}

    def ids(self) -> list[str]:
        return sorted(row.id for row in self._rows.values() if row.result is not None or row.problem is not None)

    def result(self, cell_id: str) -> dict[str, Any] | None:
        row = self._rows.get(cell_id)
        if row is not None and row.problem is not None:
            raise ValueError(row.problem)
        if row is None or row.result is None:
            return None
        refuse_newer(self.root / CELLS, row.result["schema"], SCHEMA)
        return dict(present_result(row.result))

    def manifest(self, cell_id: str) -> dict[str, Any]:
        return dict(self._rows[cell_id].manifest) if cell_id in self._rows else {}

    def predictions(self, cell_id: str) -> pd.DataFrame | None:
        found = self.table(cell_id)
        return None if found is None else found.to_pandas()

    def table(self, cell_id: str, columns: Collection[str] | None = None, numbered: Collection[str] = ()) -> pa.Table | None:
        row = self._rows.get(cell_id)
        if row is None or (row.prediction_columns is None and row.prediction_problem is None):
            return None
        if row.prediction_columns is None:
            raise ValueError(row.prediction_problem)
        import pyarrow as pa

        now = present_columns(row.prediction_columns)
        wanted = [name for name in row.prediction_columns if columns is None or now.get(name, name) in columns]
        items, answers = self._tables
        try:
            found = read_predictions(items, answers[cell_id], wanted)
        except (LookupError, TypeError, pa.ArrowException) as error:
            raise ValueError(f"{PREDICTIONS} and {ITEMS} do not hold them ({short(error)})") from error
        found = found.rename_columns([now.get(name, name) for name in found.column_names])
        for name in set(numbered) & set(found.column_names):
            found = found.set_column(found.column_names.index(name), name, found[name].dictionary_encode())
        return found

    @cached_property
    def _tables(self) -> tuple[pa.Table, dict[str, pa.Table]]:
        import pyarrow.parquet as pq

        items, answers = (_undamaged(self.root / name, pq.read_table) for name in (ITEMS, PREDICTIONS))
        return items, _undamaged(self.root / PREDICTIONS, lambda path: by_cell(answers))


def write_compact(folder: Path, planned: Iterable[Mapping[str, Any]], cells: Cells, left_out: Collection[str] = ()) -> None:
    """Write the tables of a study's cells: those of the plan in its order, then those that it does not know.

    Args:
        folder: where to.
        planned: the cells of plan.json.
        cells: their results.
        left_out: ids of cells that are written as if they had not been run.

    Raises:
        FilaError: their predictions do not fit into one table.
        OSError: it cannot be written.
    """
    entries = {str(entry["id"]): entry for entry in planned}
    rows, answers = [], {}
    for cell_id in dict.fromkeys([*entries, *cells.ids()]):
        entry = entries.get(cell_id, {})
        row = CellRow(cell_id, entry.get("arm"), entry.get("seed"), entry.get("phase"), entry.get("trial"))
        if cell_id not in left_out:
            row, frame = _collected(row, cells)
            if frame is not None:
                answers[cell_id] = frame
        rows.append(row)
    write_cell_table(folder / CELLS, rows)
    if answers:
        try:
            write_prediction_tables(folder / ITEMS, folder / PREDICTIONS, answers)
        except ValueError as error:
            raise FilaError(f"{error}; mend or remove the predictions of the cells that differ") from error


def _collected(row: CellRow, cells: Cells) -> tuple[CellRow, pd.DataFrame | None]:
    """The row with all that is kept of its cell, and the cell's predictions."""
    result, frame, problem, unread = None, None, None, None
    try:
        if (content := cells.result(row.id)) is not None:
            result = check_result(content, row.id, row.phase or ("main" if content.get("metrics") else "tuning"))
    except (ValueError, OSError) as error:
        problem = short(error)
    try:
        if (found := cells.predictions(row.id)) is not None:
            frame = check_predictions(found)
    except (ValueError, OSError) as error:
        unread = short(error)
    columns = None if frame is None else tuple(map(str, frame.columns))
    kept = replace(row, result=result, problem=problem, manifest=cells.manifest(row.id))
    return replace(kept, prediction_columns=columns, prediction_problem=unread), frame


def _undamaged(path: Path, read: Callable[[Path], T]) -> T:
    """What `read` makes of a table.

    Raises:
        FilaError: it is not there, or not what was published.
    """
    import pyarrow as pa

    try:
        return read(path)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, pa.ArrowException) as error:
        raise FilaError(f"{path}: not readable as published results ({short(error)}); restore it, or publish the run again") from error
