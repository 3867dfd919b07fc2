"""What stands on the seam suite's pages, what is asked and answered: whoever draws, reads, counts or costs it takes it from here."""

from __future__ import annotations

import re

from fila_lab.config.data import SEAM_TASKS, SeamTask

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
"""All characters of codes and keys."""
COLOUR_NAMES: tuple[str, ...] = ("red", "green", "blue", "orange", "purple", "black", "teal", "pink")
SHAPES: tuple[str, ...] = ("ball", "ring", "square", "triangle", "diamond", "plus")
"""Shapes of marks and objects."""
LAYOUTS: tuple[str, ...] = ("full", "top", "left", "frame", "cross", "slash", "dots", "bars", "rows", "disc")
"""Layouts of a coarse panel."""
RELATIONS: tuple[str, ...] = ("left", "right", "above", "below")
"""Where one mark lies from another: beside it, then over or under it."""
YES, NO = "yes", "no"
LABELS: tuple[str, ...] = (
    "AGE", "BIN", "BOX", "DAY", "DUE", "FAX", "FEE", "ID", "JOB", "LOT",
    "NET", "NO", "QTY", "REF", "ROW", "SUM", "TAX", "TEL", "VAT", "ZIP",
)  # fmt: skip
"""Labels of form fields: the same in all splits, for a label says nothing about its value."""

QUESTIONS: dict[SeamTask, str] = {
    "reading": "{}?",
    "document": "field {}?",
    "table": "cell {}?",
    "chart": "bar {}?",
    "counting": "count {}?",
    "spatial": "{} from {}?",
    "attribute": "mark on {}?",
    "presence": "{} {}?",
    "coarse": "layout?",
}
"""How each task asks, with a place for each name of what is meant: a colour, key, label, row (and header), shape."""
_ASKING = (word for task in SEAM_TASKS for word in re.findall("[a-z]+", QUESTIONS[task]))
WORDS: tuple[str, ...] = tuple(
    dict.fromkeys((*COLOUR_NAMES, *SHAPES, *LAYOUTS, *RELATIONS, YES, NO, *_ASKING, *(label.lower() for label in LABELS)))
)
"""All words of questions and answers, in the order of their tokens."""

ROLES: tuple[str, ...] = ("code", "key", "panel", "mark", "object", "bar")
"""What a glyph is. `code`: what may be asked for, in characters; `key`: keys, labels, row names and headers; the others name themselves."""
TRUTH_CHANNELS: tuple[str, ...] = (
    *(f"{character} left" for character in ALPHABET),
    *(f"{character} right" for character in ALPHABET),
    *LAYOUTS,
    *COLOUR_NAMES,
    "key",
    "panel",
    *SHAPES,
    *ROLES[3:],
    "code",
    "no name",
    "no colour",
    "no role",
)
"""Meaning of each channel of a truth map, one-hot a cell."""
ORACLE_CHANNELS = len(TRUTH_CHANNELS)
"""Channels of a truth map, the same at all four stages."""
