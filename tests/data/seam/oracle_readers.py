"""What somebody can answer who sees nothing but the truth: one small rule a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fila_lab.data.seam.content import COLOURS
from fila_lab.data.seam.truth import CLASSES, ROLES


@dataclass(frozen=True)
class Seen:
    """A record in words; x, y: centre in canvas px."""

    name: str
    colour: str
    role: str
    x: float
    y: float
    width: float


def seen(records: np.ndarray) -> list[Seen]:
    """Records [G, 6] in words, in their order."""
    names = list(COLOURS)
    return [Seen(CLASSES[int(r[0])], names[int(r[1])], ROLES[int(r[5])], float(r[2]), float(r[3]), float(r[4])) for r in records]


def answer(task: str, question: str, page: Sequence[Seen]) -> str:
    """The answer that the truth of a page gives to a question."""
    words = question.rstrip("?").split()
    return {
        "reading": lambda: _by_name(page, words[0]) or _text(g for g in page if g.role == "code" and g.colour == words[0]),
        "document": lambda: _by_name(page, words[1].upper()),
        "table": lambda: _cell(page, *words[1:]),
        "chart": lambda: _only(g.name for g in page if g.role == "bar" and g.colour == words[1]),
        "counting": lambda: str(sum(g.role == "mark" and g.colour == words[1] for g in page)),
        "spatial": lambda: _relation(*(_one(page, "mark", colour) for colour in (words[0], words[2]))),
        "attribute": lambda: _one(page, "mark", words[2]).name,
        "presence": lambda: "yes" if any((g.role, g.colour, g.name) == ("object", *words) for g in page) else "no",
        "coarse": lambda: _only(f"{g.colour} {g.name}" for g in page if g.role == "panel"),
    }[task]()


def _only(found: object) -> str:
    (value,) = found  # type: ignore[misc]
    return str(value)


def _one(page: Sequence[Seen], role: str, colour: str) -> Seen:
    (found,) = (g for g in page if g.role == role and g.colour == colour)
    return found


def _text(glyphs: object) -> str:
    return "".join(g.name for g in sorted(glyphs, key=lambda g: g.x))  # type: ignore[call-overload]


def _by_name(page: Sequence[Seen], name: str) -> str:
    """The code that follows the key of this name; keys and codes alternate in the order of the records."""
    key, value = "", ""
    for glyph in (*page, None):
        if glyph is None or (glyph.role == "key" and value):
            if key == name:
                return value
            key, value = "", ""
        if glyph is not None and glyph.role == "key":
            key += glyph.name
        elif glyph is not None:
            value = value + glyph.name if key else ""
    return ""


def _cell(page: Sequence[Seen], row: str, header: str = "") -> str:
    """The digits in the line of the row's name, and under the header where there is one (columns are right-aligned)."""
    keys = [g for g in page if g.role == "key"]
    heads = [g for g in keys if header and abs(g.y - keys[0].y) < 4]
    (name,) = (g for g in keys if g.name == row and g not in heads)
    digits = [g for g in page if g.role == "code" and g.colour == name.colour and abs(g.y - name.y) < 4]
    if header:
        first = "".join(g.name for g in heads).index(header)
        ends = [g.x + g.width / 2 for g in heads]
        before = ends[first - 1] if first else name.x
        digits = [g for g in digits if before < g.x < ends[first + len(header) - 1]]
    return _text(digits)


def _relation(one: Seen, other: Seen) -> str:
    across, down = one.x - other.x, one.y - other.y
    if abs(across) > abs(down):
        return "left" if across < 0 else "right"
    return "above" if down < 0 else "below"
