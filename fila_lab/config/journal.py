"""The curve of a cell while it runs: a line a measurement, in the cell's work folder, with the time when it was made.

The folder is the one channel that every engine has, a cluster's nodes included; what stands there outlasts a killed driver too. It is
an extra: a disk that takes no more lines costs the view of a running cell, never the cell.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fila_lab.config.files import write_atomically
from fila_lab.config.json_files import parse_json

JOURNAL = "curve.jsonl"


class Journal:
    """Writes the journal of one cell. An entry has `step`, `time` (seconds since 1970), and what was measured there."""

    def __init__(self, workdir: Path) -> None:
        self.path = workdir / JOURNAL

    def begin(self, entries: Sequence[Mapping[str, Any]] = ()) -> None:
        """Put what counts so far in the place of what an earlier try left."""
        with suppress(OSError):
            write_atomically(self.path, b"".join(_line(entry) for entry in entries), durable=False)

    def add(self, entry: Mapping[str, Any]) -> None:
        """One more entry."""
        with suppress(OSError), self.path.open("ab") as file:
            file.write(_line(entry))


def _line(entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(dict(entry)) + "\n").encode()


@dataclass
class JournalReader:
    """Reads the journal of one cell from where it last ended."""

    path: Path
    place: int = 0
    """Bytes that have been read."""
    file: int = 0
    """The inode they were read from: `Journal.begin` puts a new file there."""

    def new(self) -> list[dict[str, Any]]:
        """Entries since the last call, and all again where the journal was begun anew; a line that is still being written waits."""
        try:
            with self.path.open("rb") as file:
                if (inode := os.fstat(file.fileno()).st_ino) != self.file:
                    self.file, self.place = inode, 0
                file.seek(self.place)
                content = file.read()
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self.place += len(whole)
        found = []
        for line in whole.splitlines():
            with suppress(ValueError):
                entry = parse_json(line)
                if isinstance(entry, dict) and isinstance(entry.get("step"), int) and isinstance(entry.get("time"), int | float):
                    found.append(entry)
        return found
