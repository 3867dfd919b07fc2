"""What tells a result folder from every other one, wherever it lies: by it a search in a shared database is known as this folder's.

A folder that was moved stays the same, and so does one that another machine has mounted; a copy is a folder of its own.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fila_lab.config.files import write_atomically
from fila_lab.config.json_files import read_json


@dataclass(frozen=True)
class FolderMark:
    """A folder's id, and where it lay when that was last looked at."""

    id: str
    host: str
    path: str
    inode: int
    """Of the folder: it goes along when the folder is moved, and no copy has it."""

    @classmethod
    def here(cls, root: Path) -> FolderMark:
        """A new mark of the folder `root`, which is kept nowhere."""
        return cls(secrets.token_hex(8), socket.gethostname(), str(root.resolve()), root.stat().st_ino)

    @classmethod
    def of(cls, root: Path, file: Path) -> FolderMark:
        """The mark of the folder `root`, which is kept in `file` below it and made or renewed there.

        Raises:
            OSError: it cannot be written.
        """
        here, kept = cls.here(root), _read(file)
        if kept is not None and kept.is_still(here, file.relative_to(root)):
            here = dataclasses.replace(here, id=kept.id)
        if here != kept:
            write_atomically(file, (json.dumps(here.to_dict(), indent=1) + "\n").encode())
        return here

    def is_still(self, here: FolderMark, file: Path) -> bool:
        """Whether the folder that lies `here` and holds this mark in `file` is the marked one, and not a copy of it."""
        if self.host != here.host:
            return self.inode == here.inode  # a shared disk has the same inodes everywhere
        if self.path == here.path:
            return True
        former = _read(Path(self.path) / file)
        return former is None or former.id != self.id

    def owns(self, owner: Mapping[str, Any]) -> bool:
        """Whether what `owner` says (`to_dict` of a mark) is this folder, also after its file was lost."""
        return owner.get("id") == self.id or {**owner, "id": self.id} == self.to_dict()

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return dataclasses.asdict(self)


def _read(file: Path) -> FolderMark | None:
    try:
        content = read_json(file)
        return FolderMark(str(content["id"]), str(content["host"]), str(content["path"]), int(content["inode"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
