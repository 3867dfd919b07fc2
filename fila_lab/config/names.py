"""Names that become the name of a folder."""

from __future__ import annotations

NAME_BYTES = 120
"""Far below the 255 of common file systems: names are joined, and temporary files add to them."""


def folder_name(name: str) -> str:
    """The name, if a folder of that name lies where it is made and can be told from a path, an option and a hidden file.

    Raises:
        ValueError: it cannot; says why and what to do.
    """
    remedy = "choose a plain name, e.g. my_study"
    if not name.strip():
        raise ValueError(f"= {name!r} is empty; {remedy}")
    if name != name.strip():
        raise ValueError(f"= {name!r} begins or ends with a space; {remedy}")
    if name[0] in ".~-":
        raise ValueError(f"= {name!r} begins with {name[0]!r}, and results are written to runs/<name>-<budget>; {remedy}")
    if wrong := sorted({character for character in name if character in "/\\" or not character.isprintable()}):
        raise ValueError(f"= {_short(name)} holds {', '.join(map(repr, wrong))}, and results are written to runs/<name>-<budget>; {remedy}")
    if (size := len(name.encode(errors="replace"))) > NAME_BYTES:
        raise ValueError(f"= {_short(name)} has {size} bytes, more than {NAME_BYTES}; choose a shorter one")
    return name


def _short(name: str) -> str:
    text = repr(name)
    return text if len(text) <= 60 else f"{text[:57]}..."
