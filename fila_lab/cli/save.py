"""The verb that takes a trained cell out of the laboratory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fila_lab.config.base import ConfigError

if TYPE_CHECKING:
    from fila_lab.config.saved import SavedMark


def save(
    cell: Annotated[Path, typer.Argument(metavar="CELL", help="Folder of a trained cell, cells/<id>.", show_default=False)],
    to: Annotated[
        Path,
        typer.Option("--to", "-t", metavar="DIR", help="A new or empty folder, or an earlier save, which is replaced.", show_default=False),
    ],
) -> None:
    """Save a trained cell as a folder that transformers loads: weights, tokenizer, image processor, chat template.

    \b
    fila-lab save runs/mine-full/cells/0123456789abcdef --to my_model
    python -c 'import fila_lab; print(fila_lab.load("my_model").answer("page.png", "What is written?"))'
    """
    if not cell.is_dir():
        raise ConfigError(f"CELL = {cell}: no such folder; give cells/<id> of a result folder whose checkpoint was kept")
    from fila_lab.config.saved import SAVED, changed_since, holds_saved

    if holds_saved(cell):
        raise ConfigError(f"CELL = {cell} is a saved model already; copy the folder, or give cells/<id> of a result folder")
    home, mark = _home(cell, to)
    from fila_lab.hub.cells import trained_model
    from fila_lab.hub.save import save_model
    from fila_lab.studies.replace import begin, swap

    model = trained_model(cell, "CELL")
    try:
        with begin(home) as fresh:
            save_model(model, fresh, cell.resolve().name)
            if mark is not None and (changed := changed_since(home, mark)):
                raise ConfigError(
                    f"--to = {to}: {', '.join(changed[:3])} changed since it was saved; move that away, or choose another folder; "
                    "nothing was replaced"
                )
            swap(fresh, home, [] if mark is None else [*mark.files, SAVED])
    except OSError as error:
        raise ConfigError(
            f"--to = {to} cannot be written ({error.strerror or error}); free space, or choose another folder; what was there is untouched"
        ) from error
    size = sum(path.stat().st_size for path in home.iterdir() if path.is_file()) / 1e6
    typer.echo(f"saved: {to} ({size:.1f} MB)")


def _home(cell: Path, to: Path) -> tuple[Path, SavedMark | None]:
    """Where the model goes, and the mark of the one that is saved there.

    Raises:
        ConfigError: a link, a file, the cell's own folder or one around it, the working directory, or a folder with something else in it.
    """
    from fila_lab.config.saved import SAVED, read_saved

    remedy = "choose a folder of its own"
    try:
        if to.is_symlink():
            raise ConfigError(f"--to = {to} is a symbolic link to {os.readlink(to)}, and links are not followed; {remedy}")
        home, here, origin = to.resolve(), Path.cwd().resolve(), cell.resolve()
        if home in (here, *here.parents):
            raise ConfigError(f"--to = {to} is the working directory, or holds it; {remedy}")
        if home in (origin, *origin.parents) or origin in home.parents:
            raise ConfigError(f"--to = {to} is the cell's folder, lies in it, or holds it; {remedy}")
        if home.exists() and not home.is_dir():
            raise ConfigError(f"--to = {to} is a file; {remedy}")
        if not home.exists() or not any(home.iterdir()):
            return home, None
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, a null character, links in a circle
        raise ConfigError(f"--to = {str(to)!r} is no path ({error}); {remedy}") from error
    if (mark := read_saved(home)) is None:
        lack = f"{SAVED} is {'not its mark' if (home / SAVED).exists() else 'missing'}"
        raise ConfigError(f"--to = {to} holds something that `fila-lab save` did not write ({lack}); {remedy}")
    return home, mark
