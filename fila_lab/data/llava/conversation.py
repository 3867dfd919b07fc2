"""One row of LLaVA's format, decoded: who says what, and whether it can be used. The rules of LLaVA 1.5 and LLaVA-NeXT (train.py of both).

| in the row | what becomes of it |
|---|---|
| `{from, value}` or `{role, content}`; human or user, gpt or assistant | a turn |
| a first turn that is not the user's | skipped |
| `<image>` anywhere in one question, any number of times | taken out (`a <image> b` is `a  b`); the image comes before the first question |
| no image (absent or null) | a text-only row |
| anything else | set aside, with the reason |
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any, NamedTuple

from fila_lab.data.suite import SetAside

PLACEHOLDER = "<image>"
_USERS = {"human": True, "user": True, "gpt": False, "assistant": False}
"""Whether who speaks is the user."""
_REGULAR = ["human", "gpt"] * 100
_SHOWN = 60
"""Characters of a value that a message shows."""


class Conversation(NamedTuple):
    """A usable row: its id (empty where it has none), where it says it is from, its image's path, and question, answer, question, ..."""

    id: str
    source: str
    image: str | None
    texts: list[str]


class BadRow(Exception):
    """A row that cannot be used: `reason`, a short kind, and what is wrong with it."""

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason

    def aside(self, file: str, number: int, row: object) -> SetAside:
        """What is said of it. `number`: its place in the file, from 0."""
        name = row.get("id") if isinstance(row, Mapping) else None
        own = str(name).encode("utf-8", "backslashreplace").decode() if isinstance(name, str) or _is_number(name) else ""
        shown = f" (id {_short(own)})" if own else ""
        return SetAside(own or f"row {number + 1}", self.reason, f"{file}, row {number + 1}{shown}: {self}")


def read_conversation(row: Any) -> Conversation:
    """A decoded row as what it says.

    Raises:
        BadRow: it cannot be used.
    """
    if type(row) is not dict:
        raise BadRow("no row", f"it is {_kind(row)}, not an object with id, image and conversations")
    image = _image(row)
    texts = _texts(row)
    marked = 0
    for number, text in enumerate(texts):
        if PLACEHOLDER not in text:
            continue
        if number % 2:
            raise BadRow("<image> in an answer", f"answer {number // 2 + 1} holds {PLACEHOLDER}; it belongs into a question")
        texts[number] = text.replace(PLACEHOLDER, "").strip()
        marked += 1
    if marked != (image is not None):
        raise _count(image, marked)
    return Conversation(_id(row), _source(row), image, texts)


def _count(image: str | None, marked: int) -> BadRow:
    if image is None:
        return BadRow("<image> without image", f"a question holds {PLACEHOLDER}, but the row has no image; name it, or take it out")
    if not marked:
        return BadRow("image without <image>", f"it has an image, but no question holds {PLACEHOLDER}; put it into the first one")
    return BadRow("count of <image>", f"{marked} questions hold {PLACEHOLDER} for one image; leave one of them")


def _id(row: dict[str, Any]) -> str:
    name = row.get("id")
    if name is None or type(name) is str:
        return name or ""
    if _is_number(name):
        return str(name)
    raise BadRow("wrong type", f"id is {_kind(name)}; give a text or a number")


def _source(row: dict[str, Any]) -> str:
    source = row.get("data_source")
    if source is None or type(source) is str:
        return source or ""
    raise BadRow("wrong type", f"data_source is {_kind(source)}; give a text")


def _image(row: dict[str, Any]) -> str | None:
    """The image's path below its folder, as it is found there; None for a text-only row."""
    if row.get("video") is not None:
        raise BadRow("video", "it shows a video; only images are read")
    image = row.get("image")
    if type(image) is list:
        if len(image) > 1:
            raise BadRow("several images", f"it has {len(image)} images; one a row is read")
        image = image[0] if image else None
    if image is None:
        return None
    if type(image) is not str:
        raise BadRow("wrong type", f"image is {_kind(image)}; give its path")
    return image_path(image)


