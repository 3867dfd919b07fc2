"""The verb that asks a trained cell the questions of benchmarks."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fila_lab.cli.score import shown_number
from fila_lab.config.base import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from fila_lab.config.suites import EvaluationConfig
    from fila_lab.training.evaluate import Evaluated


_DEFINITION = re.compile(r"(.+?\.ya?ml)=(.+)", re.DOTALL)
"""A definition's path, and where its files lie."""


def evaluate(
    cell: Annotated[Path, typer.Argument(metavar="CELL", help="Folder of a trained cell, or of `fila-lab save`.", show_default=False)],
    benchmark: Annotated[
        list[str],
        typer.Option(
            "--benchmark",
            "-b",
            metavar="NAME=PATH",
            help="A benchmark by name (docvqa), or by the YAML that defines it, and where it lies; entity_grid lies nowhere. Repeatable.",
            show_default=False,
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Folder of the images. Default: where the questions lie.", show_default=False),
    ] = None,
    ending: Annotated[
        str | None,
        typer.Option(
            "--ending", metavar="TEXT", help="What stands behind every question. Default: as the benchmark has it.", show_default=False
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many questions of each, the first.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR|FILE.jsonl",
            help="Write predictions there, as JSON lines of id and prediction; those of each benchmark as soon as it is done.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", "-w", min=0, help="Processes that read images.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """What a trained cell is worth on benchmarks that its study did not name: their own figures, by their own definitions. Rows that
    cannot be used are counted beside them.

    \b
    fila-lab evaluate runs/mine-full/cells/0123456789abcdef --benchmark docvqa=DocVQA --benchmark pope=POPE
    fila-lab evaluate runs/mine-full/cells/0123456789abcdef --benchmark mine.yaml=mine/ --limit 200 --out predictions/
    fila-lab score docvqa --data DocVQA --predictions predictions/docvqa.jsonl --score vqa_vlmevalkit    the same answers, judged otherwise
    """
    named = _named(benchmark, images, ending, limit)
    if not cell.is_dir():
        raise ConfigError(f"CELL = {cell}: no such folder; give cells/<id> of a result folder that `fila-lab run` wrote, or a saved model")
    from fila_lab.cli.options import saved_model
    from fila_lab.cli.progress import Bar
    from fila_lab.config.files import default_cache
    from fila_lab.training.evaluate import evaluate as ask
    from fila_lab.training.evaluate import prediction_files, write_predictions

    paths = {} if out is None else prediction_files(out, list(named))

    def keep(name: str, predictions: pd.DataFrame) -> None:
        if name in paths:
            write_predictions(paths[name], predictions)

    with Bar() as bar:
        found = ask(cell, named, default_cache(), workers, bar, keep, saved_model(cell))
    typer.echo(_json(cell, found) if as_json else "\n\n".join(_text(one) for one in found))
    for path in () if as_json else paths.values():
        typer.echo(f"predictions: {path}")


def _named(given: list[str], images: Path | None, ending: str | None, limit: int | None) -> dict[str, EvaluationConfig]:
    """The benchmarks by the names of their tasks."""
    from fila_lab.config.suites import GENERATED, SEAM, EvaluationConfig
    from fila_lab.config.suites import named as with_suites
    from fila_lab.data.suite import available_suites, unknown_suite

    found: dict[str, EvaluationConfig] = {}
    for text in given:
        what, equals, path = _split(text, available_suites())
        drawn = what in GENERATED and what != SEAM and not equals
        if not drawn and not (equals and what and path):
            raise ConfigError(f"--benchmark {text!r} is not NAME=PATH; give e.g. --benchmark docvqa=DocVQA")
        own = what.endswith((".yaml", ".yml"))
        name = Path(what).stem if own else what
        if not own and (what not in available_suites() or what == SEAM):
            names = [known for known in available_suites() if known != SEAM]
            raise unknown_suite("--benchmark", what, names, "or the YAML file that defines one")
        if name in found:
            raise ConfigError(f"--benchmark {text!r}: {name} is given twice; evaluate them one after the other")
        found[name] = EvaluationConfig(
            path=path or None,
            definition=what if own else None,
            images=None if images is None else str(images),
            limit=limit,
            options={} if ending is None else {"ending": ending},
        )
    return with_suites(found)


def _split(text: str, known: Sequence[str]) -> tuple[str, str, str]:
    """(name or definition, =, path): the definition's own path may hold = too."""
    what, equals, path = text.partition("=")
    own = _DEFINITION.fullmatch(text) if what not in known else None
    return (own[1], "=", own[2]) if own else (what, equals, path)


def _text(one: Evaluated) -> str:
    from fila_lab.cli.text import table
    from fila_lab.config.score_names import AGGREGATES, SCORES

    lines = [f"{one.name}: {len(one.predictions)} questions asked"]
    if one.aside:
        reasons = ", ".join(f"{count} {reason}" for reason, count in one.reasons.items())
        lines.append(f"aside     {len(one.aside)} rows cannot be used ({reasons}), e.g. {one.aside[0].message}")
    if one.cut_off:
        lines.append(f"cut off   {one.cut_off} answers were cut off by the cell's language.answer_tokens")
    if 2 * one.empty > len(one.predictions):
        remedy = "see whether the cell was trained on such prompts; --ending sets what stands behind the questions ('': nothing)"
        lines.append(f"empty     {one.empty} answers say nothing; {remedy}")
    scores, aggregates = ({getattr(rule, part): None for rule in one.rules.values()} for part in ("score", "aggregate"))
    lines += [f"score     {name}: {SCORES.get(name, 'of another package')}" for name in scores]
    if not one.figures:
        return "\n".join([*lines, "figures   none: the questions come without answers, and only the benchmark's server scores them"])
    lines += [f"figures   {name}: {AGGREGATES.get(name, 'of another package')}" for name in aggregates]
    return "\n".join([*lines, "", table(("figure", "value"), [(name, shown_number(value)) for name, value in one.figures.items()])])


def _json(cell: Path, found: list[Evaluated]) -> str:
    content: dict[str, Any] = {
        "cell": cell.name,
        "benchmarks": {
            one.name: {
                "tasks": {task: {"score": rule.score, "aggregate": rule.aggregate} for task, rule in one.rules.items()},
                "asked": len(one.predictions),
                "cut_off": one.cut_off,
                "empty": one.empty,
                "set_aside": one.reasons,
                "figures": one.figures,
            }
            for one in found
        },
    }
    return json.dumps(content, indent=2, ensure_ascii=False)
