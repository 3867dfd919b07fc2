"""The verb `weights`: what a run starts from, what of it is on this machine, and how to get the rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fila_lab.cli.failures import FAILED
from fila_lab.cli.options import Sets

if TYPE_CHECKING:
    from fila_lab.config import RunConfig
    from fila_lab.config.published_weights import Holding


def weights(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="mini, base, paper, or a YAML file.", show_default=False)],
    sets: Sets = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What a preset's parts start from: whether the weights are on this machine, how large they are, and the command that fetches what is
    missing. Looks at files and the hub's cache here, and asks no network.

    \b
    fila-lab weights base
    fila-lab weights paper --set vit.weights=hf:openai/clip-vit-large-patch14-336
    fila-lab weights base --json

    \b
    Exit codes: 0 all is here, 3 something is missing.
    """
    from fila_lab.config import parse_set, resolve_run
    from fila_lab.config.published_weights import holdings

    config = resolve_run(preset, parse_set(sets or []))
    held = holdings(config)
    if as_json:
        typer.echo(json.dumps([_record(config, each) for each in held], indent=1))
    else:
        typer.echo(_text(config, held))
    if any(each.state == "missing" for each in held):
        raise typer.Exit(FAILED)


def _record(config: RunConfig, held: Holding) -> dict[str, Any]:
    size = _size(config, held)
    return {**held._asdict(), "files": [str(path) for path in held.files], "bytes": size, "estimated": not held.files and size is not None}


def _size(config: RunConfig, held: Holding) -> int | None:
    """Bytes of the files that are here; of weights that are missing what the part's parameters take; None where that is not known."""
    from fila_lab.cost.closed.components import component_costs

    if held.files:
        return sum(path.stat().st_size for path in held.files)
    if held.state != "missing" or held.part == "tokenizer":
        return None
    width = 2 if held.part == "language" else 4
    parameters = component_costs(config)[held.part].parameters
    return round(width * parameters) or None


def _text(config: RunConfig, held: list[Holding]) -> str:
    from fila_lab.cli.text import size, table

    rows = []
    for each in held:
        count = _size(config, each)
        shown = "" if count is None else f"{'' if each.files else '~'}{size(count)}"
        where = str(each.files[0] if len(each.files) == 1 else each.files[0].parent) if each.files else ""
        rows.append((each.part, each.spec, each.state, shown, where))
    lines = [table(("part", "weights", "state", "size", "where"), rows, left=5)]
    if any(row[3].startswith("~") for row in rows):
        lines.append("~ what the part's parameters take: towers in float32, the language model in bfloat16; a file may hold more")
    missing = [each for each in held if each.state == "missing"]
    commands = dict.fromkeys(each.remedy for each in missing if each.remedy.startswith(("hf ", "python ")))
    others = [each.remedy for each in missing if each.remedy not in commands]
    lines += ["", "to fetch, once, where there is a network:", *(f"  {command}" for command in commands)] if commands else []
    return "\n".join([*lines, *(["", *others] if others else [])])
