"""The verb `data check`: what files hold, before anything is trained or judged on them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fila_lab.cli.options import Sets
from fila_lab.config.base import ConfigError, FilaError

if TYPE_CHECKING:
    from fila_lab.config import RunConfig
    from fila_lab.data.check import Count, SplitCheck
    from fila_lab.data.prompt import Dialogue
    from fila_lab.data.suite import Suite

LLAVA = "llava"


def data_check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="File or folder.", show_default=False)],
    layout: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="NAME", help="llava (default), a benchmark (docvqa, ...), or a YAML that defines one.", show_default=False
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Folder that image paths are relative to.", show_default=False)
    ] = None,
    preset: Annotated[
        str, typer.Option("--preset", "-p", metavar="NAME", help="Whose canvases and tokenizer: shipped preset, or a YAML file.")
    ] = "mini",
    sets: Sets = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", metavar="KEY=VALUE", help="An option of the suite, e.g. task=data_source. Repeatable.", show_default=False
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="train|val|test", help="Only this split. Default: all there are.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Picture to write: the contact sheet.")] = Path("runs/check.png"),
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="Rows on the contact sheet; 0: none.")] = 12,
    no_tokens: Annotated[bool, typer.Option("--no-tokens", help="Do not count tokens (of a sample, where the tokenizer is here).")] = False,
    pixels: Annotated[bool, typer.Option("--pixels", help="Read every image whole, to find those damaged behind their header.")] = False,
    workers: Annotated[int, typer.Option("--workers", "-w", min=0, help="Processes; 0: one a core.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What files hold: rows, tasks, image sizes and how many tiles each canvas gets, lengths of texts, rows that cannot be used and why;
    and a contact sheet of some.

    \b
    fila-lab data check llava_v1_5_mix665k.json --images playground/data
    fila-lab data check DocVQA --as docvqa --preset paper
    fila-lab data check mix.yaml --images data --option task=data_source --json
    """
    from fila_lab.cli.progress import Bar
    from fila_lab.config import parse_set, resolve_run
    from fila_lab.data.check import as_dict, check_split
    from fila_lab.data.contact_sheet import draw_sheet

    config = resolve_run(preset, parse_set(sets or []))
    processes = workers or os.cpu_count() or 1
    with Bar() as bar:
        suite = _opened(path, layout, images, _options(option or []), config, processes, bar)
        chosen = [split] if split is not None else list(suite.splits())
        for name in chosen:
            suite.length(name)  # refuses one that is not there before the others are read
        counter = None if no_tokens else _counter(config)
        checks = {name: check_split(suite, name, config.geometry, counter, pixels, processes, bar) for name in chosen}
    shown = next((name for name in chosen if checks[name].rows), None)
    bad = draw_sheet(suite, shown, config.geometry, count, out) if count and shown is not None else []
    if as_json:
        splits = {name: as_dict(check) for name, check in checks.items()}
        typer.echo(json.dumps({"suite": suite.name, "path": str(path), "preset": preset, "splits": splits}, indent=1, ensure_ascii=True))
        return
    typer.echo("\n\n".join(_text(suite, path, name, checks[name], config) for name in chosen))
    for message in bad:
        typer.echo(f"cannot be shown: {message}", err=True)
    if count and shown is not None:
        typer.echo(f"\ncontact sheet: {out}")


def _options(given: list[str]) -> dict[str, Any]:
    from fila_lab.config.yaml_files import parse_yaml

    options: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--option {text!r}: expected key=value, e.g. --option task=data_source")
        options[key.strip()] = parse_yaml(value, f"--option {text}")
    return options


