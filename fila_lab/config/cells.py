"""What a result folder keeps of its cells, and the reader of the form that a run writes: a folder a cell."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fila_lab.config.json_files import read_json
from fila_lab.config.renamed import SCHEMA, present_columns, present_result
from fila_lab.config.schemas import refuse_newer

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq


class Cells(Protocol):
    """Results, manifests and predictions by a cell's id, by the present names; `fila_lab.config.compact.open_cells` knows the form."""

    def ids(self) -> list[str]:
        """Cells with a result, in the order of their names; it may not be readable."""

    def result(self, cell_id: str) -> dict[str, Any] | None:
        """The content of result.json; None where there is none.

        Raises:
            ValueError: it is damaged.
            OSError: it cannot be read.
            FilaError: a newer version wrote it.
        """

    def manifest(self, cell_id: str) -> dict[str, Any]:
        """The content of manifest.json; empty where there is none that can be read."""

    def predictions(self, cell_id: str) -> pd.DataFrame | None:
        """A row an item; None where there are none.

        Raises:
            ValueError: they are damaged.
            OSError: they cannot be read.
        """

    def table(self, cell_id: str, columns: Collection[str] | None = None, numbered: Collection[str] = ()) -> pa.Table | None:
        """The same as a table of pyarrow, in a fraction of the time. columns: those that are wanted; numbered: those of text that are to
        come as dictionaries, if all of them are there."""


class FolderCells:
    """`cells/<id>/result.json`, `manifest.json`, `predictions.parquet`: as `Cells` says."""

    def __init__(self, root: Path) -> None:
        self.root = root / "cells"

    def ids(self) -> list[str]:
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if path.is_dir() and (path / "result.json").exists())

    def result(self, cell_id: str) -> dict[str, Any] | None:
        path = self.root / cell_id / "result.json"
        try:
            content = read_json(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not isinstance(content, dict):
            raise ValueError("not a mapping")
        refuse_newer(path, content.get("schema"), SCHEMA)
        return dict(present_result(content))

    def manifest(self, cell_id: str) -> dict[str, Any]:
        try:
            content = read_json(self.root / cell_id / "manifest.json")
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def predictions(self, cell_id: str) -> pd.DataFrame | None:
        found = self.table(cell_id)
        return None if found is None else found.to_pandas()

    def table(self, cell_id: str, columns: Collection[str] | None = None, numbered: Collection[str] = ()) -> pa.Table | None:
        path = self.root / cell_id / "predictions.parquet"
        if not path.exists():
            return None
        with _open(path, numbered) as file:
            names = file.schema_arrow.names
            now = present_columns(names)
            wanted = None if columns is None else [name for name in names if now.get(name, name) in columns]
            found = file.read(wanted, use_threads=False)
        return found.rename_columns([now.get(name, name) for name in found.column_names])


def _open(path: Path, numbered: Collection[str]) -> pq.ParquetFile:
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, read_dictionary=list(numbered))
    except KeyError:  # one of them is not there
        return pq.ParquetFile(path)
