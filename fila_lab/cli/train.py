"""The verb that trains one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fila_lab.cli.failures import FAILED
from fila_lab.cli.options import Sets, recipe_of

if TYPE_CHECKING:
    from fila_lab.studies.result import CellResult


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="mini, base, paper, the name of one in experiments/recipes, or a YAML file.", show_default=False
        ),
    ],
    sets: Sets = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights that begin at random, and of the order of the data.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Result folder. Default: runs/RECIPE-train.", show_default=False)
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option("--tracking-uri", metavar="URI", help="MLflow server. Default: mlflow.db in DIR.", show_default=False)
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Train again although it is recorded as failed.")] = False,
    allow_mixed: Annotated[bool, typer.Option("--allow-mixed", help="Accept results of other code in the folder.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Go on although it may not fit in memory.")] = False,
) -> None:
    """Train one run, without a comparison: a cell by itself, in a result folder as a study's. Kill it at any time; the same line goes on.

    \b
    fila-lab train mini --set fusion.name=concat
    fila-lab train experiments/recipes/llava15.yaml --set data.train.path=mine/train.json --set data.train.images=mine
        --set train.stages.align.data.path=mine/captions.json --set train.stages.align.data.images=mine

    \b
    Exit codes: 0 it is trained, 2 a mistake or a fault of the machine, 3 it failed (recorded), 130 Ctrl-C.
    """
    from fila_lab.config import parse_set
    from fila_lab.config.published_weights import absence_warnings
    from fila_lab.studies.folder import default_out
    from fila_lab.studies.machine import check_machine, template_warnings
    from fila_lab.studies.options import Options
    from fila_lab.studies.plan import make_plan
    from fila_lab.studies.single import BUDGET, single_study
    from fila_lab.studies.store import ResultStore

    study = single_study(recipe_of(recipe), parse_set(sets or []), seed)
    folder = out if out is not None else default_out(study, BUDGET)
    made = make_plan(study, BUDGET)
    (cell,) = made.cells
    for message in [*check_machine(made, 1, force), *template_warnings([cell.config]), *absence_warnings([cell.config])]:
        typer.echo(f"warning: {message}", err=True)

    from fila_lab.studies.runner import run_plan

    options = Options(workers=1, tracking_uri=tracking_uri, retry_failed=retry_failed, allow_mixed=allow_mixed, costs=False)
    run_plan(made, None, folder, options)
    store = ResultStore(folder)
    result = store.get(cell.id)
    assert result is not None  # a run that ends without a fault has recorded it
    if result.failure is not None:
        typer.echo(
            f"fila-lab: it failed ({result.failure.kind}): {result.failure.message}; the same line with --retry-failed tries again",
            err=True,
        )
        raise typer.Exit(FAILED)
    typer.echo(_text(result, store.folder(cell.id), study.name))


def _text(result: CellResult, cell: Path, name: str) -> str:
    """Where the cell is, what it came to, and what can be done with it."""
    from fila_lab.cli.score import shown_number
    from fila_lab.cli.text import table
    from fila_lab.config.metrics import COUNT, parse_metric

    lines = [f"trained: {cell}"]
    for what, points in {
        "loss": [(point.step, point.loss) for point in result.curve if point.loss is not None],
        "validation loss": [(point.step, point.validation_loss) for point in result.curve if point.validation_loss is not None],
        "validation score": [(point.step, point.validation) for point in result.curve if point.validation is not None],
    }.items():
        if points:
            (first, before), (last, after) = points[0], points[-1]
            lines.append(f"{what} {before:.3f} at step {first}, {after:.3f} at step {last}")
    figures = result.metrics | {f"{test}: {figure}": value for test, own in result.benchmarks.items() for figure, value in own.items()}
    rows = [(figure, shown_number(value)) for figure, value in figures.items() if parse_metric(figure).kind != COUNT and value is not None]
    if rows:
        lines += ["", table(("figure", "value"), rows)]
    return "\n".join(
        [
            *lines,
            "",
            f"ask       fila-lab predict IMAGE QUESTION --cell {cell}",
            f"          fila-lab chat {cell} IMAGE",
            f"evaluate  fila-lab evaluate {cell} --benchmark docvqa=PATH",
            f"save      fila-lab save {cell} --to {name}-model",
        ]
    )
