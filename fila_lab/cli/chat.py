"""The verb that talks with a trained model about an image."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fila_lab.config.base import ConfigError, FilaError

if TYPE_CHECKING:
    from PIL import Image

_HELP = "ask about the image; /image FILE shows another one, /end or Ctrl-D ends"


def chat(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of `fila-lab save`, or of a trained cell.", show_default=False)],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Any image Pillow reads.", show_default=False)],
    remember: Annotated[
        bool, typer.Option("--remember", help="Questions follow on earlier ones; for models that were trained on conversations.")
    ] = False,
) -> None:
    """Ask a trained model one question after the other, a line each.

    \b
    fila-lab chat my_model page.png
    printf 'red?\\nblue?\\n' | fila-lab chat my_model page.png
    """
    if not model.is_dir():
        raise ConfigError(f"MODEL = {model}: no such folder; give one that `fila-lab save` wrote, or a trained cell's")
    from fila_lab.imaging import load_image

    shown = load_image(image)  # before torch is imported
    from fila_lab.hub.door import Exchange, load
    from fila_lab.training.questions import MAX_QUESTION_TOKENS, check_question

    loaded = load(model)
    terminal = sys.stdin.isatty()
    if terminal:
        typer.echo(_HELP)
    said: list[Exchange] = []
    while (question := _line(terminal)) is not None:
        if question.startswith("/"):
            shown = _other_image(question) or shown
            said.clear()
        elif question:
            try:
                check_question(question)
                answer = loaded.answer(shown, question, said if remember else (), longest=MAX_QUESTION_TOKENS)
            except FilaError as error:
                typer.echo(f"fila-lab: {error}", err=True)
                continue
            said.append((question, answer))
            typer.echo(answer)


def _line(terminal: bool) -> str | None:
    """The next line without blanks around it; None at the end."""
    if terminal:
        typer.echo("> ", nl=False)
    line = sys.stdin.readline()
    return None if not line or line.strip() == "/end" else line.strip()


def _other_image(command: str) -> Image.Image | None:
    """The image that a command names; None where it names none, which is said."""
    from fila_lab.imaging import load_image

    word, _, path = command.partition(" ")
    if word != "/image" or not path.strip():
        typer.echo(_HELP, err=True)
        return None
    try:
        return load_image(path.strip())
    except FilaError as error:
        typer.echo(f"fila-lab: {error}", err=True)
        return None
