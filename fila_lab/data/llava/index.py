"""Where the rows of a file are and what they say in numbers: found once, kept in the cache, so that opening the file again takes no time.

The cache's folder is named by the file's path and by its state (size and times): a file that was touched is listed anew. Every row that is
read later is held against the hash it had when it was listed.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import os
import struct
import time
import zlib
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fila_lab.config.base import FilaError, MachineError
from fila_lab.config.faults import cannot_write, is_unmistakable, remedy
from fila_lab.data.image_files import FACTS, Problem, content_digest, decoded, look_at_content
from fila_lab.data.llava.conversation import BadRow, Conversation, read_conversation
from fila_lab.data.llava.json_rows import Found, json_row, json_rows
from fila_lab.data.llava.parquet_rows import parquet_rows, stored_name
from fila_lab.data.parallel import Progress
from fila_lab.data.sealed import digests, discard, look, opened, seal
from fila_lab.data.suite import SetAside

MARK = "rows.json"
ROWS = np.dtype(
    [
        ("start", "<i8"), ("bytes", "<i4"), ("number", "<i4"), ("image", "<i4"), ("source", "<i4"), ("turns", "<i4"), ("id", "<u8"),
        ("digest", "u1", 16),
    ]
)  # fmt: skip
"""Of a usable row: its place in the file, its number there, its image (-1: none) and source by number, how many questions it asks, and
hashes of its id and of all its bytes."""
_PACK = struct.Struct("<qiiiiiQ16s")
_PARQUET = b"PAR1"
_TICK = 0.05


class Index:
    """The rows of one file. Pickles as paths: another process opens the cache itself.

    rows: `ROWS` of those that can be used, in the file's order; refused: numbers of the others; total: how many rows the file has;
    images: paths of the images, or, where the cache holds them itself (`stored` [M, 2] of start and bytes, -1 where it does not), hashes of
    their content.
    """

    def __init__(self, path: Path, folder: Path, contents: bool) -> None:
        self.path, self.folder = path, folder
        card = look(folder, MARK, contents)
        for name, size in card["unsealed"].items():
            if (folder / name).stat().st_size != size:
                raise ValueError(f"{name} has another size than was written")
        self.total: int = card["total"]
        self.sources: list[str] = card["sources"]
        self.rows: np.ndarray = np.load(folder / "rows.npy", mmap_mode="r")
        self.facts: np.ndarray = np.load(folder / "facts.npy")
        self.stored: np.ndarray = np.load(folder / "stored.npy")
        names = (folder / "images.txt").read_bytes()
        self.images: list[str] = names.decode().split("\0") if len(self.facts) else []
        self.problems = {int(n): Problem(*problem) for n, problem in card["problems"].items()}
        self.refused: np.ndarray = np.load(folder / "refused.npy")
        self._asides = (folder / "aside.jsonl").read_bytes().splitlines()
        self._lines = folder / "rows.jsonl" if card["parquet"] else path
        self._open: dict[Path, BinaryIO] = {}

    def __reduce__(self) -> Any:
        return Index, (self.path, self.folder, False)

    def __len__(self) -> int:
        return len(self.rows)

    def aside(self, place: int) -> SetAside:
        """What is said of a row that cannot be used."""
        return SetAside(*json.loads(self._asides[place]))

    def conversation(self, place: int) -> Conversation:
        """What a row says.

        Raises:
            MachineError: the file has changed since it was listed, or cannot be read any more.
        """
        row = self.rows[place]
        content = self._read(self._lines, int(row["start"]), int(row["bytes"]))
        if content_digest(content) != row["digest"].tobytes():
            raise MachineError(f"{self.path} has changed since it was opened; give the same command again", "data changed")
        return read_conversation(json_row(content))

    def stored_image(self, number: int) -> Any:
        """An image that the cache holds, as upright RGB. UnusableRow where its pixels are damaged."""
        content = self._read(self.folder / "images.bin", *self.stored[number].tolist())
        return decoded(content, f"image {self.images[number]} of {self.path}", self.facts["digest"][number])

    def _read(self, path: Path, start: int, size: int) -> bytes:
        try:
            if path not in self._open:
                self._open[path] = path.open("rb")
            return os.pread(self._open[path].fileno(), size, start)
        except OSError as error:
            said = f"{path} was there when it was opened, and cannot be read now ({error.strerror})"
            raise MachineError(f"{said}; {remedy(error.errno)}, then give the same command again", "data gone") from error


def open_index(path: Path, cache_dir: Path, progress: Progress | None = None) -> Index:
    """The index of a JSON list, JSON lines, or a parquet file, made if it is not there.

    Raises:
        FilaError: there is no such file, or it is of another kind, or damaged.
        MachineError: the cache cannot be written.
    """
    path = Path(os.path.abspath(path))
    state = _state(path)
    name = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    key = hashlib.sha256(repr((state, _code())).encode()).hexdigest()[:16]
    final = Path(cache_dir) / "llava" / f"{name}-{key}"
    fault: list[FilaError] = []

    def make(folder: Path) -> None:
        try:
            _list(path, folder, progress)
        except OSError as error:
            if error.filename is not None and Path(error.filename) == path and not is_unmistakable(error):
                fault.append(FilaError(f"{path} cannot be read ({error.strerror}); mend its permissions"))
                raise fault[0] from error
            raise
        for old in final.parent.glob(f"{name}-*"):
            if old != final and "." not in old.name:  # of the file as it was
                discard(old)

    try:
        return opened(final, f"what is known of {path}", lambda folder: Index(path, folder, True), make, lambda: None)
    except OSError as error:
        raise cannot_write(error, f"cache_dir={cache_dir}: what is known of {path}", "choose another cache folder") from error


@cache
def _code() -> str:
    """A hash of the code that the contents of an index depend on."""
    here = Path(__file__).parent
    sources = [here / f"{name}.py" for name in ("conversation", "index", "json_rows", "parquet_rows")]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def _state(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        if is_unmistakable(error):
            raise MachineError(f"{path} cannot be read ({error.strerror}); {remedy(error.errno)}", error.strerror or "") from error
        raise FilaError(f"{path} does not exist; check the path" if isinstance(error, FileNotFoundError) else f"{error}") from error
    if not path.is_file():
        raise FilaError(f"{path} is no file; give a JSON, JSON lines or parquet file")
    if time.time_ns() - found.st_ctime_ns < _TICK * 1e9:
        time.sleep(_TICK)  # so that whatever is written to it from now on changes its times
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _list(path: Path, folder: Path, progress: Progress | None) -> None:
    """Write the index of a file into a folder, and seal it."""
    listing = _Listing(path, folder)
    size = path.stat().st_size
    what = f"listing {path.name}"
    with path.open("rb") as file:
        parquet = file.read(len(_PARQUET)) == _PARQUET
    with (folder / "images.bin").open("wb") as images, (folder / "rows.jsonl").open("wb") as lines:
        listing.images_file = images
        if parquet:
            import pyarrow.parquet as pq

            count = pq.read_metadata(path).num_rows
            found = parquet_rows(path, lines, listing.store, lambda rows: progress(what, rows, count) if progress else None)
        else:
            found = json_rows(path, lambda read: progress(what, read, size) if progress else None)
        for number, row in enumerate(found):
            listing.add(number, row)
    if progress:
        total = listing.total if parquet else size
        progress(what, total, total)
    listing.write(parquet)


class _Listing:
    """What becomes an index."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder, self.total = path, folder, 0
        self.rows = bytearray()
        self.images: dict[str, int] = {}
        self.sources: dict[str, int] = {}
        self.asides: list[bytes] = []
        self.refused: list[int] = []
        self.held: dict[str, tuple[int, int, tuple[tuple[int, int], bytes, Problem | None]]] = {}
        self.images_file: BinaryIO

    def add(self, number: int, found: Found) -> None:
        start, content, row = found
        self.total = number + 1
        try:
            if isinstance(row, BadRow):
                raise row
            said = read_conversation(row)
            _check_unicode(said)
        except BadRow as bad:
            aside = bad.aside(self.path.name, number, row)
            self.asides.append(json.dumps([aside.row, aside.reason, aside.message]).encode())
            self.refused.append(number)
            return
        image = -1 if said.image is None else self.images.setdefault(said.image, len(self.images))
        source = self.sources.setdefault(said.source, len(self.sources))
        # Ids that differ and have one hash would get numbers behind them that they do not need, and nothing else.
        name = (said.id or f"\0{number}").encode()
        ident = zlib.crc32(name) << 16 | binascii.crc_hqx(name, 0)
        self.rows += _PACK.pack(start, len(content), number, image, source, len(said.texts) // 2, ident, content_digest(content))

    def store(self, content: bytes) -> str:
        """Keep an image's bytes in the cache, once; its name."""
        name = stored_name(content)
        if name not in self.held:
            self.held[name] = (self.images_file.tell(), len(content), look_at_content(content, f"image {name} of {self.path}"))
            self.images_file.write(content)
        return name

    def write(self, parquet: bool) -> None:
        rows = np.frombuffer(self.rows, ROWS)
        facts, stored = np.zeros(len(self.images), FACTS), np.full((len(self.images), 2), -1, np.int64)
        problems = {}
        for name, number in self.images.items():
            if name not in self.held:
                continue
            at, size, (shape, digest, problem) = self.held[name]
            stored[number] = at, size
            facts["width"][number], facts["height"][number] = shape
            facts["digest"][number] = np.frombuffer(digest, np.uint8)
            if problem is not None:
                problems[number] = [problem.reason, problem.message]
        np.save(self.folder / "rows.npy", rows)
        np.save(self.folder / "refused.npy", np.array(self.refused, np.int64))
        np.save(self.folder / "facts.npy", facts)
        np.save(self.folder / "stored.npy", stored)
        (self.folder / "images.txt").write_bytes("\0".join(self.images).encode())
        (self.folder / "aside.jsonl").write_bytes(b"".join(line + b"\n" for line in self.asides))
        # What is read row by row is held against the row's own hash: to hash all of it at every opening would take minutes.
        unsealed = {name: (self.folder / name).stat().st_size for name in ("images.bin", "rows.jsonl")}
        files = digests(self.folder, unhashed=unsealed)
        card = {"total": self.total, "sources": list(self.sources), "problems": problems, "parquet": parquet, "unsealed": unsealed}
        seal(self.folder, MARK, card, files)


def _check_unicode(said: Conversation) -> None:
    text = "".join([said.id, said.source, said.image or "", *said.texts])
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRow("no Unicode", "a text holds half a character (a lone surrogate); write the character out") from None
