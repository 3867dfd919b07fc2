"""A row of a file as a question: its text with options, accepted answers, where its image is said to be, what else is known of it."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from fila_lab.config.benchmark import Benchmark, LayoutConfig
from fila_lab.data.benchmarks.expressions import Raw, filled, names, plain, value

_MARKED = re.compile(r"\(([A-Z])\)\s*(.*?)\s*(?=\([A-Z]\)|\n|$)")
_NOTHING = ("", "nan")
"""Texts that stand for no text in tables that pandas wrote."""


class BadRow(Exception):
    """A row that cannot be used: `reason`, a short kind, and what is wrong with it."""

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a benchmark. `image`: what the row says of it (a path, or where its bytes are), None without one; `places`: the
    fields that say where a path lies."""

    id: str
    image_id: str
    question: str
    answers: tuple[str, ...]
    image: Any
    known: dict[str, Any]
    places: Raw

    def renamed(self, name: str) -> Question:
        """The same under another id."""
        return replace(self, id=name, image_id=name if self.image_id == self.id else self.image_id)


def name_of(layout: LayoutConfig, raw: Raw, number: int) -> str:
    """A row's id: what the layout says, or its number in the split."""
    found = value(raw, layout.fields.id)
    if layout.fields.id is None or found is None:
        return str(number)
    return str(plain(found)).strip().encode("utf-8", "backslashreplace").decode()


def read_question(benchmark: Benchmark, layout: LayoutConfig, raw: Raw, name: str, placing: Collection[str]) -> Question:
    """A row as a question; `placing`: `placing_fields` of the layout.

    Raises:
        BadRow: it cannot be used.
    """
    if layout.fields.id is not None and not _text(value(raw, layout.fields.id), "its id").strip():
        raise BadRow("no id", f"it has no {', '.join(names(layout.fields.id))}")
    image = _image(layout, raw)
    own = value(raw, layout.fields.image_id)
    known = {column: _known(layout, column, value(raw, expression)) for column, expression in layout.known.items()}
    shown = "text" if image is None else "image"
    known = {column: shown if layout.known[column] == "_shown" else found for column, found in known.items()}
    text = _text(value(raw, layout.fields.question), "its question").strip()
    if benchmark.drop:
        text = text.replace(benchmark.drop, "").strip()
    options = _options(layout, raw)
    if layout.options_in_question:
        text, options = split_options(text)
    if not text:
        raise BadRow("empty question", "it asks nothing")
    if options:
        known["options"] = "\n".join(options.values())
    lines = [f"{_before(benchmark, raw)}{text}", *(f"{letter}. {option}" for letter, option in options.items())]
    answers = _answers(layout, raw, options)
    image_id = name if own is None else _text(own, "the name of its image")
    _check_letters([*lines, *answers, image_id, *(found for found in known.values() if isinstance(found, str))])
    places = {field: found for field in placing if (found := value(raw, field)) is not None}
    return Question(name, image_id, "\n".join(lines), answers, image, known, places)


def placing_fields(layout: LayoutConfig) -> set[str]:
    """The fields that say, beside the image's own, where a path lies."""
    return {field for template in layout.images for field in names(template)} - {"image", "image_name"} | {"_base"}


def split_options(text: str) -> tuple[str, dict[str, str]]:
    """A question that holds its options as `(A) red (B) blue`, apart from them; what stands behind the last one's line is no part of it."""
    start = text.find("(A)")
    if start < 0:
        return text, {}
    options = {found[1]: found[2] for found in _MARKED.finditer(text, start)}
    if list(options) != list(string.ascii_uppercase[: len(options)]):
        raise BadRow("options", f"its options are {', '.join(options)}; they are A, B, C and so on")
    return text[:start].rstrip(), options


