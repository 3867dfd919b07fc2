"""The verb that audits a model of transformers: what do its own seams cost it?"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fila_lab.cli.options import refuse_foreign
from fila_lab.config.base import ConfigError

if TYPE_CHECKING:
    from fila_lab.hub.audit.run import Audit

DTYPES = ("auto", "float32", "bfloat16", "float16")


def audit(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Folder of save_pretrained, or a name on the hub (owner/name).", show_default=False)
    ],
    task: Annotated[list[str], typer.Option("--task", "-t", metavar="NAME", help="A task of the seam suite, e.g. reading. Repeatable.")] = [  # noqa: B006
        "reading"
    ],
    items: Annotated[int, typer.Option("--items", "-n", min=1, help="Triplets of each task; three questions each.")] = 300,
    tiles: Annotated[
        str | None,
        typer.Option(metavar="AxD", help="Tiles across and down a page. Default: the fewest with seams both ways.", show_default=False),
    ] = None,
    text_height: Annotated[
        int | None, typer.Option(metavar="PX", help="Height of capitals, canvas px. Default: one the model can read, looked for.")
    ] = None,
    bare: Annotated[
        bool, typer.Option("--bare", help="Ask the suite's own short questions (`red?`), of a model that was trained on them.")
    ] = False,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where the model runs.")] = "auto",
    dtype: Annotated[str, typer.Option(metavar="|".join(DTYPES), help="Of the weights; auto: the checkpoint's.")] = "auto",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Pages that are asked together.")] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Write audit.json, audit.md and answers.jsonl.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """What seams cost a vision-language model of transformers: the seam suite on pages made for that model's own tiles, at a text height
    that it can read. Its own image processor cuts the pages; a model that sees a page in one crop is a control.

    \b
    fila-lab audit HuggingFaceTB/SmolVLM-256M-Instruct
    fila-lab audit llava-hf/llava-v1.6-mistral-7b-hf --task reading --task document --items 500 --dtype bfloat16 --out runs/audit_llava
    fila-lab audit OpenGVLab/InternVL3-1B-hf --tiles 3x2 --text-height 14 --json
    """
    if dtype not in DTYPES:
        raise ConfigError(f"--dtype {dtype}: choose {', '.join(DTYPES)}")
    grid = None if tiles is None else _grid(tiles)
    from fila_lab.hub.audit.pages import check_task

    for name in task:
        check_task(name)
    if len(set(task)) < len(task):
        raise ConfigError(f"--task {', '.join(task)}: a task is named twice; leave one of them out")
    from fila_lab.hub.audit.report import FILES, Subject, content, write_report

    if out is not None:
        refuse_foreign(out, FILES, FILES[0])
    from fila_lab.cli.progress import Bar
    from fila_lab.hub.audit.pages import page_of
    from fila_lab.hub.audit.questions import bare as short
    from fila_lab.hub.audit.questions import sentence
    from fila_lab.hub.audit.readers import open_processor, open_reader
    from fila_lab.hub.audit.run import audit as ask
    from fila_lab.hub.audit.seen import check_tiling
    from fila_lab.hub.audit.tilings import tiling_of

    processor, config = open_processor(model)
    tiling = tiling_of(processor, config)
    page = page_of(tiling, grid)
    page.check_height(text_height)
    check_tiling(processor, tiling, page.size)
    reader = open_reader(model, processor, device, dtype, batch_size)
    with Bar() as bar:
        found = [ask(reader, page, name, items, text_height, bar, short if bare else sentence) for name in task]
    subject = Subject(model, type(reader.model).__name__, type(processor.image_processor).__name__, tiling.name, reader.setting)
    if out is not None:
        write_report(out, subject, found)
    if as_json:
        typer.echo(json.dumps(content(subject, found), indent=2, ensure_ascii=False))
        return
    typer.echo(f"{model}: {subject.model}, images through {subject.processor} ({subject.tiling})")
    for one in found:
        typer.echo(f"\n{_text(one)}")
    if out is not None:
        typer.echo(f"\nreport    {out / 'audit.md'}")


def _grid(tiles: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,3})x(\d{1,3})", tiles)
    if found is None:
        raise ConfigError(f"--tiles {tiles}: give the tiles across and down a page, e.g. 2x2")
    return int(found[1]), int(found[2])


def _text(one: Audit) -> str:
    from fila_lab.cli.text import table
    from fila_lab.hub.audit.report import MEANINGS, conclusion, facts, figure_rows, remarks

    lines = [f"{one.task}: {conclusion(one)}", *facts(one), *(f"note      {line}" for line in remarks(one))]
    if one.figures is not None:
        rows = [(name, value, interval, MEANINGS[name]) for name, value, interval in figure_rows(one)]
        lines += ["", table(("figure", "value", "95 % interval", "meaning"), rows, left=4)]
    if one.tried:
        heights = [(str(height), f"{right} of {asked}") for height, (right, asked) in sorted(one.tried.items())]
        lines += ["", table(("text height, px", "intact items right"), heights, left=0)]
    return "\n".join(lines)
