"""Text into what reads marks of its own: one function a reader, so that a label appears as it was written.

HTML is escaped by the templates. CSV holds texts as they are: read it back with `keep_default_na=False`, and as text in a spreadsheet.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from rich.text import Text

from fila_lab.config.texts import one_line


class Raw(str):
    """Markdown that is already what it is to be."""

    __slots__ = ()


def rich_text(text: object, style: str = "") -> Text:
    """For rich: no markup, no emoji codes, one line."""
    return Text(one_line(text), style=style)


def plot_text(text: object) -> str:
    """For matplotlib: no formula, kept in legends (which drop what begins with `_`), and the number of a character its font lacks."""
    line = "".join(c if ord(c) in _glyphs() else c.encode("unicode_escape").decode() for c in one_line(text))
    return ("\N{ZERO WIDTH SPACE}" if line.startswith("_") else "") + line.replace("$", r"\$")


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib import font_manager

    font: Any = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    return frozenset(font.get_charmap())


_MARKDOWN = re.compile(
    r"[`*~$|]"
    r"|\\(?=[!-/:-@\[-`{-~]|$)"
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word it is no emphasis
    r"|<(?=[A-Za-z/!?])"
    r"|&(?=#?\w+;)"
    r"|\](?=[(\[:])|\[(?=\^)|!(?=\[)"
    r"|:(?=[a-z0-9_+-]+:)"
)
_AT_START = re.compile(r"^(?:[#>]|[+-](?=\s|$)|[-=](?=[-=\s]*$)|\d+(?=[.)](?:\s|$))|\[(?=[ xX]\]))")


def markdown_text(text: object) -> str:
    """For Markdown (CommonMark, and what GitHub adds): no emphasis, code, link, HTML, entity, table border, formula, heading or list."""
    escaped = _MARKDOWN.sub(lambda found: "\\" + found[0], one_line(text).strip())
    return _AT_START.sub(lambda found: found[0] + "\\" if found[0].isdigit() else "\\" + found[0], escaped)


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "−": "$-$", "±": r"$\pm$", "–": "--",
}  # fmt: skip


def latex_text(text: object) -> str:
    """For LaTeX, also as the first cell of a row, where `[` and `*` would belong to the `\\\\` before it."""
    line = one_line(text)
    escaped = "".join(_LATEX.get(character, character) for character in line)
    return "{" + escaped[0] + "}" + escaped[1:] if escaped.startswith(("[", "*")) else escaped