def _image(layout: LayoutConfig, raw: Raw) -> Any:
    found = value(raw, layout.fields.image)
    if isinstance(found, list):
        if len(found) > 1:
            raise BadRow("several images", f"it has {len(found)} images; one a question is read")
        found = found[0] if found else None
    if isinstance(found, dict):
        found = found.get("path")
    if found is None or hasattr(found, "read"):
        return found
    return _text(found, "its image").strip() or None


def _options(layout: LayoutConfig, raw: Raw) -> dict[str, str]:
    """Letter -> text."""
    own = layout.fields.options
    if own is None:
        return {}
    found = value(raw, own) if isinstance(own, str) else [value(raw, name) for name in own]
    if not isinstance(found, list | tuple):
        raise BadRow("wrong type", f"its options are {_kind(found)}, not a list")
    texts = [" ".join(_text(one, "an option").split()) for one in found]
    while texts and texts[-1] in _NOTHING:
        texts.pop()
    if not 2 <= len(texts) <= len(string.ascii_uppercase) or any(text in _NOTHING for text in texts):
        raise BadRow("options", f"it has {len(texts)} options ({', '.join(map(repr, texts[:5]))}); they are 2 to 26, and none is empty")
    return dict(zip(string.ascii_uppercase, texts, strict=False))


def _answers(layout: LayoutConfig, raw: Raw, options: dict[str, str]) -> tuple[str, ...]:
    found = value(raw, layout.fields.answers)
    if layout.answers_listed and isinstance(found, str):
        found = _listed(found)
    listed = found if isinstance(found, list | tuple) else [found]
    texts = [_text(one, "an answer") for one in listed if one is not None]
    if layout.answer_is == "text":
        return tuple(texts) if any(texts) else ()
    return tuple(_letter(text, layout.answer_is, options) for text in texts if text not in _NOTHING)


def _listed(text: str) -> Any:
    """The answers of a Python list; any other text as it is."""
    try:
        found = ast.literal_eval(text) if text.startswith("[") else text
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return found if isinstance(found, list) and all(isinstance(one, str | int | float) for one in found) else text


def _letter(text: str, kind: str, options: dict[str, str]) -> str:
    letters = "".join(options)
    if kind == "index":
        if text.isdecimal() and 0 <= int(text) < len(letters):
            return letters[int(text)]
        raise BadRow("bad answer", f"its answer is {text!r}, not the number of one of {len(letters)} options, from 0")
    if text.strip().upper() in options:
        return text.strip().upper()
    where = f"not one of {', '.join(letters)}" if letters else "a letter of no options; name them in fields.options, or set answer_is: text"
    raise BadRow("bad answer", f"its answer is {text!r}, {where}")


def _before(benchmark: Benchmark, raw: Raw) -> str:
    texts = {name: _text(value(raw, name), f"its {name}") for name in names(benchmark.before)} if "{" in benchmark.before else {}
    if any(text in _NOTHING for text in texts.values()):
        return ""
    return (filled(texts, benchmark.before) or "") if texts else benchmark.before


def _known(layout: LayoutConfig, column: str, found: Any) -> Any:
    renamed = layout.names.get(column, {})
    given = plain(found)
    return renamed.get(str(given), given)


def _text(found: Any, what: str) -> str:
    """A text or number as a text, nothing as an empty one.

    Raises:
        BadRow: it is something else.
    """
    if found is None or found != found:  # NaN, where a table has a hole
        return ""
    if isinstance(found, str):
        return found
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise BadRow("wrong type", f"{what} is {_kind(found)}, not a text or number")
    return str(plain(found))


def _kind(found: Any) -> str:
    names = {list: "a list", dict: "an object", bool: "true or false", str: "a text", int: "a number", float: "a number"}
    return names.get(type(found), f"a {type(found).__name__}")


def _check_letters(texts: list[str]) -> None:
    """Refuse halves of surrogate pairs, which JSON can write and no other file can."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise BadRow("broken text", f"it holds {error.object[error.start]!r}, half of a character") from None
