"""Rows of a JSON list or of JSON lines, one after another with where they stand, so that a file of any size is never held as a whole."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from fila_lab.config.base import FilaError
from fila_lab.config.json_files import parse_json
from fila_lab.data.llava.conversation import BadRow

CHUNK = 1 << 20
"""Bytes that are read at once."""
LONGEST = 1 << 28
"""Bytes of the longest row: a text that goes on for longer lacks its closing quote."""
_SPACE = re.compile(r"[ \t\n\r]*")
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
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
    window = _Window(path, file, at, report)
    window.next()
    window.skip()
    mark = window.next()
    if mark == "]":
        window.skip()
    while mark != "]":
        yield from window.rows()
        follows = window.next()
        if not follows:
            raise FilaError(f"{path} ends behind a comma (line {window.line()}); write or download it again")
        if follows == "]":
            raise FilaError(f"{path}, line {window.line()}: no JSON (a comma stands before the ]); remove it")
        start = window.at
        yield start, *window.value()
        mark = window.next()
        if mark not in (",", "]"):
            what = f"{mark!r} stands where a comma or ] is to be" if mark else "the file ends before its ]"
            raise FilaError(f"{path}, line {window.line()}: no JSON ({what}); mend it there, or download it again")
        window.skip()
        window.next()
    if window.next():
        raise FilaError(f"{path}, line {window.line()}: something stands behind the end of the list; remove it")


class _Window:
    """The part of a text file that is being read. `text[place:]` is still to come; `at`: where that begins in the file."""

    def __init__(self, path: Path, file: IO[bytes], at: int, report: Report) -> None:
        self.path, self.file, self.at, self.report = path, file, at, report
        self.text, self.place, self.ended = "", 0, False
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.decode = json.JSONDecoder().raw_decode

    def more(self) -> None:
        """Read on: the more, the longer what is waited for has become."""
        data = self.file.read(max(CHUNK, len(self.text) - self.place))
        self.ended = not data
        try:
            self.text = self.text[self.place :] + self.decoder.decode(data, final=self.ended)
        except UnicodeDecodeError as error:
            raise FilaError(f"{self.path} is not UTF-8 (near line {self.line(len(self.text))}); save it in UTF-8") from error
        self.place = 0
        self.report(self.file.tell())

    def rows(self) -> Iterator[Found]:
        """Rows that are there as a whole with the comma behind them, up to the first that is not."""
        text, decode, comma = self.text, self.decode, _COMMA.match
        while True:
            try:
                found, end = decode(text, self.place)
            except (ValueError, RecursionError):
                return
            behind = comma(text, end)
            if behind is None or behind.end() == len(text):
                return
            content = text[self.place : end].encode()
            start = self.at
            self.at += len(content) + behind.end() - end
            self.place = behind.end()
            yield start, content, found

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

    def value(self) -> tuple[bytes, Any]:
        """The value that begins here, its bytes first."""
        while True:
            try:
                found, end = self.decode(self.text, self.place)
                if self.ended or end < len(self.text) - _CUT or not isinstance(found, int | float):  # a number may go on
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
