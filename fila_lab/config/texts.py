"""Names, labels and questions are the user's text: how they stand in one line of a terminal."""

from __future__ import annotations

import unicodedata


def one_line(text: object) -> str:
    """The text without line breaks (each run of white space with one becomes a space); other control characters are written `\\x1b`."""
    lines = " ".join(part.strip(" \t") for part in str(text).splitlines()) if str(text).splitlines() else ""
    return "".join(_shown(character) for character in lines)


def width(text: str) -> int:
    """Columns of a terminal that the text takes: two for East Asian wide characters and emoji, none for combining marks."""
    return sum(_columns(character) for character in text)


def _shown(character: str) -> str:
    if character == "\t":
        return " "
    return character.encode("unicode_escape").decode() if unicodedata.category(character) in ("Cc", "Cs") else character


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
