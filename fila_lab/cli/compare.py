"""The verbs that set one thing beside another: a cell beside its own repetition, an arm beside another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fila_lab.cli.failures import FAILED
from fila_lab.cli.options import BudgetName, Out, own_budget, result_folder
from fila_lab.config.base import ConfigError

if TYPE_CHECKING:
    from fila_lab.studies.reproduce import Reproduction

StudyOption = Annotated[
    str | None,
    typer.Option("--study", metavar="STUDY", help="Study file, name in experiments/, or result folder.", show_default=False),
]


def reproduce(
    cell: Annotated[
        str, typer.Argument(metavar="CELL", help="Id or ARM:SEED of a cell in --study or --out; or cells/<id>.", show_default=False)
    ],
    study: StudyOption = None,
    budget: BudgetName = None,
    out: Out = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="DIR", help="Pools and features; a new folder makes them anew.", show_default=False)
    ] = None,
) -> None:
    """Run one cell of a result folder again, published or not, and say whether it comes out the same to the last bit. Writes nothing there.

    \b
    fila-lab reproduce concat:0 --study fusion_methods --budget full
    fila-lab reproduce concat:3 --study experiments/results/fusion_methods
    fila-lab reproduce runs/fusion_methods-small/cells/0123456789abcdef

    \b
    Exit codes: 0 bit-equal, 3 something differs, 2 a mistake or a fault of the machine. The last bit of a sum is the processor's and the
    libraries' own: on another machine, or with other versions, small differences are to be expected, and their size is said.
    """
    from fila_lab.studies.cell_names import cell_of_path, find_cell

    given = cell_of_path(Path(cell))
    if given is not None:
        if study is not None or out is not None:
            raise ConfigError(f"CELL = {cell} is a cell's folder, which says its study; leave out --study and --out")
        found = find_cell(*given)
    else:
        found = find_cell(_folder(study, budget, out, f"CELL = {cell}"), cell)

    from fila_lab.cli.progress import Bar
    from fila_lab.studies.engines import Event, Progress, Restarted, Warned
    from fila_lab.studies.folder import default_cache
    from fila_lab.studies.reproduce import reproduce as run_again

    with Bar() as bar:

        def show(event: Event) -> None:
            if isinstance(event, Progress):
                bar(event.phase, event.step, event.total)
            elif isinstance(event, Restarted | Warned):
                typer.echo(f"warning: {event.reason if isinstance(event, Restarted) else event.message}", err=True)

        made = run_again(found, cache or default_cache(), show)
    typer.echo(_reproduced(made))
    if not made.equal:
        raise typer.Exit(FAILED)


def _folder(study: str | None, budget: str | None, out: Path | None, what: str) -> Path:
    """The result folder that --study and --out stand for."""
    if out is not None and study is None:
        if not out.is_dir():
            raise ConfigError(f"--out = {out}: no such folder; give the result folder of a run, or published results")
        return own_budget(out, budget)
    if study is None:
        raise ConfigError(f"{what}: whose? give --study STUDY (with --budget), a result folder as --out DIR, or the path cells/<id>")
    return result_folder(study, budget, out)


def _reproduced(made: Reproduction) -> str:
    lines = [f"{made.cell.name} of {made.cell.root}: {'bit-equal' if made.equal else 'differs'}"]
    lines += [f"  {difference}" for difference in made.differences]
    if made.unlike:
        lines += [
            "unlike then" + (", which may be why:" if not made.equal else ", without effect:"),
            *(f"  {line}" for line in made.unlike),
        ]
    elif not made.equal:
        lines.append(
            "code, data, weights, versions and machine are what they were: something else decides the last bit, which should be found"
        )
    return "\n".join(lines)


def diff(
    one: Annotated[
        str,
        typer.Argument(
            metavar="ONE", help="ARM or cell (id, ARM:SEED) of --study; STUDY:ARM, STUDY:ARM:SEED; cells/<id>.", show_default=False
        ),
    ],
    other: Annotated[str, typer.Argument(metavar="OTHER", help="What to set beside it.", show_default=False)],
    study: StudyOption = None,
    budget: BudgetName = None,
) -> None:
    """What two arms, or two cells, have not in common: fields of the configuration, fusion points, parameters, FLOPs and memory of the
    closed forms, matched widths; of cells with results also code, data, versions, machine and results.

    \b
    fila-lab diff concat addition --study fusion_methods
    fila-lab diff fusion_methods:concat fusion_rivals:concat
    fila-lab diff runs/fusion_methods-full:concat:0 experiments/results/fusion_methods:concat:0     a run and its published twin
    """
    from fila_lab.cli.text import UNKNOWN, number, size, table
    from fila_lab.studies.differences import between, side

    sides = [side(word, study, budget, _opened) for word in (one, other)]
    found = between(*sides)
    names = [each.name for each in sides]
    parts = []
    if found.fields:
        parts.append(table(("field", *names), [(path, *map(_value, pair)) for path, pair in found.fields.items()]))
    if found.fusion_points is not None:
        parts.append(table(("fusion point (stage -> after layer)", *names), found.fusion_points))
    units = {"memory": size}
    costs = [
        (what, *(UNKNOWN if value is None else units.get(what, number)(value) for value in pair), _change(*pair))
        for what, pair in found.costs.items()
    ]
    parts.append(table(("closed form", *names, "change"), costs))
    parts += [f"matched: {line}" for line in found.matches]
    for title, lines in (("recorded beside the results", found.records), ("results", found.results)):
        if lines is not None:
            parts.append("\n".join([f"{title}:", *(f"  {line}" for line in lines)]) if lines else f"{title}: equal")
    head = (
        "the configurations are equal"
        if not found.fields
        else f"{len(found.fields)} field{'s differ' if len(found.fields) > 1 else ' differs'}"
    )
    typer.echo("\n\n".join([f"{names[0]} | {names[1]}: {head}", *parts]))


def _opened(word: str) -> Path:
    """The study file or result folder that a word of `diff` names."""
    from fila_lab.cli.options import study_path

    path = Path(word)
    return path if path.is_dir() and (path / "plan.json").is_file() else study_path(word)


def _value(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _change(one: float | None, other: float | None) -> str:
    return "" if not one or other is None else f"{other / one - 1:+.2%}"