def image_path(image: str) -> str:
    """A path as a data file names it, without `.` and `..` in it.

    Raises:
        BadRow: it is empty, or does not stay below its folder.
    """
    if not image or "\0" in image:
        raise BadRow("image path", f"image = {_short(image)} is no path; name the file below the folder of images")
    if image.startswith("/"):
        raise BadRow("image path", f"image = {_short(image)} is an absolute path; name the file below the folder of images")
    plain = not ("/." in image or "//" in image or image[0] == "." or image[-1] == "/")
    path = image if plain else posixpath.normpath(image)
    if path == ".." or path.startswith("../"):
        raise BadRow("image path", f"image = {_short(image)} leaves the folder of images; name a file below it")
    return path


def _texts(row: dict[str, Any]) -> list[str]:
    """Question, answer, question, ...: as many of the one as of the other."""
    turns = row.get("conversations")
    if type(turns) is not list:
        if turns is None:
            raise BadRow("no conversations", f"it has no conversations; its fields are {_short(', '.join(map(str, row)) or 'none')}")
        raise BadRow("wrong type", f"conversations is {_kind(turns)}; give a list of turns")
    texts = _regular(turns) or _one_by_one(turns)
    if not texts:
        raise BadRow("no conversations", "nobody asks anything in its conversations")
    if len(texts) % 2:
        raise BadRow("no answer", "its last question has no answer")
    return texts


def _regular(turns: list[Any]) -> list[str] | None:
    """The texts where human and gpt alternate and none is empty, which is nearly always and quickly seen; else None."""
    try:
        if [turn["from"] for turn in turns] == _REGULAR[: len(turns)] and all(map(str.strip, texts := [turn["value"] for turn in turns])):
            return texts
    except (TypeError, KeyError):
        pass
    return None


def _one_by_one(turns: list[Any]) -> list[str]:
    """The texts of turns that may be anything. BadRow where one is not what it is to be."""
    texts: list[str] = []
    for number, turn in enumerate(turns):
        try:
            role, text = (turn["from"], turn["value"]) if "from" in turn else (turn["role"], turn["content"])
            users = _USERS[role]
        except (TypeError, KeyError):
            if not number and type(turn) is dict and turn.get("from", turn.get("role", "human")) not in ("human", "user"):
                continue  # a system prompt
            raise _odd_turn(number, turn) from None
        if type(text) is not str:
            raise BadRow("wrong type", f"the text of turn {number + 1} is {_kind(text)}; give a text under value (or content)")
        if not number and not users:
            continue
        if users == len(texts) % 2:
            whose, wanted = ("human", "gpt") if users else ("gpt", "human")
            raise BadRow("order of turns", f"turn {number + 1} is from {whose}, where {wanted} is to speak; they alternate")
        if not text or text.isspace():
            what = "question" if users else "answer"
            raise BadRow(f"empty {what}", f"the {what} in turn {number + 1} is empty")
        texts.append(text)
    return texts


def _odd_turn(number: int, turn: Any) -> BadRow:
    """What is wrong with a turn whose role and text are not told as they are to be."""
    if type(turn) is not dict:
        return BadRow("wrong type", f"turn {number + 1} is {_kind(turn)}; give {{from, value}}")
    role, text = ("from", "value") if "from" in turn else ("role", "content")
    if role not in turn:
        return BadRow("wrong role", f"turn {number + 1} does not say who speaks; give {{from, value}}")
    if text not in turn:
        return BadRow("wrong type", f"turn {number + 1} has no text; give it under {text}")
    return BadRow("wrong role", f"turn {number + 1} is from {_short(turn[role])}; turns are from human (user) and gpt (assistant)")


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(value: object) -> str:
    """What a JSON value is, in JSON's words."""
    if value is None:
        return "missing or null"
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number", bytes: "bytes"}
    return names.get(type(value), f"a {type(value).__name__}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
