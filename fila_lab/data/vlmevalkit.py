"""A suite's questions as a table that VLMEvalKit reads: one row a question, its image in it as base64.

VLMEvalKit takes a table it does not know for multiple choice where it has columns A and B, and else for questions to be answered in words;
an image that several rows show stands in the first of them, whose index stands in the others.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import string
from pathlib import Path
from typing import Any

from PIL import Image

from fila_lab.config.base import ConfigError
from fila_lab.config.files import becoming
from fila_lab.data.parallel import Progress
from fila_lab.data.suite import Item, Suite, UnusableRow

_OWN = ("index", "id", "image", "question", "answer", "category")
_LETTERS = string.ascii_uppercase


def write_table(suite: Suite, split: str, out: Path, limit: int | None = None, progress: Progress | None = None) -> tuple[int, int]:
    """Write the questions of a split, the first `limit` headings of it; returns how many, and how many could not be used. `category` is the
    task; what else is known of an item stands in columns of its own, under its own name.

    Raises:
        ConfigError: a suite with conversations or texts without images, which such a table does not hold; no question that can be used;
            or a file that is there already or cannot be written.
        FilaError: the suite has no such split.
    """
    if out.exists() or out.is_symlink():
        raise ConfigError(f"--out = {out} is there already, and is not written over; give another name")
    count = min(suite.length(split), limit or suite.length(split))
    rows: list[dict[str, Any]] = []
    first: dict[bytes, int] = {}
    unusable = 0
    for index in range(count):
        for item in suite.items(split, index):
            try:
                rows.append(_row(item, suite.tasks()[item.task].ending, len(rows), first))
            except UnusableRow:
                unusable += 1
        if progress:
            progress(f"{split} items", index + 1, count)
    if not rows:
        raise ConfigError(f"none of the {unusable} questions can be used; `fila-lab data check` looks at them")
    options = sorted({letter for row in rows for letter in row if letter in _LETTERS})
    known = list(dict.fromkeys(name for row in rows for name in row if name not in (*_OWN, *options)))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with becoming(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, [*_OWN[:4], *options, *_OWN[4:], *known], restval="", delimiter="\t", lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
    except OSError as error:
        raise ConfigError(f"--out = {out} cannot be written ({error.strerror or error}); give another name") from error
    return len(rows), unusable


def _row(item: Item, ending: str, index: int, first: dict[bytes, int]) -> dict[str, Any]:
    """A question's row. UnusableRow where its image cannot be read.

    Raises:
        ConfigError: it is no single question about an image.
    """
    name = f"{item.item_id}-{item.place}" if item.place else item.item_id
    if len(item.turns) != 1 or item.image is None:
        what = "no image" if item.image is None else f"{len(item.turns)} questions"
        raise ConfigError(f"item {name} has {what}, and a row of such a table is one question about an image; choose another suite")
    (turn,) = item.turns
    question, options = _without_options(turn.question, str(item.known.get("options") or ""))
    page = _png(item)
    shown = first.setdefault(hashlib.sha256(page).digest(), index)
    image = base64.b64encode(page).decode() if shown == index else str(shown)
    answer = turn.answers[0] if len(turn.answers) == 1 else repr(list(turn.answers)) if turn.answers else ""
    own = {"index": index, "id": name, "image": image, "question": question if options else question + ending, "answer": answer}
    known = {key: "" if value is None else value for key, value in item.known.items() if key not in (*_OWN, *_LETTERS, "options")}
    return own | options | {"category": item.task, "place": item.place} | known


def _png(item: Item) -> bytes:
    pixels = item.pixels()
    assert isinstance(pixels, Image.Image)  # asked for above
    held = io.BytesIO()
    pixels.save(held, "PNG")
    return held.getvalue()


def _without_options(question: str, listed: str) -> tuple[str, dict[str, str]]:
    """A question, and its options by letter where it ends with them."""
    options = dict(zip(_LETTERS, listed.split("\n"), strict=False)) if listed else {}
    lines = "\n".join(f"{letter}. {text}" for letter, text in options.items())
    if options and question.endswith(f"\n{lines}"):
        return question.removesuffix(f"\n{lines}"), options
    return question, {}
