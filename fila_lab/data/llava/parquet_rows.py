"""Rows of parquet files: written out once as lines of JSON and a file of image bytes, for a row inside a parquet file cannot be read alone.

Columns as Hugging Face's datasets write them: conversations (list of {from, value} or {role, content}), and id, data_source, image, where
image is a path, bytes, or {bytes, path}.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from fila_lab.config.base import FilaError
from fila_lab.config.json_files import parse_json
from fila_lab.data.llava.json_rows import Found

COLUMNS = ("id", "conversations", "image", "data_source", "video")
BATCH = 32
"""Rows that are held at once, images included."""


def parquet_rows(path: Path, lines: IO[bytes], store: Callable[[bytes], str], report: Callable[[int], None]) -> Iterator[Found]:
    """The rows of a parquet file, each written to `lines` too: its place and length there, and what it says.

    Args:
        path: the file.
        lines: where rows are written, as JSON without image bytes.
        store: keeps an image's bytes and says by which name the row refers to it.
        report: called with the rows that have been read.

    Raises:
        FilaError: it is no parquet file, is damaged, or has no conversations.
        OSError: it cannot be read, or `lines` not be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if "conversations" not in names:
                raise FilaError(f"{path} has no column conversations (it has {', '.join(names)}); give LLaVA's format")
            done = 0
            for batch in file.iter_batches(BATCH, columns=[name for name in COLUMNS if name in names]):
                for row in batch.to_pylist():
                    if "image" in row:
                        row["image"] = _image(row["image"], store)
                    line = json.dumps({name: value for name, value in row.items() if value is not None}, default=_plain).encode()
                    at = lines.tell()
                    lines.write(line + b"\n")
                    yield at, line, parse_json(line)
                done += batch.num_rows
                report(done)
    except (pa.ArrowException, UnicodeError) as error:
        said = " ".join(str(error).split())
        raise FilaError(f"{path} cannot be read as parquet ({said[:200]}); write or download it again") from error


def _image(image: Any, store: Callable[[bytes], str]) -> Any:
    if isinstance(image, list):
        return [_image(one, store) for one in image]
    content, name = (image.get("bytes"), image.get("path")) if isinstance(image, dict) else (image, None)
    if isinstance(content, bytes):
        return store(content)
    return image if not isinstance(image, dict) else name


def _plain(value: Any) -> dict[str, str]:
    """What JSON has no word for: of a type that no field may have."""
    return {"type": type(value).__name__}


def stored_name(content: bytes) -> str:
    """How a row refers to image bytes that lie in the cache: by their hash."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
