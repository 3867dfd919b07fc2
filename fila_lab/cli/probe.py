"""The verb `probe`: what the fusion of a trained cell does, on its own pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fila_lab.cli.app import app
from fila_lab.cli.options import BudgetName, Sets, open_study
from fila_lab.config.base import ConfigError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from fila_lab.config import RunConfig


@app.command()
def probe(
    target: Annotated[str, typer.Argument(metavar="STUDY_OR_CELL", help="A study, or the folder cells/<id> of a trained cell.")],
    arm: Annotated[str | None, typer.Option("--arm", "-a", metavar="NAME", help="Of the study: whose cell.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Of the study: which seed. Default: the budget's first.", show_default=False)] = None,
    budget: BudgetName = "small",
    sets: Sets = None,
    items: Annotated[int, typer.Option("--items", "-n", min=8, help="Validation items, and test triplets, to look at.")] = 400,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where frames and figures go.")] = Path("runs/probe"),
) -> None:
    """Where does the fusion of a trained cell act, do tokens find their own cells, and which interaction carries the gain?
    Takes the cell from the study's result folder where its trained parts were kept, else trains it into DIR/cell. Leaves a parquet
    for each question, and figures.

    \b
    fila-lab probe fusion_methods --arm concat --out runs/probe_concat
    fila-lab probe alignment --arm shuffled --seed 2 --set train.steps=300
    fila-lab probe runs/fusion_methods-full/cells/0123456789abcdef --items 200
    """
    from fila_lab.cli.progress import Bar
    from fila_lab.studies.folder import default_cache

    cell = None if arm is None and Path(target).is_dir() else _study_run(target, arm, seed, budget, sets)
    from fila_lab.training.probe import probe_cell, trained_cell

    with Bar() as bar:
        folder = Path(target)
        if cell is not None:
            kept, config = cell
            folder = kept if (kept / "model.safetensors").is_file() else trained_cell(config, out / "cell", default_cache(), bar)
        frames = probe_cell(folder, default_cache(), items, bar)

    from fila_lab.analysis.probes import write_probe_figures

    out.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        frame.to_parquet(out / f"{name}.parquet", index=False)
    figures = write_probe_figures(frames, out)
    typer.echo(f"cell {folder}\n\n{probe_text(frames)}\n")
    typer.echo(f"{', '.join(f'{name}.parquet' for name in frames)} and {len(figures)} figures in {out}")


def _study_run(target: str, arm: str | None, seed: int | None, budget: str, sets: list[str] | None) -> tuple[Path, RunConfig]:
    """(folder where the study keeps the cell, its run) of an arm and seed."""
    from fila_lab.config import parse_set
    from fila_lab.studies.arms import get_budget, resolve_arm
    from fila_lab.studies.identity import cell_id

    _, study, results = open_study(target, budget, None)
    if arm not in study.arms:
        given = "--arm is missing" if arm is None else f"--arm {arm!r} is unknown{did_you_mean(arm, study.arms)}"
        raise ConfigError(f"{given}; choose {', '.join(study.arms)}")
    chosen = get_budget(study, budget).seeds[0] if seed is None else seed
    config, _ = resolve_arm(study, budget, arm, chosen, parse_set(sets or []), study.winners.get(arm, {}))
    return results / "cells" / cell_id(config), config


def probe_text(frames: dict[str, pd.DataFrame]) -> str:
    """The three answers as tables."""
    from fila_lab.analysis.probes import acting_table, alignment_table, attribution_table
    from fila_lab.cli.text import table

    tokens, found, off = (frames[name] for name in ("tokens", "alignment", "attribution"))
    parts = []
    for by, where in (("seam", "the nearest seam"), ("target", "the target")):
        rows = [
            (f"{r.stage}->{r.layer}", f"{r.distance:g}", _share(r.injection, r.low, r.high), _number(r.gate), str(r.tokens))
            for r in acting_table(tokens, by).itertuples()
        ]
        head = ("interaction", f"patches to {where}, up to", "change / token [95 % over items]", "gate", "tokens")
        parts.append(table(head, rows))
    if len(found):
        rows = [
            (
                f"{r.stage}->{r.layer}, {r.tokens}, {r.features}",
                *(_percent(x) for x in (r.tile, r.tile_chance, r.canvas, r.canvas_chance)),
                str(r.items),
            )
            for r in alignment_table(found).itertuples()
        ]
        parts.append(table(("own cells found, percent", "in the tile", "chance", "on the canvas", "chance", "items"), rows))
        for by in ("canvas", "content"):
            shown = alignment_table(found[(found["tokens"] == "before") & (found["features"] == "trained")], [by])
            rows = [
                (
                    f"{r[by]}, {r['stage']}->{r['layer']}",
                    _percent(r["tile"]),
                    _percent(r["canvas"]),
                    _percent(r["canvas_chance"]),
                    str(r["n"]),
                )
                for r in shown.sort_values([by, "stage", "layer"]).to_dict("records")
            ]
            parts.append(table((f"by {by}, before", "in the tile", "on the canvas", "chance", "tokens"), rows))
    rows = [
        (f"{r.family}, {r.place}, off: {r.off}", _percent(r.accuracy), _share(r.loss * 100, r.low * 100, r.high * 100), str(r.items))
        for r in attribution_table(off).itertuples()
    ]
    parts.append(table(("switched off at evaluation", "right, percent", "lost, points [95 % over items]", "triplets"), rows))
    return "\n\n".join(parts)


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"


def _percent(value: float) -> str:
    return "-" if value != value else f"{100 * value:.1f}"


def _share(mean: float, low: float, high: float) -> str:
    return f"{_number(mean)} [{_number(low)}, {_number(high)}]"
