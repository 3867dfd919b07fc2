"""The truth of a study: a folder of results. A cell is done if and only if `cells/<id>/result.json` exists and validates.

Published results are read in the same way, whatever their form, and never written. Only the driver writes: every file under a temporary
name, synced and renamed, the result last, so that a kill at any instant leaves a cell either done or not begun.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import logging
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fila_lab.config.base import FilaError, MachineError
from fila_lab.config.cells import Cells
from fila_lab.config.compact import CELLS, CompactCells, open_cells
from fila_lab.config.faults import remedy
from fila_lab.config.files import left_over, move_aside, temporary_path, write_atomically
from fila_lab.studies.result import CellResult, Outline, encode, without_nan

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

log = logging.getLogger("fila_lab")

PROBE = "probe"
Stamp = tuple[int, int, int]
"""Inode, size and time of change: a file of the same stamp is taken for the same. Results are only ever replaced by a rename."""
WRITTEN = frozenset({"result.json", "manifest.json", "predictions.parquet", PROBE})
"""Names of the files that are written below `cells`."""


@dataclass(frozen=True)
class Invalid:
    """A result file that does not count, and why."""

    id: str
    path: Path
    reason: str


class ResultStore:
    """The results of the folder `root`. Outlines are kept, so that a result's file is read once for as long as it stays the same file.

    Raises:
        FilaError: (on `open` and `write`) the folder cannot be written; (on reading) a newer version wrote it.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.cells = self.root / "cells"
        self._outlines: dict[str, tuple[Stamp, Outline | Invalid | None]] = {}

    def open(self) -> ResultStore:
        """Create the folder and make sure that it can be written."""
        try:
            self.cells.mkdir(parents=True, exist_ok=True)
            probe = temporary_path(self.cells / PROBE)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise FilaError(f"--out: {self.root} cannot be written ({error.strerror}); choose another, or mend its permissions") from error
        return self

    def folder(self, cell_id: str) -> Path:
        """Where a cell's files are; also its working folder."""
        return self.cells / cell_id

    def write(self, cell_id: str, result: dict[str, Any], predictions: pd.DataFrame | None, manifest: dict[str, Any]) -> CellResult:
        """Record a cell; returns the result as it will be read back.

        Raises:
            ValueError: the result does not fit the schema, or is another cell's.
            MachineError: it cannot be written, or the folder of results has vanished; all earlier cells stay as they are.
        """
        checked = CellResult.model_validate(without_nan(result))
        if checked.id != cell_id:
            raise ValueError(f"result of cell {checked.id} handed in for cell {cell_id}")
        folder = self.folder(cell_id)
        try:
            folder.mkdir(exist_ok=True)
            if predictions is not None:
                write_atomically(folder / "predictions.parquet", predictions.to_parquet(index=False))
            write_atomically(folder / "manifest.json", (json.dumps(without_nan(manifest), indent=1) + "\n").encode())
            write_atomically(folder / "result.json", encode(checked).encode())
        except OSError as error:
            cause = error.strerror or str(error)
            raise MachineError(
                f"--out: cell {cell_id} cannot be written to {folder} ({cause}); {remedy(error.errno)}, then run the same command "
                f"again: the {len(self.done_ids())} finished cells are kept",
                cause,
            ) from error
        return checked

    @cached_property
    def kept(self) -> Cells:
        """What the folder keeps, in whatever form."""
        return open_cells(self.root)

    def read(self, cell_id: str) -> CellResult | Invalid | None:
        """The result; None when there is none; Invalid when it does not count."""
        try:
            content = self.kept.result(cell_id)
            result = None if content is None else CellResult.model_validate(content)
        except (OSError, ValueError) as error:
            return Invalid(cell_id, self._file(cell_id), " ".join(str(error).split())[:300])
        if result is not None and result.id != cell_id:
            return Invalid(cell_id, self._file(cell_id), f"it is the result of cell {result.id}")
        return result

    def _file(self, cell_id: str) -> Path:
        return self.root / CELLS if isinstance(self.kept, CompactCells) else self.folder(cell_id) / "result.json"

    def get(self, cell_id: str) -> CellResult | None:
        """The result if it counts."""
        found = self.read(cell_id)
        return found if isinstance(found, CellResult) else None

    def predictions(self, cell_id: str) -> pd.DataFrame | None:
        """The cell's predictions, if it has any."""
        return self.kept.predictions(cell_id)

    def table(self, cell_id: str, columns: Collection[str] | None = None) -> pa.Table | None:
        """The cell's predictions as a table of pyarrow; columns: those that are wanted, as far as they are there."""
        return self.kept.table(cell_id, columns)

    def manifest(self, cell_id: str) -> dict[str, Any]:
        """The cell's manifest; empty when there is none that can be read."""
        return self.kept.manifest(cell_id)

    def digest(self, cell_id: str) -> str:
        """16 hex digits of the bytes of the cell's result file; of published tables, of the file they were made from."""
        if isinstance(self.kept, CompactCells):
            result = self.get(cell_id)
            content = b"" if result is None else encode(result).encode()
        else:
            content = (self.folder(cell_id) / "result.json").read_bytes()
        return hashlib.sha256(content).hexdigest()[:16]

    def ids(self) -> list[str]:
        """Every cell with a result, whether it counts or not."""
        return self.kept.ids()

    def results(self, ids: Iterable[str] | None = None) -> dict[str, CellResult]:
        """The results that count, by id, whole; `outlines` is what a study of many cells has room for."""
        found = ((cell_id, self.get(cell_id)) for cell_id in (self.ids() if ids is None else ids))
        return {cell_id: result for cell_id, result in found if result is not None}

    def outline(self, cell_id: str) -> Outline | Invalid | None:
        """As `read`; looked at again only where the file has changed since."""
        try:
            stamp = self._stamp(cell_id)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return _outlined(self.read(cell_id))
        known = self._outlines.get(cell_id)
        if known is None or known[0] != stamp:
            known = self._outlines[cell_id] = stamp, _outlined(self.read(cell_id))
        return known[1]

    def _stamp(self, cell_id: str) -> Stamp:
        state = os.stat(self._file(cell_id))
        return state.st_ino, state.st_size, state.st_mtime_ns

    def stamps(self, ids: Iterable[str]) -> dict[str, Stamp]:
        """Of the result files that are there: as long as they stay, so do the results."""
        found: dict[str, Stamp] = {}
        for cell_id in ids:
            with suppress(OSError):
                found[cell_id] = self._stamp(cell_id)
        return found

    def outlines(self, ids: Iterable[str] | None = None) -> dict[str, Outline]:
        """Of the results that count, by id."""
        found = ((cell_id, self.outline(cell_id)) for cell_id in (self.ids() if ids is None else ids))
        return {cell_id: outline for cell_id, outline in found if isinstance(outline, Outline)}

    def done_ids(self) -> set[str]:
        """Cells with a result that counts, failed and pruned ones included: they are data."""
        return set(self.outlines())

    def failures(self) -> dict[str, Outline]:
        """Failed cells."""
        return {cell_id: outline for cell_id, outline in self.outlines().items() if outline.status == "failed"}

    def invalid(self) -> list[Invalid]:
        """Result files that do not count."""
        return [found for cell_id in self.ids() if isinstance(found := self.outline(cell_id), Invalid)]

    def moved_aside(self) -> list[Path]:
        """Result files that an earlier driver moved aside."""
        return sorted(self._files("result.invalid-*.json"))

    def repair(self, alone: bool = True) -> list[Invalid]:
        """Move result files that do not count aside, so that their cells run again, and clear what a killed driver left half-written
        (`alone`: no other driver writes here, see `left_over`).
        """
        for left in self._files(".*.tmp", own=True):
            if left_over(left, WRITTEN, alone):
                left.unlink(missing_ok=True)
        bad = self.invalid()
        for found in bad:
            aside = move_aside(found.path, "invalid")
            log.warning("%s does not count (%s): moved to %s; the cell runs again", found.path, found.reason, aside.name)
        return bad

    def _files(self, pattern: str, own: bool = False) -> list[Path]:
        """Files of all cells by their names; `own`: and of the folder of cells itself. A folder is listed once; a glob would look at each
        of its files."""
        found: list[Path] = []
        with suppress(OSError):
            for entry in os.scandir(self.cells):
                if entry.is_dir():
                    with suppress(OSError):
                        found += [Path(entry.path, name) for name in fnmatch.filter(os.listdir(entry.path), pattern)]
                elif own and fnmatch.fnmatch(entry.name, pattern):
                    found.append(Path(entry.path))
        return found


def _outlined(found: CellResult | Invalid | None) -> Outline | Invalid | None:
    return Outline.of(found) if isinstance(found, CellResult) else found
