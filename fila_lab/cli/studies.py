"""The verbs of a study: plan, run, status, report, sync."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fila_lab.cli.failures import end_by_failures, finished
from fila_lab.cli.options import BudgetName, Folder, Out, Sets, Study, declared_study, open_study, refuse_foreign, result_folder
from fila_lab.config.base import ConfigError

WIDTH = 140
"""Columns of the summary where no terminal says how many it has."""
ENGINES = ("inline", "process", "ray")
Tracking = Annotated[
    str | None, typer.Option("--tracking-uri", metavar="URI", help="MLflow server. Default: mlflow.db in DIR.", show_default=False)
]
Workers = Annotated[int | None, typer.Option("--workers", "-w", min=1, help="Cells at a time. Default: the budget's.", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="Go on although a cell may not fit in memory, or (plan) a GPU is not here.")]


def plan(
    study: Study, budget: BudgetName = None, sets: Sets = None, out: Out = None, workers: Workers = None, force: Force = False
) -> None:
    """What a study would run: cells, time, memory, and what its seeds can show. Starts nothing.

    \b
    fila-lab plan experiments/fusion_methods.yaml
    fila-lab plan fusion_methods --budget full
    fila-lab plan fusion_methods --set train.steps=300 --out /tmp/trial
    """
    from fila_lab.cli.text import plan_text
    from fila_lab.config import parse_set
    from fila_lab.config.published_weights import absence_warnings
    from fila_lab.studies.arms import get_budget
    from fila_lab.studies.estimate import estimate, known_winners
    from fila_lab.studies.machine import check_machine, template_warnings
    from fila_lab.studies.plan import make_plan
    from fila_lab.studies.searches.trials_file import read_front
    from fila_lab.studies.step_times import find_step_seconds

    _, loaded, name, folder = open_study(study, budget, out)
    chosen, overrides = get_budget(loaded, name), parse_set(sets or [])
    timed = find_step_seconds(loaded, name, folder, overrides)
    made = make_plan(loaded, name, overrides, known_winners(folder) if chosen.tune else None, timed)
    if chosen.sweep and (front := read_front(folder, made)) is not None:
        made = make_plan(loaded, name, overrides, None, timed, front)
    runs = [cell.config for cell in made.cells]
    for message in [*check_machine(made, workers or chosen.workers, force), *template_warnings(runs), *absence_warnings(runs)]:
        typer.echo(f"warning: {message}", err=True)
    typer.echo(plan_text(made, estimate(made, folder, workers or chosen.workers), folder))


def run(
    study: Study,
    budget: BudgetName = None,
    sets: Sets = None,
    out: Out = None,
    engine: Annotated[str, typer.Option("--engine", "-e", metavar="|".join(ENGINES), help="Where cells run.")] = "process",
    workers: Workers = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="ADDR",
            help="ray: the cluster, as auto, HOST:PORT or ray://HOST:PORT. Default: RAY_ADDRESS, else a Ray of its own.",
            show_default=False,
        ),
    ] = None,
    cell_cpus: Annotated[
        float | None, typer.Option("--cell-cpus", metavar="N", help="ray: CPUs of a cell. Default: its threads.", show_default=False)
    ] = None,
    cell_gpus: Annotated[
        float | None,
        typer.Option("--cell-gpus", metavar="N", help="ray: GPUs of a cell, or a share of one. Default: its devices.", show_default=False),
    ] = None,
    cell_memory: Annotated[
        float | None, typer.Option("--cell-memory", metavar="GIB", help="ray: memory of a cell. Default: not counted.", show_default=False)
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="This driver's share, counted from 0: 0/4 to 3/4.", show_default=False)
    ] = None,
    tracking_uri: Tracking = None,
    system_metrics: Annotated[bool, typer.Option("--system-metrics", help="Record this machine's load in the MLflow mirror.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run recorded failures again.")] = False,
    allow_mixed: Annotated[bool, typer.Option("--allow-mixed", help="Accept results of other code in the folder.")] = False,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="DIR", help="Take over the cells that another result folder holds, published or not.", show_default=False
        ),
    ] = None,
    costs: Annotated[
        bool | None,
        typer.Option("--costs/--no-costs", help="Measure what arms cost, after the cells. Default: if none failed.", show_default=False),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run the frozen ConvNeXt in every step; cells of their own.")] = False,
    force: Force = False,
    sweep_storage: Annotated[
        str | None,
        typer.Option(
            "--sweep-storage",
            metavar="URL",
            help="SQLite or PostgreSQL database that shows trials. Default: optuna.db in DIR.",
            show_default=False,
        ),
    ] = None,
    sweep_key: Annotated[
        str | None,
        typer.Option("--sweep-key", metavar="KEY", help="Name of the searches there. Default: <study>-<budget>.", show_default=False),
    ] = None,
) -> None:
    """Run every cell of a study that has no result yet. Kill it at any time; the same line goes on.

    \b
    fila-lab run experiments/fusion_methods.yaml
    fila-lab run fusion_methods --budget full --workers 2
    fila-lab run fusion_methods --budget full --from experiments/results/fusion_methods    only what was not published
    fila-lab run fusion_methods --shard 0/4        one of four drivers on a shared folder: 0/4, 1/4, 2/4, 3/4
    fila-lab run fusion_methods --engine inline    in this process, for debugging
    fila-lab run fusion_methods --engine ray --address auto --workers 32 --cell-gpus 0.5

    \b
    Exit codes: 0 every cell is done, 2 a mistake or a fault of the machine, 3 some cell failed (recorded, and in the report), 130 Ctrl-C.
    """
    from fila_lab.config import did_you_mean, parse_set
    from fila_lab.config.published_weights import absence_warnings
    from fila_lab.studies.arms import get_budget
    from fila_lab.studies.engines import CellResources
    from fila_lab.studies.lock import Shard
    from fila_lab.studies.machine import check_machine, template_warnings
    from fila_lab.studies.options import Options
    from fila_lab.studies.plan import make_plan
    from fila_lab.studies.step_times import find_step_seconds

    share = Shard.parse(shard) if shard is not None else None
    if engine not in ENGINES:
        raise ConfigError(f"--engine {engine!r} is unknown{did_you_mean(engine, ENGINES)}; choose {', '.join(ENGINES)}")
    path, loaded, name, folder = open_study(study, budget, out)
    overrides = parse_set(sets or []) | ({"runtime.feature_cache": False} if no_cache else {})
    at_a_time = workers or get_budget(loaded, name).workers
    made = make_plan(loaded, name, overrides, step_seconds=find_step_seconds(loaded, name, folder, overrides))
    options = Options(
        engine=engine,
        workers=at_a_time,
        address=address,
        cell=CellResources(cell_cpus, cell_gpus, cell_memory),
        shard=share,
        tracking_uri=tracking_uri,
        system_metrics=system_metrics,
        retry_failed=retry_failed,
        allow_mixed=allow_mixed,
        source=source,
        costs=costs,
        sweep_storage=sweep_storage,
        sweep_key=sweep_key,
    )
    options.check(cell.config for cell in made.cells)
    machine = check_machine(made, 1 if engine == "inline" else at_a_time, force, elsewhere=options.elsewhere)
    runs = [cell.config for cell in made.cells]
    for message in [*machine, *template_warnings(runs), *([] if options.elsewhere else absence_warnings(runs))]:
        typer.echo(f"warning: {message}", err=True)

    from fila_lab.studies import study_status
    from fila_lab.studies.runner import run_plan

    run_plan(made, path, folder, options)
    state = study_status(folder)
    arguments = f"{study} --budget {name}" + (f" --out {out}" if out is not None else "")
    if finished(state, arguments):
        typer.echo(f"report: fila-lab report {arguments}")
    end_by_failures(state, arguments)


def status(
    study: Folder,
    budget: BudgetName = None,
    out: Out = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show cell by cell how it goes on, until it is complete or Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option("--every", min=0.5, max=86400, metavar="SECONDS", help="With --watch: how often it is drawn.")
    ] = 2.0,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write it as a page; with --watch, one that reloads itself.", show_default=False),
    ] = None,
) -> None:
    """How far a study is: cells done, failed and left, from its result folder alone.

    \b
    fila-lab status experiments/fusion_methods.yaml --budget full
    fila-lab status runs/fusion_methods-full
    fila-lab status runs/fusion_methods-full --watch
    fila-lab status runs/fusion_methods-full --watch --every 10 --html progress.html
    """
    folder = result_folder(study, budget, out)
    if watch or html is not None:
        from functools import partial

        from fila_lab.cli.watch_page import write_page
        from fila_lab.studies.outlook import Watcher

        watcher = Watcher(folder)
        if watch:
            from rich.console import Console

            from fila_lab.cli.watch import watch as draw

            write = partial(write_page, html, every=every) if html is not None else None
            draw(watcher.look, every, write, Console(width=None if sys.stdout.isatty() else WIDTH))
        elif html is not None:
            write_page(html, watcher.look(), None)
            typer.echo(f"page: {html}")
        return

    from fila_lab.cli.text import status_text
    from fila_lab.studies import study_status

    typer.echo(status_text(study_status(folder), folder))


def report(
    study: Folder,
    budget: BudgetName = None,
    out: Out = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="DIR",
            help="Where to. Default: report, in the result folder; of published results, runs/reports/NAME.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the report of a study: HTML, Markdown, and every table as CSV and LaTeX. Of published results, pictures of the items on
    which arms differ are drawn again.

    \b
    fila-lab report experiments/fusion_methods.yaml
    fila-lab report experiments/results/fusion_methods --to /tmp/fusion_methods
    """
    folder = result_folder(study, budget, out)

    from rich.console import Console

    from fila_lab.analysis import StudyFolder, terminal_summary, write_report
    from fila_lab.analysis.findings import Findings
    from fila_lab.config.compact import is_compact
    from fila_lab.studies.gallery import draw_published

    source = StudyFolder.open(folder)
    if not Path(study).is_dir():
        source = source.judged_by(declared_study(study))
    target = to or source.report
    if to is not None:
        refuse_foreign(to, ("report.html", "report.md", "figures", "tables", "gallery"), "report.html", "--to")
    if is_compact(folder):
        draw_published(folder, target / "gallery")
    findings = Findings.of(source)
    page = write_report(findings, to=target)
    Console(width=None if sys.stdout.isatty() else WIDTH).print(terminal_summary(findings, page=page))  # ends with the report's path


