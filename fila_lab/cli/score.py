"""The verb that scores a file of predictions on a public benchmark, or on one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fila_lab.data.benchmarks import BenchmarkSuite
    from fila_lab.evaluation.predictions import Judged

NAMED = 20
"""Ids that the output lists."""


def score(
    benchmark: Annotated[str, typer.Argument(metavar="BENCHMARK", help="A name (docvqa), or a YAML that defines one.", show_default=False)],
    data: Annotated[Path, typer.Option("--data", "-d", metavar="PATH", help="File or folder of the benchmark.", show_default=False)],
    predictions: Annotated[
        Path, typer.Option("--predictions", "-p", metavar="FILE", help="JSON lines with id and prediction.", show_default=False)
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", metavar="DIR", help="Leave out questions without an image in DIR. Default: all count.", show_default=False
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="train|val|test", help="Default: the one the benchmark is evaluated on.", show_default=False)
    ] = None,
    score_name: Annotated[
        str | None, typer.Option("--score", metavar="NAME", help="Another score, e.g. vqa_vlmevalkit.", show_default=False)
    ] = None,
    aggregate: Annotated[str | None, typer.Option(metavar="NAME", help="Other figures, e.g. pope_lmms_eval.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """What predictions are worth on a benchmark: its own figures, by its own definition. Images are not needed.

    \b
    fila-lab score docvqa --data val_v1.0_withQT.json --predictions predictions.jsonl
    fila-lab score pope --data coco_pope/ --predictions predictions.jsonl --aggregate pope_lmms_eval --json
    fila-lab score mine.yaml --data mine/ --predictions predictions.jsonl
    """
    from fila_lab.config.benchmark import load_benchmark
    from fila_lab.data.benchmarks import BenchmarkOptions, BenchmarkSuite
    from fila_lab.evaluation.predictions import judge, read_predictions

    rule = load_benchmark(benchmark)
    name = Path(benchmark).stem if benchmark.endswith((".yaml", ".yml")) else benchmark
    options = {"path": str(data), "images": None if images is None else str(images), "split": split}
    said = read_predictions(predictions)
    suite = BenchmarkSuite(name, rule, BenchmarkOptions.of(name, options))
    judged = judge(suite, said, shown_only=images is not None, score=score_name, definition=aggregate)
    typer.echo(_json(suite, judged) if as_json else _text(suite, judged))


def _text(suite: BenchmarkSuite, judged: Judged) -> str:
    from fila_lab.cli.text import table
    from fila_lab.config.score_names import AGGREGATES, SCORES

    asides = suite.files.questions(suite.evaluated)[1]
    counted = int(judged.figures["n"])
    lines = []
    if judged.missing:
        without = f"{len(judged.missing)} of {judged.questions} questions have no prediction, and the figures leave them out"
        lines.append(f"missing   {without}: {_listed(judged.missing)}")
    if judged.unknown:
        lines.append(f"unknown   {len(judged.unknown)} predictions are for no question here: {_listed(judged.unknown)}")
    if asides:
        lines.append(f"aside     {len(asides)} rows of the benchmark cannot be used, e.g. {asides[0].message}")
    lines += [
        f"{suite.benchmark.title or suite.name}, {suite.evaluated}, {suite.files.layout.name}: {counted} questions",
        f"score     {judged.score}: {SCORES.get(judged.score, 'of another package')}",
        f"figures   {judged.aggregate}: {AGGREGATES.get(judged.aggregate, 'of another package')}",
        "",
        table(("figure", "value"), [(name, shown_number(value)) for name, value in judged.figures.items() if name != "n"]),
    ]
    return "\n".join(lines)


def _json(suite: BenchmarkSuite, judged: Judged) -> str:
    import json

    asides = suite.files.questions(suite.evaluated)[1]
    content: dict[str, Any] = {
        "benchmark": suite.name,
        "split": suite.evaluated,
        "layout": suite.files.layout.name,
        "score": judged.score,
        "aggregate": judged.aggregate,
        "questions": judged.questions,
        "scored": int(judged.figures["n"]),
        "missing": {"count": len(judged.missing), "ids": judged.missing[:NAMED]},
        "unknown": {"count": len(judged.unknown), "ids": judged.unknown[:NAMED]},
        "set_aside": {"count": len(asides), "rows": [aside.message for aside in asides[:NAMED]]},
        "figures": {name: value for name, value in judged.figures.items() if name != "n"},
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def shown_number(value: float) -> str:
    """A share with four places; MME's points and OCRBench's hits are greater than 1."""
    return f"{value:.4f}" if abs(value) <= 1 else f"{value:.2f}"


def _listed(ids: tuple[str, ...]) -> str:
    return ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
