"""Writes docs/reference: every key of a run and of a study, every verb, every public name; from what the code says (`make reference`)."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from fila_lab.cli.verbs import app
from fila_lab.config.keys import Key, benchmark_keys, run_keys, study_keys
from fila_lab.config.yaml_files import read_yaml

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fila_lab"
MOST_STUDIES = 3
"""So many studies are named beside a key, the others are counted."""


def pages() -> dict[Path, str]:
    """File -> what it should hold."""
    folder = ROOT / "docs" / "reference"
    return {folder / "keys.md": keys_page(), folder / "verbs.md": verbs_page(), folder / "python.md": python_page()}


def keys_page() -> str:
    """Tables of keys, a part of a run or of a study each."""
    lines = [
        "# Keys",
        "",
        "Every key of a run, of a study file, of a benchmark's YAML. `fila-lab keys PATH` prints the same for a key or the beginning of",
        "keys, and `fila-lab presets show mini` what a preset says. A key without a default must be said; *NAME* stands for a name of",
        "yours, and in a list of entries that have names for an entry's. This page is written by `make reference`.",
        "",
        "## Of a run",
        "",
        "Keys of presets and recipes, of `--set KEY=VALUE`, and of every `set` of a study.",
    ]
    for title, keys in _parts(run_keys()):
        lines += ["", f"### {title}", "", *_table(keys, studies_using())]
    lines += ["", "## Of a study file"]
    for title, keys in _parts(study_keys()):
        lines += ["", f"### {title or 'The study itself'}", "", *_table(keys)]
    lines += ["", "## Of a benchmark", "", "A YAML of one's own: [Benchmarks](../how_to/benchmarks.md) shows some."]
    for title, keys in _parts(benchmark_keys()):
        lines += ["", f"### {title or 'The benchmark itself'}", "", *_table(keys)]
    return "\n".join(lines) + "\n"


def _parts(keys: Iterable[Key]) -> list[tuple[str, list[Key]]]:
    """(title, keys) by the first part of the path; keys that have nothing below them come first, together."""
    found: dict[str, list[Key]] = {}
    known = list(keys)
    for key in known:
        first = key.path.partition(".")[0]
        below = any(other.path.startswith(f"{first}.") for other in known)
        found.setdefault(first if below else "", []).append(key)
    single = found.pop("", [])
    return [*([("", single)] if single and single[0].path != "seed" else [("seed", single)]), *found.items()]


def _table(keys: Iterable[Key], studies: Mapping[str, tuple[str, ...]] | None = None) -> Iterator[str]:
    head = ["key", "meaning", "takes", "default", *(["studies"] if studies is not None else [])]
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for key in keys:
        name = f"`{key.path}`" + (f" ({key.where})" if key.where else "")
        default = "" if not key.type else "*required*" if key.default is None else f"`{key.default}`"
        cells = [name, _escaped(key.meaning), _takes(key), default]
        if studies is not None:
            cells.append(_named(studies.get(key.path, ())))
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _takes(key: Key) -> str:
    """Words as they are to be typed stand as code, what is no word as text."""
    if key.choices and key.takes == " | ".join(key.choices):
        return ", ".join(f"`{choice}`" for choice in key.choices)
    return _escaped(re.sub(r"[\w-]+( \| [\w-]+)+", lambda found: found[0].replace(" | ", "/"), key.takes))


def _named(studies: tuple[str, ...]) -> str:
    links = [f"[{name}](../../experiments/{name}.yaml)" for name in studies[:MOST_STUDIES]]
    further = f" and {len(studies) - MOST_STUDIES} more" if len(studies) > MOST_STUDIES else ""
    return ", ".join(links) + further


@functools.cache
def studies_using() -> dict[str, tuple[str, ...]]:
    """Key of a run -> names of the studies of experiments/ that say it, in alphabetical order."""
    known = {key.path for key in run_keys()}
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "experiments").glob("*.yaml")):
        said = set(_said(read_yaml(path), known))
        for key in said:
            found.setdefault(key, []).append(path.stem)
    return {key: tuple(studies) for key, studies in found.items()}


def _said(content: Any, known: set[str]) -> Iterator[str]:
    """The keys of a run that stand anywhere in a study: dotted, or mappings below their first part."""
    if isinstance(content, Mapping):
        for name, value in content.items():
            parts = str(name).split(".")
            if len(parts) > 1 or (str(name) in known and isinstance(value, Mapping)):
                yield from _below(str(name), value, known)
            yield from _said(value, known)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _said(value, known)


def _below(path: str, value: Any, known: set[str]) -> Iterator[str]:
    parts = path.split(".")
    yield from (".".join(parts[:end]) for end in range(len(parts), 1, -1) if ".".join(parts[:end]) in known)
    if isinstance(value, Mapping):
        for name, each in value.items():
            if f"{path}.{name}" in known:
                yield from _below(f"{path}.{name}", each, known)


def verbs_page() -> str:
    """Every verb with its help, in the order of work."""
    group = typer.main.get_command(app)
    lines = [
        "# Verbs",
        "",
        "What `fila-lab VERB --help` says, for all verbs. `--debug` anywhere on a line shows the traceback of a mistake. Exit codes:",
        "0, 2 for a mistake or a fault of the machine, 3 where a cell failed or something differs, 130 after Ctrl-C. This page is",
        "written by `make reference`.",
    ]
    for name in group.list_commands(None):  # type: ignore[attr-defined]
        command = group.commands[name]  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            for below in command.commands:
                lines += ["", *_verb(f"{name} {below}", command.commands[below])]
        else:
            lines += ["", *_verb(name, command)]
    return "\n".join(lines) + "\n"


def _verb(name: str, command: Any) -> Iterator[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    usage = " ".join(_usage(each) for each in arguments)
    yield f"## `{name}`"
    yield ""
    yield f"    fila-lab {name}{' [OPTIONS]' if options else ''}{f' {usage}' if usage else ''}"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield ""
        if paragraph.startswith("\b"):
            yield from (f"    {line}" for line in paragraph.splitlines()[1:])
        else:
            yield _escaped(" ".join(paragraph.split()))
    if arguments or options:
        yield from ("", "| argument | meaning | default |", "|---|---|---|")
    for each in [*arguments, *options]:
        if each.param_type_name == "argument":
            said = f"`{_usage(each)}`"
        else:
            metavar = "" if each.is_flag else f" {each.metavar or 'N'}"
            said = ", ".join(f"`{word}{metavar}`" for word in sorted([*each.opts, *each.secondary_opts], key=len, reverse=True)[:1])
            short = [word for word in each.opts if not word.startswith("--")]
            said += "".join(f", `{word}`" for word in short)
        plain = (str, int, float)
        default = (
            f"`{each.default}`" if isinstance(each.default, plain) and not isinstance(each.default, bool) and each.default != "" else ""
        )
        text = _escaped(" ".join((each.help or "").split()))
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in (said, text, default))} |"


def _escaped(text: str) -> str:
    """Words in angle brackets as a reader should see them; code keeps its own."""
    return re.sub(r"`[^`]*`|<", lambda found: "&lt;" if found[0] == "<" else found[0], text)


def _usage(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required else f"[{name}]"


def python_page() -> str:
    """Every public name of `import fila_lab` and of its room of results, by the room it comes from; mkdocstrings puts docstrings there."""
    lines = [
        "# From Python",
        "",
        "`import fila_lab` offers these names, and loads each on first use; `dir(fila_lab)` lists them, and `dir(fila_lab.analysis)` those",
        "of the room of results, which stand here too. On the site each stands with its signature and docstring. This page is written by",
        "`make reference`.",
        "",
        "`fila_lab.analysis.load(FOLDER)` is the door to results, running or published, as tidy frames: `cells`, `scores`, `costs`,",
        "`items`, `predictions`, `contrasts`, `curves`; `show(ITEM, fila_lab.draw_item)` draws an item's page with all arms' answers,",
        "and `interval_plot`, `profile_plot` and `improvement_plot` draw `scores`; `findings` is what reports are made of, `answer_of` its",
        "answer in two sentences, and `contrasts_plot`, `seeds_plot`, `gaps_plot` and `cost_plot` draw it. The notebooks work",
        "through these names.",
    ]
    rooms: dict[str, list[str]] = {}
    for module, name in _handed_on(PACKAGE):
        if module and name != "__version__":
            rooms.setdefault(module.partition(".")[0], []).append(_home(f"{module}.{name}"))
    rooms["analysis"] = [_home(f"analysis.{module}.{name}") for module, name in _handed_on(PACKAGE / "analysis")]
    for room, homes in rooms.items():
        lines += ["", f"## fila_lab.{room}"]
        for home in homes:
            lines += ["", f"::: fila_lab.{home}"]
    return "\n".join(lines) + "\n"


def _handed_on(folder: Path) -> list[tuple[str, str]]:
    """(module, name) of what a package takes from its own modules; from its stub, where it has one."""
    stub = folder / "__init__.pyi"
    tree = ast.parse((stub if stub.exists() else folder / "__init__.py").read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    inside = ".".join(folder.relative_to(PACKAGE.parent).parts)
    return [((node.module or "").removeprefix(f"{inside}."), alias.name) for node in found for alias in node.names]


def _home(name: str) -> str:
    """Where a name, dotted below the package, is defined: through every package that hands it on."""
    module, _, last = name.rpartition(".")
    folder = PACKAGE / module.replace(".", "/")
    if folder.is_dir():
        for below, handed in _handed_on(folder):
            if handed == last and below:
                return _home(f"{module}.{below}.{last}")
    return name


if __name__ == "__main__":
    for file, text in pages().items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
