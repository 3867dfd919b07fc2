"""JSON as this laboratory reads it: whatever is wrong with a text is a ValueError, so that no damage of a file is a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none, or is nested deeper than Python can follow.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: Path) -> Any:
    """The value in a JSON file, UTF-8.

    Raises:
        OSError: it cannot be read.
        ValueError: as of `parse_json`.
    """
    return parse_json(path.read_text(encoding="utf-8"))
