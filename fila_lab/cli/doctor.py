"""The verb `doctor`: whether this machine can do what the laboratory does."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fila_lab.cli.failures import FAILED


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Look at this machine: versions and whether they match, processor, cores, memory, GPUs, weights, disks and locks, tracking, a sweep's
    storage. Each line is ok, warn or fail, with a remedy. Writes nothing that stays.

    \b
    fila-lab doctor
    fila-lab doctor --json

    \b
    Exit codes: 0 nothing fails, 3 something does.
    """
    from fila_lab.studies.doctor import examine

    found = examine()
    if as_json:
        typer.echo(json.dumps([finding.to_dict() for finding in found], indent=1))
    else:
        wide = max(len(finding.name) for finding in found)
        for finding in found:
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            typer.echo(f"{finding.state:<5} {finding.name:<{wide}}  {finding.told}{remedy}")
    if any(finding.state == "fail" for finding in found):
        raise typer.Exit(FAILED)
