"""Parquet files as Hugging Face's datasets write them: rows without the bytes of their images, and an image's bytes when asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fila_lab.config.base import FilaError
from fila_lab.imaging import ImageError

_GROUPS = 2
"""Row groups whose images a process holds: rows are asked for in order."""


@dataclass(frozen=True)
class InParquet:
    """An image in a row of a column: bytes, {bytes, path}, or a list of one of them."""

    path: Path
    column: str
    row: int

    @property
    def name(self) -> str:
        return f"image {self.row} of {self.path.name!r}"

    def read(self) -> bytes:
        """The bytes. ImageError where the file is damaged."""
        starts = _starts(self.path)
        group = max(number for number, start in enumerate(starts) if start <= self.row)
        content = _bytes(_group(self.path, self.column, group)[self.row - starts[group]].as_py())
        if content is None:
            raise ImageError(f"{self.name} has no bytes; write the table with its images", "missing image")
        return content


def parquet_rows(path: Path, fields: Collection[str]) -> list[dict[str, Any]]:
    """The rows with the fields that are needed; a column of images as `InParquet`, as a path where a row holds no bytes, and a list that
    has not one member as it is.

    Raises:
        FilaError: it is no parquet file, or damaged.
        OSError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            wanted = [name for name in schema.names if name in fields]
            images = [name for name in wanted if _holds_bytes(schema.field(name).type)]
            rest = [name for name in wanted if name not in images]
            rows: list[dict[str, Any]] = file.read(columns=rest).to_pylist() if rest else [{} for _ in range(file.metadata.num_rows)]
            for name in images:
                for number, place in enumerate(_places(file, path, name)):
                    rows[number][name] = place
            if rows:
                rows[0] = {**dict.fromkeys(schema.names), **rows[0]}
            return rows
    except pa.ArrowException as error:
        raise FilaError(f"{path} cannot be read as parquet ({' '.join(str(error).split())[:200]}); download it again") from error


def _places(file: Any, path: Path, column: str) -> list[Any]:
    """Where each row's image lies. Bytes are read only where the file's own counts leave open which rows have some."""
    leaves = [file.schema.column(number).path for number in range(len(file.schema))]
    own = [leaf for leaf in leaves if leaf.partition(".")[0] == column]
    names = next((leaf for leaf in own if leaf.endswith(".path")), None)
    content = next((leaf for leaf in own if leaf.endswith(".bytes")), own[0])
    places: list[Any] = []
    for group in range(file.num_row_groups):
        facts = file.metadata.row_group(group)
        counts = facts.column(leaves.index(content)).statistics
        missing = counts.null_count if counts is not None and counts.has_null_count else None
        shape = file.read_row_group(group, columns=[names])[column].to_pylist() if names else [()] * facts.num_rows
        certain = missing == sum(one is None or one == [] for one in shape) and (names or ".list." not in content)
        if not certain:
            shape = [_without_bytes(one) for one in file.read_row_group(group, columns=[column])[column].to_pylist()]
        for one in shape:
            there = one is not None and not isinstance(one, str) and not (isinstance(one, list) and len(one) != 1)
            places.append(InParquet(path, column, len(places)) if there else one)
    return places


def _without_bytes(found: Any) -> Any:
    """What a row holds: () for bytes, a list of another length than one as it is, the path of an image without bytes, None."""
    if isinstance(found, list) and len(found) != 1:
        return found
    if _bytes(found) is not None:
        return ()
    found = found[0] if isinstance(found, list) else found
    return found.get("path") if isinstance(found, dict) else None


def _bytes(found: Any) -> bytes | None:
    found = found[0] if isinstance(found, list) and len(found) == 1 else found
    content = found.get("bytes") if isinstance(found, dict) else found
    return content if isinstance(content, bytes) else None


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _holds_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_holds_bytes(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


@lru_cache(maxsize=64)
def _starts(path: Path) -> tuple[int, ...]:
    """The first row of each row group."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    return tuple(sum(counts[:group]) for group in range(len(counts)))


@lru_cache(maxsize=_GROUPS)
def _group(path: Path, column: str, group: int) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return file.read_row_group(group, columns=[column])[column]
    except pa.ArrowException as error:
        raise ImageError(f"{path} is damaged ({' '.join(str(error).split())[:200]}); download it again") from error
