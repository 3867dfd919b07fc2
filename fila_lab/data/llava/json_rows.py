"""Rows of a JSON list or of JSON lines, one after another with where they stand, so that a file of any size is never held as a whole."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO, Any

from fila_lab.config.base import FilaError
from fila_lab.config.json_files import parse_json
from fila_lab.data.llava.conversation import BadRow

CHUNK = 1 << 22
"""Bytes that are read at once."""
LONGEST = 1 << 28
"""Bytes of the longest row: a text that goes on for longer lacks its closing quote."""
_STEP = 1 << 16
"""Bytes that are read at once where rows are read one by one."""
_ONE_BY_ONE = 256
"""Rows that are read one by one where the next one was not where it seemed to begin."""
_SPACE = re.compile(r"[ \t\n\r]*")
_NEXT = re.compile(rb'\}[ \t\n\r]*,[ \t\n\r]*(?=\{[ \t\n\r]*"(?!from"|value"|role"|content"))')
"""Where a row seems to end and another to begin. A text may look so too, so what lies before it must be a whole row."""
_BOM = codecs.BOM_UTF8
_CUT = 16
"""A mistake so near to the end of what has been read may be the end itself, in the middle of a word or an escape."""

Report = Callable[[int], None]
"""Called with the bytes that have been read."""
Found = tuple[int, bytes, Any]
"""A row's first byte in the file, its bytes, and what they say: a BadRow where that is no JSON."""


def json_rows(path: Path, report: Report = lambda _: None) -> Iterator[Found]:
    """The rows of a file that is a list, or lines of JSON: whichever its first character says.

    Raises:
        FilaError: it is neither, or its JSON is damaged; with the line.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = len(_BOM) if file.read(len(_BOM)) == _BOM else 0
        file.seek(start)
        first = b" "
        while first and first.isspace():
            first = file.read(1)
        file.seek(start)
        if first == b"[":
            yield from _list(path, file, start, report)
        elif first == b"{":
            yield from _lines(file, start, report)
        elif not first:
            raise FilaError(f"{path} is empty; give a file with rows")
        else:
            raise FilaError(f"{path} is neither a JSON list nor lines of JSON (it begins with {first!r}); give LLaVA's format, in UTF-8")


def json_row(content: bytes) -> Any:
    """A row's bytes as what they say; a BadRow where that is no JSON."""
    try:
        return parse_json(content.decode())
    except UnicodeDecodeError:
        return BadRow("no JSON", "it is not UTF-8")
    except ValueError as error:
        return BadRow("no JSON", f"it is no JSON ({error})")


def _lines(file: IO[bytes], at: int, report: Report) -> Iterator[Found]:
    said = at
    for line in file:
        if content := line.strip():
            yield at + line.index(content), content, json_row(content)
        at += len(line)
        if at - said >= CHUNK:
            report(said := at)
    report(at)


def _list(path: Path, file: IO[bytes], at: int, report: Report) -> Iterator[Found]:
    """In long strides where rows are whole between what seem their borders, and one by one elsewhere: JSON has no other way to be read."""
    window = _Window(path, file, at)
    window.next()
    window.skip()
    if window.next() == "]":
        window.skip()
    else:
        while True:
            at, whole = yield from _stride(file, window.at)
            report(at)
            window = _Window(path, file, at)
            if not (yield from _one_by_one(window, 1 if whole else _ONE_BY_ONE)):
                break
    if window.next():
        raise FilaError(f"{path}, line {window.line()}: something stands behind the end of the list; remove it")


def _stride(file: IO[bytes], at: int) -> Generator[Found, None, tuple[int, bool]]:
    """The rows of a chunk from a row's first byte on. Returns where the next row begins, and whether it was the chunk that ended."""
    file.seek(at)
    data, place, decode = file.read(CHUNK), 0, json.JSONDecoder().raw_decode
    for border in _NEXT.finditer(data):
        content = data[place : border.start() + 1]
        try:
            text = content.decode()
            row, end = decode(text, 0)
        except (ValueError, RecursionError):
            return at + place, False
        if end != len(text):
            return at + place, False
        yield at + place, content, row
        place = border.end()
    return at + place, True


def _one_by_one(window: _Window, count: int) -> Generator[Found, None, bool]:
    """So many rows from a row's first byte on. Returns whether another one follows."""
    decode = json.JSONDecoder().raw_decode
    for _ in range(count):
        start = window.at
        yield start, *window.value(decode)
        mark = window.next()
        if mark not in (",", "]"):
            what = f"{mark!r} stands where a comma or ] is to be" if mark else "the file ends before its ]"
            raise FilaError(f"{window.path}, line {window.line()}: no JSON ({what}); mend it there, or download it again")
        window.skip()
        if mark == "]":
            return False
        follows = window.next()
        if not follows:
            raise FilaError(f"{window.path} ends behind a comma (line {window.line()}); write or download it again")
        if follows == "]":
            raise FilaError(f"{window.path}, line {window.line()}: no JSON (a comma stands before the ]); remove it")
    return True


class _Window:
    """The part of a text file that is being read. `text[place:]` is still to come; `at`: where that begins in the file."""

    def __init__(self, path: Path, file: IO[bytes], at: int) -> None:
        self.path, self.file, self.at = path, file, at
        self.text, self.place, self.ended = "", 0, False
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        file.seek(at)

    def more(self) -> None:
        """Read on: the more, the longer what is waited for has become."""
        data = self.file.read(max(_STEP, len(self.text) - self.place))
        self.ended = not data
        try:
            self.text = self.text[self.place :] + self.decoder.decode(data, final=self.ended)
        except UnicodeDecodeError as error:
            raise FilaError(f"{self.path} is not UTF-8 (near line {self.line(len(self.text))}); save it in UTF-8") from error
        self.place = 0

    def skip(self) -> None:
        """Go on behind a character that is ASCII."""
        self.at += 1
        self.place += 1

    def next(self) -> str:
        """The next character that is no space; empty at the end of the file."""
        while True:
            end = _SPACE.match(self.text, self.place).end()  # type: ignore[union-attr]
            self.at += end - self.place
            self.place = end
            if end < len(self.text):
                return self.text[end]
            if self.ended:
                return ""
            self.more()

    def value(self, decode: Callable[[str, int], tuple[Any, int]]) -> tuple[bytes, Any]:
        """The value that begins here, its bytes first."""
        while True:
            try:
                found, end = decode(self.text, self.place)
                if self.ended or end < len(self.text) or not isinstance(found, int | float):  # a number may go on
                    content = self.text[self.place : end].encode()
                    self.place = end
                    self.at += len(content)
                    return content, found
            except json.JSONDecodeError as error:
                unfinished = error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - _CUT
                if self.ended and unfinished:
                    raise FilaError(f"{self.path} ends in the middle of a row (line {self.line()}); write or download it again") from None
                if not unfinished or len(self.text) - self.place > LONGEST:
                    raise FilaError(f"{self.path}, line {self.line(error.pos)}: no JSON ({error.msg}); mend it there") from None
            except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists in lists in lists
                raise FilaError(f"{self.path}, line {self.line()}: a row that cannot be read ({error}); mend or remove it") from None
            self.more()

    def line(self, place: int = 0) -> int:
        """The line of a place in the text, or of what is being read, from 1."""
        whole, left = 1, self.at
        with self.path.open("rb") as file:
            while left and (data := file.read(min(CHUNK, left))):
                whole += data.count(b"\n")
                left -= len(data)
        return whole + self.text.count("\n", self.place, max(place, self.place))
