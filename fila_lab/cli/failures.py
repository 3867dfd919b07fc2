"""How a command ends that ran cells: whether there is something to report, and an exit code of its own when a cell failed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from fila_lab.studies.status import StudyStatus

FAILED = 3
"""Exit code of `run` and `calibrate` when some cell of the plan is recorded as failed."""


def finished(state: StudyStatus, arguments: str) -> bool:
    """Whether a main cell of the folder is done; says so where none is. `arguments`: of a command on this study."""
    if any(row.done for row in state.rows if row.phase == "main"):
        return True
    typer.echo(f"no cell is done, so there is nothing to report yet; `fila-lab status {arguments}` says why", err=True)
    return False


def end_by_failures(state: StudyStatus, arguments: str) -> None:
    """Leave with exit code 3 when a cell of the folder's plan failed, tuning trials included, and say what can be done.

    Raises:
        typer.Exit: a cell failed.
    """
    if not state.failures:
        return
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(kind for _, _, kind, _ in state.failures).items())
    planned = sum(row.planned for row in state.rows)
    typer.echo(
        f"fila-lab: {len(state.failures)} of {planned} cells failed ({kinds}); `fila-lab status {arguments}` names them, "
        f"`fila-lab run {arguments} --retry-failed` runs them again",
        err=True,
    )
    raise typer.Exit(FAILED)
