"""The verbs that look at the items of the instrument, write them as files, and describe them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fila_lab.cli.options import Sets
from fila_lab.config.base import ConfigError, did_you_mean

data_app = typer.Typer(no_args_is_help=True, help="Look at the items of the instrument, export and describe them.", rich_markup_mode=None)

Preset = Annotated[str, typer.Option("--preset", "-p", metavar="NAME", help="Shipped preset, or a YAML file.")]
Split = Annotated[str, typer.Option(metavar="train|val|test", help="Whose items.")]


@data_app.command("preview")
def data_preview(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Picture to write.")] = Path("runs/preview.png"),
    preset: Preset = "mini",
    sets: Sets = None,
    split: Split = "test",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Triplets to draw, of each task given.")] = 6,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", "-t", metavar="NAME|all", help="Task of the seam suite. Default: the preset's mixture.", show_default=False),
    ] = None,
) -> None:
    """A contact sheet of triplets (cut, sham, intact; further places where data.seam has them) with seams, targets and cut fractions.

    \b
    fila-lab data preview --out preview.png
    fila-lab data preview --task all -n 2
    fila-lab data preview --set data.seam.photo_share=1 -n 12
    """
    _check_split(split)
    from fila_lab.config import parse_set, resolve_run
    from fila_lab.data.seam import SeamSuite
    from fila_lab.data.seam.preview import contact_sheet

    config = resolve_run(preset, parse_set(sets or []))
    contact_sheet(SeamSuite(config.data.seam, config.geometry), split, count, out, _tasks(task or []))
    typer.echo(f"contact sheet: {out}")


@data_app.command("export")
def data_export(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to make.", show_default=False)],
    items: Annotated[int, typer.Option("--items", "-n", min=1, help="Items; of the test split, triplets: a page for each place.")] = 1000,
    preset: Preset = "mini",
    sets: Sets = None,
    split: Split = "test",
    workers: Annotated[int, typer.Option("--workers", "-w", min=0, help="Processes; 0: one a core.")] = 0,
) -> None:
    """Write items as files: pages (PNG), questions and answers (JSON in LLaVA's format), what is known of each (parquet), a data card.
    Stop it any time; the same line goes on. The same bytes for any number of workers.

    \b
    fila-lab data export --split test --items 500 --out exported
    fila-lab data export --split train --items 2000 --set 'data.seam.tasks={document: 0.5, chart: 0.5}' --out forms
    """
    _check_split(split)
    from fila_lab.cli.progress import Bar
    from fila_lab.config import parse_set, resolve_run
    from fila_lab.data.seam.export import export

    config = resolve_run(preset, parse_set(sets or []))
    with Bar() as bar:
        counts = export(config.data.seam, config.geometry, split, items, out, workers or os.cpu_count() or 1, bar)
    typer.echo(f"{out}: {', '.join(f'{number} {name}' for name, number in counts.items())}")


@data_app.command("tsv")
def data_tsv(
    suite: Annotated[
        str, typer.Argument(metavar="SUITE", help="seam, a benchmark's name, or the YAML that defines one.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.tsv", help="Table to write.", show_default=False)],
    path: Annotated[Path | None, typer.Option("--path", metavar="PATH", help="Where the benchmark lies.", show_default=False)] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Folder of the images. Default: where the questions lie.", show_default=False),
    ] = None,
    preset: Preset = "mini",
    sets: Sets = None,
    split: Annotated[str | None, typer.Option(metavar="train|val|test", help="Whose questions. Default: test.", show_default=False)] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Only so many, the first (of seam: triplets).")] = None,
) -> None:
    """Write a suite's questions as a table that VLMEvalKit reads, images and endings included.

    \b
    fila-lab data tsv seam --set 'data.seam.tasks={reading: 1}' -n 500 --out seam.tsv
    fila-lab data tsv docvqa --path DocVQA --split val --out docvqa.tsv
    """
    if split is not None:
        _check_split(split)
    from fila_lab.cli.progress import Bar
    from fila_lab.config import parse_set, resolve_run
    from fila_lab.config.files import default_cache
    from fila_lab.config.suites import GENERATED
    from fila_lab.data.suite import Opening, open_suite
    from fila_lab.data.vlmevalkit import write_table

    if (path is None) != (suite in GENERATED):
        remedy = "leave --path out: its items are made" if suite in GENERATED else "say where it lies, with --path"
        raise ConfigError(f"SUITE = {suite!r}: {remedy}")
    config = resolve_run(preset, parse_set(sets or []))
    own = suite.endswith((".yaml", ".yml"))
    given = {"path": path, "images": images, "definition": suite if own else None}
    options = {name: str(value) for name, value in given.items() if value is not None}
    opened = open_suite(Path(suite).stem if own else suite, Opening(options, config.geometry, default_cache(), config.data))
    chosen = split or next(one for one in ("test", "val", "train") if one in opened.splits())
    with Bar() as bar:
        rows, unusable = write_table(opened, chosen, out, limit, bar)
    aside = f", {unusable} rows could not be used" if unusable else ""
    typer.echo(f"{out}: {rows} questions{aside}")


@data_app.command("card")
def data_card(preset: Preset = "mini", sets: Sets = None) -> None:
    """The data card: how items are made, tasks with chance, settings, sources and licences, limits.

    \b
    fila-lab data card --preset mini
    """
    from fila_lab.config import parse_set, resolve_run
    from fila_lab.data.seam.card import data_card as card

    config = resolve_run(preset, parse_set(sets or []))
    typer.echo(card(config.data.seam, config.geometry).rstrip())


def _check_split(split: str) -> None:
    if split not in ("train", "val", "test"):
        raise ConfigError(f"--split {split!r} is unknown; choose train, val or test")


def _tasks(names: list[str]) -> list[str]:
    """The tasks named, in their order; ConfigError for an unknown one."""
    from fila_lab.config.data import SEAM_TASKS

    for name in names:
        if name not in (*SEAM_TASKS, "all"):
            raise ConfigError(f"--task {name!r} is unknown{did_you_mean(name, SEAM_TASKS)}; choose {', '.join(SEAM_TASKS)} or all")
    return list(SEAM_TASKS) if "all" in names else names
