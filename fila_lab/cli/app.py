"""The typer application, and what happens to mistakes, interruptions and `--debug`."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fila_lab.config.base import FilaError, ToldInterrupt

INTERRUPTED = 130
MISTAKE = 2
_state = {"debug": False}


class LabGroup(TyperGroup):
    """Verbs in their own order, groups of verbs behind them; a user's mistake is one message and exit code 2, Ctrl-C is 130."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=lambda name: isinstance(self.commands[name], TyperGroup))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FilaError as error:
            if _state["debug"]:
                raise
            typer.echo(f"fila-lab: {error}", err=True)
            raise typer.Exit(MISTAKE) from None
        except UnicodeEncodeError as error:
            if _state["debug"]:
                raise
            name = error.object[error.start : error.end]
            remedy = "set LC_ALL=C.UTF-8 or PYTHONUTF8=1, or choose another name"
            typer.echo(f"fila-lab: {name!r} cannot be part of a file's name in this locale ({error.encoding}); {remedy}", err=True)
            raise typer.Exit(MISTAKE) from None
        except ToldInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except KeyboardInterrupt:
            typer.echo("\nstopped; nothing finished is lost, and the same command goes on from here", err=True)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="fila-lab",
    cls=LabGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich costs more start-up time than all the rest of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(asked: bool) -> None:
    if asked:
        from fila_lab.version import __version__

        typer.echo(f"fila-lab {__version__}")
        raise typer.Exit


@app.callback()
def lab(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a mistake (anywhere on the line).")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """A laboratory for one question: how should a vision-language model fuse a ViT that looks at tiles with a ConvNeXt that looks at the
    whole image?

    \b
    A study is a YAML file: arms, contrasts, seeds, budgets. Its life is
      fila-lab plan   experiments/fusion_methods.yaml     what would run, how long, what it can show
      fila-lab run    experiments/fusion_methods.yaml     run what is missing; stop with Ctrl-C, go on with the same line
      fila-lab report experiments/fusion_methods.yaml     tables, verdicts, plots as HTML and Markdown

    \b
    Change anything for one run:  --set train.steps=300 --set fusion.hidden=48
    See what can be changed:      fila-lab presets show mini, fila-lab keys fusion
    """
    _state["debug"] = _state["debug"] or debug


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `fila-lab`. Leaves by SystemExit: 0, 2 for a mistake, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a letter shows its number
    words = list(sys.argv[1:] if arguments is None else arguments)
    _state["debug"] = "--debug" in words
    app(args=[word for word in words if word != "--debug"], prog_name="fila-lab")
