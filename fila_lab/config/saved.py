"""The mark of a saved model's folder: `fila_lab.json`, which says where the model came from and names every file that is ours."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fila_lab.config.files import sync, write_atomically
from fila_lab.config.hashing import file_sha256
from fila_lab.config.json_files import read_json

SAVED = "fila_lab.json"
KIND = "fila_lab saved model"


@dataclass(frozen=True)
class SavedMark:
    """What the file says."""

    cell: str
    """Id of the cell that was saved; "" for a model of no cell."""
    version: str
    """The package's."""
    files: dict[str, str]
    """Name -> sha256."""


def holds_saved(folder: Path) -> bool:
    """Whether a folder is a saved model's: it has a configuration beside its weights, which a cell's has not."""
    return (folder / "config.json").is_file()


def read_saved(folder: Path) -> SavedMark | None:
    """The folder's mark; None where it carries none."""
    try:
        content = read_json(folder / SAVED)
        if content["kind"] != KIND:
            return None
        files = {str(name): str(digest) for name, digest in content["files"].items()}
        return SavedMark(str(content["cell"]), str(content["version"]), files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def mark_saved(folder: Path, cell: str, version: str) -> None:
    """Mark a folder that holds nothing but a saved model, its files synced. OSError where that fails."""
    names = sorted(path.name for path in folder.iterdir())
    for name in names:
        sync(folder / name)
    mark = SavedMark(cell, version, {name: file_sha256(folder / name) for name in names})
    write_atomically(folder / SAVED, (json.dumps({"kind": KIND, **asdict(mark)}, indent=1) + "\n").encode())


def changed_since(folder: Path, mark: SavedMark) -> list[str]:
    """Of the mark's files those that are no longer what was saved."""
    there = [name for name in mark.files if (folder / name).exists() or (folder / name).is_symlink()]
    return [name for name in there if (folder / name).is_symlink() or file_sha256(folder / name) != mark.files[name]]
