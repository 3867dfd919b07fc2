"""What the keys of a configuration mean: `keys`, and the lines of `presets show`."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fila_lab.config.keys import Key

BESIDE = 40
"""Column where the comments of `presets show` begin."""
WIDTH = 120
"""Where they are folded."""


def keys(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A key, or the beginning of keys.", show_default=False)] = "",
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON list.")] = False,
) -> None:
    """Every key of a run (those of presets and --set), of a study file, and of a benchmark's YAML: what it takes, its default, and what it
    means.

    \b
    fila-lab keys fusion                  all keys of one part
    fila-lab keys train.stages            NAME stands for a name of yours
    fila-lab keys budgets                 of a study file
    fila-lab keys layouts                 of a benchmark's YAML
    """
    from fila_lab.config.keys import find_keys

    found = find_keys(path)
    if as_json:
        import json

        typer.echo(json.dumps([key._asdict() for key in found], indent=1))
        return
    width = max(60, min(shutil.get_terminal_size((110, 24)).columns, WIDTH))
    typer.echo("\n".join(line for key in found for line in _told(key, width)))


def _told(key: Key, width: int) -> Iterator[str]:
    takes = key.takes + ("" if not key.type else ", required" if key.default is None else f"; default {key.default}")
    head = key.path + (f" ({key.where})" if key.where else "")
    yield from textwrap.wrap(f"{head}: {takes}" if takes else f"{head}:", width, subsequent_indent="        ", break_on_hyphens=False)
    yield from textwrap.wrap(key.meaning, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def commented(content: Mapping[str, Any], keys: Mapping[str, Key], above: str = "") -> Iterator[str]:
    """The lines of a YAML that says the same as `content`, with meaning and choices of each key beside it. `keys`: by path."""
    from fila_lab.config.keys import as_yaml

    indent = "  " * above.count(".")
    for name, value in content.items():
        path = f"{above}{name}"
        key, below = keys.get(path), any(other.startswith(f"{path}.") for other in keys)
        section = below and isinstance(value, Mapping)
        line = f"{indent}{name}:" if section and value else f"{indent}{name}: {as_yaml(value)}"
        more = f"; its keys: fila-lab keys {path}" if below and not section else ""
        takes = f" ({key.takes}{more})" if key is not None and key.takes else ""
        words = f"{key.meaning}{takes}" if key is not None else ""
        yield from _beside(line, words)
        if section and isinstance(value, Mapping):
            yield from commented(value, keys, f"{path}.")


def _beside(line: str, words: str) -> Iterator[str]:
    notes = [f"# {note}" for note in textwrap.wrap(words, WIDTH - BESIDE - 2, break_on_hyphens=False)]
    if len(line) >= BESIDE or not notes:
        yield line
    else:
        yield f"{line:<{BESIDE}}{notes.pop(0)}"
    yield from (f"{'':<{BESIDE}}{note}" for note in notes)
