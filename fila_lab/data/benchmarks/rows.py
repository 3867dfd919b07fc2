"""A row of a file as a question: its text with options, accepted answers, where its image is said to be, what else is known of it."""

from __future__ import annotations

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
    return str(number) if layout.fields.id is None or found is None else str(plain(found)).strip()


def read_question(benchmark: Benchmark, layout: LayoutConfig, raw: Raw, name: str, placing: Collection[str]) -> Question:
    """A row as a question; `placing`: `placing_fields` of the layout.

    Raises:
        BadRow: it cannot be used.
    """
    if layout.fields.id is not None and (value(raw, layout.fields.id) is None or not name):
        raise BadRow("no id", f"it has no {', '.join(names(layout.fields.id))}")
    image = _image(layout, raw)
    own = value(raw, layout.fields.image_id)
    known = {column: _known(layout, column, value(raw, expression)) for column, expression in layout.known.items()}
    shown = "text" if image is None else "image"
    known = {column: shown if layout.known[column] == "_shown" else found for column, found in known.items()}
    text = _text(value(raw, layout.fields.question))
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
    image_id = name if own is None else str(plain(own))
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
    if isinstance(found, str) and not found.strip():
        found = None
    return plain(found) if isinstance(found, int | float) else found


def _options(layout: LayoutConfig, raw: Raw) -> dict[str, str]:
    """Letter -> text."""
    own = layout.fields.options
    if own is None:
        return {}
    found = value(raw, own) if isinstance(own, str) else [value(raw, name) for name in own]
    if not isinstance(found, list | tuple):
        raise BadRow("options", f"its options under {own} are {type(found).__name__}, not a list")
    texts = [" ".join(_text(one).split()) for one in found]
    while texts and texts[-1] in _NOTHING:
        texts.pop()
    if len(texts) < 2 or any(text in _NOTHING for text in texts):
        raise BadRow("options", f"its options are {texts}; there are at least two, and none is empty")
    return dict(zip(string.ascii_uppercase, texts, strict=False))


def _answers(layout: LayoutConfig, raw: Raw, options: dict[str, str]) -> tuple[str, ...]:
    found = value(raw, layout.fields.answers)
    listed = found if isinstance(found, list | tuple) else [found]
    texts = [_text(one) for one in listed if one is not None]
    if layout.answer_is == "text":
        return tuple(texts) if any(texts) else ()
    return tuple(_letter(text, layout.answer_is, options) for text in texts if text not in _NOTHING)


def _letter(text: str, kind: str, options: dict[str, str]) -> str:
    letters = "".join(options)
    if kind == "index":
        if text.lstrip("-").isdigit() and 0 <= int(text) < len(letters):
            return letters[int(text)]
        raise BadRow("bad answer", f"its answer is {text!r}, not the number of one of {len(letters)} options, from 0")
    if text.strip().upper() in options:
        return text.strip().upper()
    raise BadRow("bad answer", f"its answer is {text!r}, not one of {', '.join(letters)}")


def _before(benchmark: Benchmark, raw: Raw) -> str:
    texts = {name: _text(value(raw, name)) for name in names(benchmark.before)} if "{" in benchmark.before else {}
    if any(text in _NOTHING for text in texts.values()):
        return ""
    return (filled(texts, benchmark.before) or "") if texts else benchmark.before


def _known(layout: LayoutConfig, column: str, found: Any) -> Any:
    renamed = layout.names.get(column, {})
    given = plain(found)
    return renamed.get(str(given), given)


def _text(found: Any) -> str:
    return "" if found is None else found if isinstance(found, str) else str(plain(found))
