"""The verb `probe`: what the fusion of a trained cell does, on its own pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fila_lab.cli.options import BudgetName, Sets, open_study
from fila_lab.config.base import ConfigError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from fila_lab.config import RunConfig


def probe(
    target: Annotated[str, typer.Argument(metavar="STUDY_OR_CELL", help="A study, or the folder cells/<id> of a trained cell.")],
    arm: Annotated[str | None, typer.Option("--arm", "-a", metavar="NAME", help="Of the study: whose cell.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Of the study: which seed. Default: the budget's first.", show_default=False)] = None,
    budget: BudgetName = None,
    sets: Sets = None,
    items: Annotated[int, typer.Option("--items", "-n", min=8, help="Validation items, and test triplets, to look at.")] = 400,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where frames and figures go.")] = Path("runs/probe"),
) -> None:
    """Where does the fusion of a trained cell act, do tokens find their own cells, which fusion point carries the gain, and where on the
    canvas are answers right?
    Takes the cell from the study's result folder where its trained parts were kept, else trains it into DIR/cell. Leaves a parquet
    for each question, and figures.

    \b
    fila-lab probe fusion_methods --arm concat --out runs/probe_concat
    fila-lab probe alignment --arm shuffled --seed 2 --set train.steps=300
    fila-lab probe runs/fusion_methods-full/cells/0123456789abcdef --items 200
    """
    from fila_lab.cli.progress import Bar
    from fila_lab.config.files import default_cache
    from fila_lab.config.weights import TRAINED_PARTS

    cell = None if arm is None and Path(target).is_dir() else _study_run(target, arm, seed, budget, sets)
    from fila_lab.training.probe import probe_cell, trained_cell

    with Bar() as bar:
        folder = Path(target)
        if cell is not None:
            kept, config = cell
            folder = kept if (kept / TRAINED_PARTS).is_file() else trained_cell(config, out / "cell", default_cache(), bar)
        frames = probe_cell(folder, default_cache(), items, bar)

    from fila_lab.analysis.probes import write_probe_figures

    out.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        frame.to_parquet(out / f"{name}.parquet", index=False)
    figures = write_probe_figures(frames, out)
    typer.echo(f"cell {folder}\n\n{probe_text(frames)}\n")
    typer.echo(f"{', '.join(f'{name}.parquet' for name in frames)} and {len(figures)} figures in {out}")


def _study_run(target: str, arm: str | None, seed: int | None, budget: str | None, sets: list[str] | None) -> tuple[Path, RunConfig]:
    """(folder where the study keeps the cell, its run) of an arm and seed."""
    from fila_lab.config import parse_set
    from fila_lab.studies.arms import get_budget, resolve_arm
    from fila_lab.studies.identity import cell_id

    _, study, name, results = open_study(target, budget, None)
    if arm not in study.arms:
        given = "--arm is missing" if arm is None else f"--arm {arm!r} is unknown{did_you_mean(arm, study.arms)}"
        raise ConfigError(f"{given}; choose {', '.join(study.arms)}")
    chosen = get_budget(study, name).seeds[0] if seed is None else seed
    config, _ = resolve_arm(study, name, arm, chosen, parse_set(sets or []), study.winners.get(arm, {}))
    return results / "cells" / cell_id(config), config


def probe_text(frames: dict[str, pd.DataFrame]) -> str:
    """The answers as tables."""
    parts = [_acting(frames["tokens"], by) for by in ("seam", "target")]
    if len(frames["alignment"]):
        parts += [_alignment(frames["alignment"]), *(_alignment_by(frames["alignment"], by) for by in ("canvas", "content"))]
    parts.append(_attribution(frames["attribution"]))
    return "\n\n".join([*parts, *(_positions(frames) if "positions" in frames else ())])


def _acting(tokens: pd.DataFrame, by: str) -> str:
    from fila_lab.analysis.probes import acting_table
    from fila_lab.analysis.style import rows_of
    from fila_lab.cli.text import table

    header = ("fusion point", f"patches to the {by}, up to", "change / token [95 % over items]", "gate", "tokens")
    rows = [
        (f"{r.stage}->{r.layer}", f"{r.distance:g}", _bounds(r.injection, r.low, r.high), _number(r.gate), str(r.tokens))
        for r in rows_of(acting_table(tokens, by))
    ]
    return table(header, rows)


def _alignment(found: pd.DataFrame) -> str:
    from fila_lab.analysis.probes import alignment_table
    from fila_lab.analysis.style import rows_of
    from fila_lab.cli.text import table

    rows = []
    for r in rows_of(alignment_table(found)):
        shares = [_number(100 * share, 1) for share in (r.tile, r.tile_chance, r.canvas, r.canvas_chance)]
        rows.append((f"{r.stage}->{r.layer}, {r.tokens}, {r.features}", *shares, str(r.items)))
    return table(("own cells found, percent", "in the tile", "chance", "on the canvas", "chance", "items"), rows)


def _alignment_by(found: pd.DataFrame, by: str) -> str:
    """The cells that the fusion is handed, before the fusion point, by one more column."""
    from fila_lab.analysis.probes import alignment_table
    from fila_lab.cli.text import table

    handed = found[(found["tokens"] == "before") & (found["features"] == "trained")]
    rows = []
    for r in alignment_table(handed, [by]).sort_values([by, "stage", "layer"]).to_dict("records"):
        shares = [_number(100 * r[name], 1) for name in ("tile", "tile_chance", "canvas", "canvas_chance")]
        rows.append((f"{r[by]}, {r['stage']}->{r['layer']}", *shares, str(r["n"])))
    return table((f"by {by}, before", "in the tile", "chance", "on the canvas", "chance", "tokens"), rows)


def _attribution(answers: pd.DataFrame) -> str:
    from fila_lab.analysis.probes import attribution_table
    from fila_lab.analysis.style import rows_of
    from fila_lab.cli.text import table

    rows = []
    for r in rows_of(attribution_table(answers)):
        lost = _bounds(100 * r.loss, 100 * r.low, 100 * r.high, 1)
        rows.append((f"{r.task}, {r.place}, off: {r.off}", _number(100 * r.accuracy, 1), lost, str(r.items)))
    return table(("switched off at evaluation", "right, percent", "lost, points [95 % over items]", "triplets"), rows)


def _positions(frames: dict[str, pd.DataFrame]) -> list[str]:
    """A map a canvas: percent right by where the middle of the target lies, and how many answers that is."""
    from fila_lab.analysis.probes import probed_map
    from fila_lab.cli.text import table

    parts = []
    for canvas, own in probed_map(frames).groupby("canvas"):
        fields = {(row, col): f"{100 * right:.0f} ({n})" for row, col, right, n in own[["row", "col", "accuracy", "answers"]].to_numpy()}
        rows, cols = (range(int(own[name].max()) + 1) for name in ("row", "col"))
        header = (f"right, percent (answers), on {canvas}", *(f"column {col}" for col in cols))
        parts.append(table(header, [(f"row {row}", *(fields.get((row, col), "-") for col in cols)) for row in rows]))
    return parts


def _number(value: float, digits: int = 3) -> str:
    return "-" if value != value else f"{value:.{digits}f}"


def _bounds(mean: float, low: float, high: float, digits: int = 3) -> str:
    return f"{_number(mean, digits)} [{_number(low, digits)}, {_number(high, digits)}]"
