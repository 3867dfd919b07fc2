"""The verbs beside a study: presets, pretrain, calibrate, predict."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from fila_lab.cli.failures import end_by_failures, finished
from fila_lab.cli.options import Sets, open_study
from fila_lab.config.base import ConfigError

presets_app = typer.Typer(no_args_is_help=True, help="List presets, or show one resolved.", rich_markup_mode=None)


@presets_app.command("list")
def presets_list() -> None:
    """Names of the shipped presets."""
    from fila_lab.config import preset_names

    typer.echo("\n".join(preset_names()))


@presets_app.command("show")
def presets_show(
    name: Annotated[str, typer.Argument(metavar="PRESET", help="mini, base, paper, or a YAML file.", show_default=False)], sets: Sets = None
) -> None:
    """A preset with everything it inherits and all defaults: every key that --set knows, with what it means and takes. What is printed is a
    preset file itself.

    \b
    fila-lab presets show mini
    fila-lab presets show mini --set geometry.detail_cells=4
    """
    from fila_lab.cli.keys import commented
    from fila_lab.config import parse_set, resolve_run
    from fila_lab.config.keys import run_keys
    from fila_lab.config.tower_pairs import pair_weights

    shown = resolve_run(name, parse_set(sets or []))
    of_pairs = {room: {"weights"} for pair in shown.tower_pairs[:1] for room in pair_weights(pair)}
    content = shown.model_dump(mode="json", exclude={"preset": True, **of_pairs}, context={"whole": True})
    known = {key.path: key for key in run_keys() if not key.where}
    typer.echo("\n".join(commented(content, known)))


def pretrain(
    part: Annotated[str, typer.Argument(metavar="vit|convnext|answers", help="Which part.", show_default=False)],
    preset: Annotated[str, typer.Option("--preset", "-p", metavar="NAME", help="Whose part: mini, or a YAML that extends it.")] = "mini",
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where weights and cards go.")] = Path("towers"),
    steps: Annotated[
        int | None,
        typer.Option(min=0, help="Optimiser steps. Default: the recipe's. answers: 0 trains the projector alone.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    split: Annotated[
        int | None,
        typer.Option(
            min=0, max=2, help="Of a tower pair: which third of fonts and photos it leaves out. Default: none.", show_default=False
        ),
    ] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda|auto", help="Where to train; auto: a GPU if there is one.")] = "cpu",
    vit: Annotated[
        str | None,
        typer.Option(metavar="WEIGHTS", help="answers: the ViT it is to stand behind. Default: the preset's.", show_default=False),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    workers: Annotated[int, typer.Option("--workers", "-w", min=1, help="Processes that draw pages.")] = 1,
    start: Annotated[str, typer.Option(metavar="random|FILE", help="Go on from an earlier file.")] = "random",
    learning_rate: Annotated[
        float | None, typer.Option(min=0, metavar="RATE", help="answers: its highest. Default: the recipe's.", show_default=False)
    ] = None,
    solved: Annotated[
        float | None,
        typer.Option(min=0, help="answers: how often solved tasks are still drawn; less drills the others.", show_default=False),
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="answers: with torch.compile, twice as fast; needs a C++ compiler.")] = False,
) -> None:
    """Pretrain a part of mini: a tower on dense glyph labels, or the answer model (after the ViT) on looking things up. Writes safetensors
    and a card; the package's own weights came from this (`make towers`).

    \b
    fila-lab pretrain convnext
    fila-lab pretrain vit                     then --set vit.weights=towers/mini_vit.safetensors
    fila-lab pretrain answers --workers 2
    fila-lab pretrain vit --seed 1 --split 1  of the second tower pair: towers/mini_vit_1.safetensors
    """
    parts = ("vit", "convnext", "answers")
    from fila_lab.config import did_you_mean

    if part not in parts:
        raise ConfigError(f"PART = {part!r} is unknown{did_you_mean(part, parts)}; choose {', '.join(parts)}")
    of_answers = {
        "--learning-rate": learning_rate is not None,
        "--solved": solved is not None,
        "--compile": compiled,
        "--vit": vit is not None,
    }
    for option, given in (of_answers | {"--steps 0": steps == 0}).items():
        if given and part != "answers":
            raise ConfigError(f"{option} is of the answers, and PART = {part!r}; leave it out")
    from fila_lab.cli.progress import Bar
    from fila_lab.config import load_preset

    load_preset(preset)

    with Bar() as bar:
        if part == "answers":
            from fila_lab.pretraining.answers import pretrain_answers
            from fila_lab.pretraining.look_up import AnswerRecipe

            recipe = AnswerRecipe(compiled=compiled)
            scores = pretrain_answers(
                out,
                steps=steps,
                seed=seed,
                threads=threads,
                workers=workers,
                preset=preset,
                start=start,
                learning_rate=learning_rate,
                recipe=recipe if solved is None else replace(recipe, solved=solved),
                third=split,
                vit=vit,
                device=device,
                progress=bar,
            )
        else:
            from fila_lab.pretraining.towers import pretrain as train_tower

            scores = train_tower(
                part,
                out,
                steps=steps,
                seed=seed,
                threads=threads,
                workers=workers,
                preset=preset,
                start=start,
                third=split,
                device=device,
                progress=bar,
            )
    listed = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
    typer.echo(f"weights and card in {out}: {listed}")


def calibrate(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Result folder, and where the report goes. Default: runs/calibration-full.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", "-w", min=1, help="Cells at a time.", show_default=False)] = None,
) -> None:
    """Can the instrument see a seam? Runs experiments/calibration.yaml (what is missing of it) and writes which requirements hold, task by
    task: difficulty, seam gap and sham gap of `none`, the ceiling and the floors, with intervals.

    \b
    fila-lab calibrate
    """
    path, declared, budget, folder = open_study("calibration", "full", out)
    from fila_lab.analysis.calibration import write_calibration
    from fila_lab.studies.options import Options
    from fila_lab.studies.plan import make_plan
    from fila_lab.studies.runner import run_plan
    from fila_lab.studies.status import study_status
    from fila_lab.studies.step_times import find_step_seconds

    made = make_plan(declared, budget, step_seconds=find_step_seconds(declared, budget, folder))
    run_plan(made, path, folder, Options(workers=workers))
    arguments = f"calibration --budget {budget}" + (f" --out {out}" if out is not None else "")
    state = study_status(folder)
    if finished(state, arguments):
        typer.echo(f"calibration: {write_calibration(folder)}")
    end_by_failures(state, arguments)


def predict(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Any image Pillow reads.", show_default=False)],
    question: Annotated[str, typer.Argument(metavar="QUESTION", show_default=False)],
    cell: Annotated[
        Path, typer.Option("--cell", "-c", metavar="DIR", help="Folder of a trained cell, or of `fila-lab save`.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE|DIR", help="The picture. Default: IMAGE-tiles.png.", show_default=False),
    ] = None,
) -> None:
    """Answer a question about an image with a trained cell, and draw the tiles it saw, and below them how much each
    fusion point added to each token (a heat map each). Of an animation, the first frame is shown.

    \b
    fila-lab predict page.png "red?" --cell runs/fusion_methods-small/cells/0123456789abcdef
    """
    if not os.path.exists(image):  # of a name that no file can have, too
        raise ConfigError(f"IMAGE = {image}: no such file; check the path")
    if not cell.is_dir():
        remedy = "give cells/<id> of a result folder whose checkpoint was kept, or a saved model"
        raise ConfigError(f"--cell = {cell}: no such folder; {remedy}")
    from fila_lab.cli.options import saved_model
    from fila_lab.training.predict import predict as answer

    typer.echo(answer(image, question, cell, out, saved_model(cell)))
