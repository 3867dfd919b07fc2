"""The mark of published results: `MANIFEST.json`, which names their study and every file that is ours, with its size and sha256."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from fila_lab.config.files import write_atomically
from fila_lab.config.hashing import file_sha256
from fila_lab.config.json_files import read_json
from fila_lab.config.schemas import PUBLISHED, refuse_newer

MANIFEST = "MANIFEST.json"
KIND = "fila_lab published results"
MADE = ("report", "report.md", "figures", "gallery")
"""Names that begin what is made from the rest, at any time anew."""


@dataclass(frozen=True)
class Mark:
    """What a manifest says."""

    study: str
    budget: str
    files: dict[str, str]
    """POSIX path below the folder -> sha256."""
    schema: int = PUBLISHED


def read_mark(folder: Path) -> Mark | None:
    """The folder's mark, if it carries one.

    Raises:
        FilaError: a newer version wrote it.
    """
    path = folder / MANIFEST
    try:
        content = read_json(path)
        if content["kind"] != KIND:
            return None
        schema = content.get("schema", 1)
        refuse_newer(path, schema, PUBLISHED)
        files = {str(name): str(digest) for name, digest in content["files"].items()}
        return Mark(str(content["study"]), str(content["budget"]), files, int(schema))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def altered(folder: Path) -> list[str]:
    """Files below a published folder that are gone or not as they were published; what is made of them at any time, apart."""
    mark = read_mark(folder)
    files = {} if mark is None else {name: digest for name, digest in mark.files.items() if name.split("/")[0] not in MADE}
    return [name for name, digest in sorted(files.items()) if not _is(folder / name, digest)]


def _is(path: Path, digest: str) -> bool:
    try:
        return file_sha256(path) == digest
    except (OSError, ValueError):
        return False


def write_mark(folder: Path, mark: Mark) -> None:
    """Write or replace the folder's mark; the sizes of its files beside them, for a reader to see what a copy takes."""
    files = dict(sorted(mark.files.items()))
    sizes = {name: (folder / name).stat().st_size for name in files if (folder / name).is_file()}
    content = {"kind": KIND, "schema": mark.schema, "study": mark.study, "budget": mark.budget, "files": files, "bytes": sizes}
    write_atomically(folder / MANIFEST, (json.dumps(content, indent=1) + "\n").encode())


def renew_mark(folder: Path, written: Iterable[Path]) -> None:
    """Take files that a verb has just written below a published folder into its mark; nothing where it carries none."""
    mark = read_mark(folder)
    if mark is not None:
        fresh = {path.relative_to(folder).as_posix(): file_sha256(path) for path in written}
        write_mark(folder, replace(mark, files=mark.files | fresh))
