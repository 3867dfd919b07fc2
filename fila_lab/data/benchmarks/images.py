"""Where an image's bytes lie, and how they are got: a file, or base64 in a table or a row. They pickle as places, not as bytes."""

from __future__ import annotations

import base64
import binascii
import csv
import os
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from PIL import Image

from fila_lab.config.base import FilaError
from fila_lab.data.image_files import check_content, content_digest, listed_content
from fila_lab.data.suite import ImageFile, UnusableRow
from fila_lab.imaging import ImageError, image_from_bytes, image_size

_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{80,}={0,2}\s*")


class Content(Protocol):
    """An image's bytes, somewhere. Equal where they are the same image."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def read(self) -> bytes:
        """The bytes, as of an image file. ImageError where there are none."""


@dataclass(frozen=True)
class InFile:
    """A file of its own. digest: of its content when it was listed, where that was looked at."""

    path: Path
    digest: bytes | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return f"image {str(self.path)!r}"

    def state(self) -> str:
        """A hash of what it holds, as it was listed; empty where it cannot be read."""
        try:
            return (self.digest or content_digest(self.path.read_bytes())).hex()
        except OSError:
            return ""

    def read(self) -> bytes:
        """As in the protocol.

        Raises:
            MachineError: it was looked at, and is gone or another one.
        """
        if self.digest is not None:
            content = listed_content(self.path)
            check_content(content, str(self.path), self.digest)
            return content
        try:
            return self.path.read_bytes()
        except FileNotFoundError as error:
            raise ImageError(f"{self.name} does not exist; check the path", "missing image") from error
        except (PermissionError, IsADirectoryError, ValueError) as error:
            raise ImageError(f"{self.name} cannot be read ({getattr(error, 'strerror', error)}); check the path") from error


@dataclass(frozen=True)
class InTable:
    """Base64 in a column of a record of a text table: its first byte and length there."""

    path: Path
    start: int
    size: int
    column: int
    delimiter: str

    @property
    def name(self) -> str:
        return f"image in {self.path.name!r} (byte {self.start})"

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.start)
            text = file.read(self.size).decode("utf-8", "replace")
        record = next(csv.reader([text], delimiter=self.delimiter), [])
        return decoded(record[self.column] if self.column < len(record) else "", self.name)


@dataclass(frozen=True)
class InRow:
    """Base64 that was read with its row."""

    text: str
    row: str

    @property
    def name(self) -> str:
        return f"image of {self.row!r}"

    def read(self) -> bytes:
        return decoded(self.text, self.name)


def is_base64(text: str) -> bool:
    """Whether a text is an image's bytes rather than its path: long, and without a dot."""
    return text.startswith("data:image/") or _BASE64.fullmatch(text) is not None


def decoded(text: str, name: str) -> bytes:
    """The bytes that base64 stands for. ImageError where it is none."""
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"{name} is no base64 ({error}); write the table again") from error


def size_of(content: Content, row: str) -> tuple[int, int]:
    """(width, height) in px of an image as it will be shown, from its header. UnusableRow where that cannot be read."""
    try:
        return image_size(content.read(), content.name)
    except ImageError as error:
        raise UnusableRow(row, error.kind, f"{row}: {error}") from error


def image_file(content: Content, row: str) -> ImageFile:
    """The image as an item carries it."""
    return ImageFile(content.name, partial(_shown, content, row))


def _shown(content: Content, row: str) -> Image.Image:
    try:
        return image_from_bytes(content.read(), content.name)
    except ImageError as error:
        raise UnusableRow(row, error.kind, f"{row}: {error}") from error


class PathError(FilaError):
    """An image path that does not stay below its folder."""


def below(root: Path, name: str) -> Path:
    """Where a path that a data file names lies, below its folder.

    Raises:
        PathError: it is empty, or leaves the folder.
    """
    if not name.strip("/. ") or "\0" in name:
        raise PathError(f"image = {name[:60]!r} is no path; name a file below the folder of images")
    top = os.path.abspath(root)
    path = os.path.normpath(os.path.join(top, name))
    if os.path.commonpath([top, path]) != top or path == top:
        what = "is an absolute path" if name.startswith("/") else "leaves the folder"
        raise PathError(f"image = {name[:60]!r} {what}; name a file below the folder of images, {root}")
    return Path(path)