def sync(study: Folder, budget: BudgetName = None, out: Out = None, tracking_uri: Tracking = None) -> None:
    """Complete the MLflow mirror of a result folder, after tracking failed or was off.

    \b
    fila-lab sync fusion_methods --budget full --tracking-uri http://127.0.0.1:5000
    """
    folder = result_folder(study, budget, out)

    from fila_lab.studies import sync as complete
    from fila_lab.studies.address import masked

    added = complete(folder, tracking_uri)
    typer.echo(f"{added} cells added or renewed in {masked(tracking_uri or str(folder / 'mlflow.db'))}; the mirror is complete")


def publish(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Result folder of a finished study.", show_default=False)],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="DIR",
            help="Where to, e.g. experiments/results/NAME. Without, FOLDER holds published results, and is brought to today's form.",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", metavar="STUDY.yaml", help="Study file by which it is judged from then on. Default: FOLDER's.", show_default=False
        ),
    ] = None,
) -> None:
    """Write the results of a study as a few small files, to be committed: tables of cells, items and predictions, costs, tuning, a
    report in Markdown, without checkpoints, logs and databases. A DIR that exists is replaced only if it holds published results of the
    same study; what else lies in it stays.

    \b
    fila-lab publish runs/fusion_methods-full --to experiments/results/fusion_methods
    fila-lab publish experiments/results/fusion_methods      published by an older version, or its report by older rules
    fila-lab publish experiments/results/fusion_methods --by declared_now.yaml
    """
    from fila_lab.analysis import load_study_frame, write_summary
    from fila_lab.studies.publish import publish as write

    declared = declared_study(by) if by is not None else None

    load_study_frame(folder)  # refuses what has nothing to report before anything is written
    count = write(folder, to, lambda fresh: write_summary(fresh, fresh), declared)
    typer.echo(f"{count} files in {to or folder}")