def _opened(
    path: Path, layout: str | None, images: Path | None, options: Mapping[str, Any], config: RunConfig, workers: int, bar: Any
) -> Suite:
    from fila_lab.data.suite import Opening, open_suite
    from fila_lab.studies import default_cache

    given = {"path": str(path)} | ({} if images is None else {"images": str(images)}) | dict(options)
    if layout and layout.endswith((".yaml", ".yml")):
        layout, given = Path(layout).stem, given | {"definition": layout}
    opening = Opening(given, config.geometry, default_cache(), config.data, workers, bar)
    try:
        return open_suite(layout or LLAVA, opening)
    except FilaError as error:
        if layout is None and path.exists():
            raise ConfigError(f"{error}\n(read as {LLAVA}; a benchmark's files are named with --as, e.g. --as docvqa)") from error
        raise


def _counter(config: RunConfig) -> Count | None:
    """Counts tokens of prompts and answers with the run's tokenizer, where it is on this machine."""
    from fila_lab.modeling.language import build_tokenizer, known_tokenizer
    from fila_lab.training.prompts import prompt_of

    language = known_tokenizer(config.language)
    if language is None:
        typer.echo(f"tokens are not counted: the tokenizer {config.language.tokenizer!r} is not on this machine", err=True)
        return None
    prompt = prompt_of(language.template, build_tokenizer(language))

    def count(dialogues: Sequence[Dialogue]) -> tuple[list[int], list[int]]:
        asked, trained = ([one for one in dialogues if prompt.refused(one, each) is None] for each in (False, True))
        return [len(row.ids) for row in prompt.asking(asked)], [sum(row.loss) for row in prompt.training(trained)]

    return count


def _text(suite: Suite, path: Path, split: str, check: SplitCheck, config: RunConfig) -> str:
    """What is printed of a split."""
    from fila_lab.cli.text import table
    from fila_lab.data.check import QUANTILES

    aside, tokenizer = sum(check.reasons.values()), config.language.tokenizer
    parts = [f"{path} as {suite.name}, split {split}: {check.rows} rows, {aside} set aside"]
    rules = suite.tasks()
    endings = {name: repr(rule.ending) if rule.ending else "" for name, rule in rules.items()}
    tasks = [(name, str(rows), rules[name].score, endings[name]) for name, rows in check.tasks.items()]
    if tasks:
        parts.append(table(("task", "rows", "score", "behind a question"), tasks))
    lengths = [
        ("image width, px", check.width), ("image height, px", check.height), ("turns of a row", check.turns),
        ("questions of a row, characters", check.questions), ("an answer, characters", check.answers),
        (f"prompt, tokens ({tokenizer})", check.question_tokens), (f"answers with their ends, tokens ({tokenizer})", check.answer_tokens),
    ]  # fmt: skip
    rows = [(name, *(str(values[each]) for each in QUANTILES)) for name, values in lengths if values]
    if rows:
        parts.append(table(("", *QUANTILES), rows))
    if 0 < check.encoded_rows < check.rows:
        parts.append(f"tokens are those of {check.encoded_rows} rows, spread over the file")
    if check.canvases:
        total = sum(canvas.rows for canvas in check.canvases)
        canvases = [
            (f"{canvas.size[0]} x {canvas.size[1]}", str(canvas.tiles), str(canvas.rows), f"{canvas.rows / total:.1%}")
            for canvas in check.canvases
        ]
        parts.append(f"{check.images} different images\n" + table(("canvas, px", "tiles", "rows", "share"), canvases))
    notes = [f"{check.text_only} rows are text only"] if check.text_only else []
    notes += [f"{check.unanswered} rows have questions without a known answer"] if check.unanswered else []
    notes += [f"{check.decoded} images were read whole"] if check.decoded else []
    notes += [f"of the images of {check.hardly_seen_rows} rows little is to be seen: {check.hardly_seen[0]}"] if check.hardly_seen else []
    if notes:
        parts.append("\n".join(notes))
    if check.reasons:
        most = config.data.bad_rows
        stops = f", more than data.bad_rows={most:g}: a cell that uses this split stops" if aside > most * (aside + check.rows) else ""
        lines = [f"set aside: {aside} of {aside + check.rows} rows{stops}"]
        for reason, number in check.reasons.items():
            lines += [f"  {number}  {reason}", *(f"       {one.message}" for one in check.examples[reason])]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
