"""Files of rows as rows: JSON, JSON lines, text tables with and without a header, parquet. Images in them stay where they are."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from fila_lab.config.base import FilaError
from fila_lab.config.json_files import parse_json
from fila_lab.data.benchmarks.images import InTable, is_base64
from fila_lab.data.benchmarks.parquet import parquet_rows

KINDS = (".json", ".jsonl", ".parquet", ".tsv", ".csv", ".txt")
_DELIMITERS = {".tsv": "\t", ".csv": ",", ".txt": "\t"}
_POINTER = b"version https://git-lfs"
Rows = list[dict[str, Any]]


def read_rows(path: Path, place: str = "", columns: Collection[str] = (), fields: Collection[str] = ()) -> Rows:
    """The rows of a file. The first names all its fields, those of parquet that are not needed as null.

    Args:
        path: JSON, JSON lines, TSV, CSV, TXT (tabs) or parquet, by its ending.
        place: where the rows stand in a JSON object, `a.b`.
        columns: names of the columns of a text table without a header.
        fields: the fields that are needed: of parquet no others are read.

    Raises:
        FilaError: it cannot be read as what it is, or holds no rows.
    """
    kind = path.suffix.lower()
    try:
        with path.open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                raise FilaError(f"{path} is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`")
        if kind == ".parquet":
            rows = parquet_rows(path, fields)
        elif kind in _DELIMITERS:
            rows = list(_table(path, _DELIMITERS[kind], list(columns)))
        else:
            rows = _json(path, place)
    except UnicodeDecodeError as error:
        raise FilaError(f"{path} is not UTF-8 (byte {error.start}); save it in UTF-8") from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise FilaError(f"{path} cannot be read ({error.strerror}); check the path") from error
    if not rows:
        raise FilaError(f"{path} holds no rows; give the file with the benchmark's questions")
    return rows


def _json(path: Path, place: str) -> Rows:
    text = path.read_text(encoding="utf-8-sig")
    try:
        content = parse_json(text)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise FilaError(f"{path}, line {error.lineno}: no JSON ({error.msg}); mend it there, or download it again") from None
        return [_object(_line(path, number, line), path, number) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    except ValueError as error:
        raise FilaError(f"{path} cannot be read as JSON ({error}); download it again") from None
    for part in place.split(".") if place else ():
        if not isinstance(content, dict) or part not in content:
            has = f"it has {', '.join(map(str, list(content)[:8]))}" if isinstance(content, dict) else f"it is a {type(content).__name__}"
            raise FilaError(f"{path} has no {place}, where its rows are to be ({has})")
        content = content[part]
    if isinstance(content, dict):
        if content and all(isinstance(row, dict) for row in content.values()):
            return [{"_key": key, **row} for key, row in content.items()]
        content = [content]
    if not isinstance(content, list):
        raise FilaError(f"{path} is a {type(content).__name__}, not a list of rows")
    return [_object(row, path, number) for number, row in enumerate(content, 1)]


def _line(path: Path, number: int, line: str) -> Any:
    try:
        return parse_json(line)
    except ValueError as error:
        raise FilaError(f"{path}, line {number}: no JSON ({error}); mend it there, or download it again") from None


def _object(row: Any, path: Path, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise FilaError(f"{path}: row {number} is a {type(row).__name__}, not an object with fields")
    return row


def _table(path: Path, delimiter: str, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Records as rows; empty is null, base64 is left in the file."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with path.open("rb") as file:
            at = [0]

            def lines() -> Iterator[str]:
                for line in file:
                    text = line.decode("utf-8-sig" if not at[0] else "utf-8")
                    at[0] += len(line)
                    yield text

            reader = csv.reader(lines(), delimiter=delimiter, quoting=csv.QUOTE_NONE if columns else csv.QUOTE_MINIMAL)
            header = columns or next(reader, [])
            start = at[0]
            for record in reader:
                if record:
                    if len(record) != len(header):
                        raise FilaError(
                            f"{path}, line {reader.line_num}: {len(record)} columns, not {len(header)} ({', '.join(header)}); mend it there"
                        )
                    yield {
                        name: InTable(path, start, at[0] - start, number, delimiter) if is_base64(text) else text or None
                        for number, (name, text) in enumerate(zip(header, record, strict=True))
                    }
                start = at[0]
    except csv.Error as error:
        raise FilaError(f"{path} cannot be read as a table ({error}); write it again") from error
    finally:
        csv.field_size_limit(limit)
