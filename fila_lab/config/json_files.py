"""JSON as this laboratory reads it: whatever is wrong with a text is a ValueError, so that no damage of a file is a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fila_lab.config.base import ConfigError


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


def read_mapping(what: str, path: Path, remedy: str) -> dict[str, Any]:
    """The mapping in a JSON file that the user named, or that lies in a folder they did.

    Args:
        what: what messages begin with, e.g. a field and its value.
        remedy: what to do about a file that is damaged.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{what}: no readable {path.name} in it ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{what}: its {path.name} is no mapping; {remedy}")
    return content
