"""Image files that were looked at: where they lie, how large they are, what is wrong with some, and reading them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fila_lab.config.base import MachineError
from fila_lab.config.faults import remedy
from fila_lab.data.suite import UnusableRow
from fila_lab.imaging import ImageError, image_from_bytes, image_size

FACTS = np.dtype(
    [("root", "i4"), ("bytes", "i8"), ("mtime", "i8"), ("ctime", "i8"), ("width", "i4"), ("height", "i4"), ("digest", "u1", 16)]
)
"""Of an image: which folder holds it (-1: none), the state of its file, size in px (0: it cannot be read), and a hash of its content."""


@dataclass(frozen=True)
class Problem:
    """Why an image cannot be shown: a short kind, and the whole sentence."""

    reason: str
    message: str


class ImageFiles:
    """Images by number, in the order of `names`. Pickles as paths and numbers.

    names: paths below the folders; facts: `FACTS` [N]; problems: number of an image that cannot be shown -> why.
    """

    def __init__(self, roots: Sequence[Path], names: Sequence[str], facts: np.ndarray, problems: dict[int, Problem]) -> None:
        self.roots, self.names, self.facts, self.problems = tuple(roots), names, facts, problems

    def __len__(self) -> int:
        return len(self.names)

    def path(self, number: int) -> Path:
        """Where an image lies (its first folder, where none holds it)."""
        return self.roots[max(0, int(self.facts["root"][number]))] / self.names[number]

    def read(self, number: int) -> Image.Image:
        """An image as upright RGB.

        Raises:
            UnusableRow: its pixels are damaged.
            MachineError: it is not there any more, or has other content than when it was listed.
        """
        path = self.path(number)
        return decoded(listed_content(path), str(path), self.facts["digest"][number])


def listed_content(path: Path) -> bytes:
    """A file's content. MachineError where it cannot be read any more."""
    try:
        return path.read_bytes()
    except OSError as error:
        said = f"{path} was there when its data set was opened, and cannot be read now ({error.strerror})"
        raise MachineError(f"{said}; {remedy(error.errno)}, then give the same command again", "image gone") from error


def check_content(content: bytes, name: str, digest: bytes) -> None:
    """MachineError where it is other content than was listed."""
    if content_digest(content) != digest:
        raise MachineError(f"{name} is another image than when its data set was opened; give the same command again", "image changed")


def decoded(content: bytes, name: str, digest: np.ndarray) -> Image.Image:
    """The image that a listed file's content is.

    Raises:
        UnusableRow: its pixels are damaged.
        MachineError: it is other content than was listed.
    """
    check_content(content, name, digest.tobytes())
    try:
        return image_from_bytes(content, f"image {name!r}")
    except ImageError as error:
        raise UnusableRow(name, error.kind, str(error)) from error


def content_digest(content: bytes) -> bytes:
    """16 bytes that say which content a file has."""
    return hashlib.sha256(content).digest()[:16]


def look_at_content(content: bytes, name: str, problem: Problem | None = None) -> tuple[tuple[int, int], bytes, Problem | None]:
    """(size in px, hash, what is wrong) of an image file's content; a size of 0 x 0 where something is."""
    digest = content_digest(content)
    if problem is None:
        try:
            return image_size(content, name), digest, None
        except ImageError as error:
            problem = Problem(error.kind, str(error))
    return (0, 0), digest, problem
