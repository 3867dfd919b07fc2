"""Code blocks of the README, the tutorials and the how-to pages can be used as they stand.

A page is tried in a folder of its own, block by block: a block with a title is a file of that name; YAML is a study, a benchmark, or a part
of a study or a run; Python is compiled, and all that it imports is there; shell is a script whose `fila-lab` and `make` lines have the
verbs, options and targets there are. `<!-- run -->` above a block runs it, and `<!-- slow -->` in the slow tests.
"""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
import yaml

from fila_lab.cli import main
from fila_lab.cli.verbs import app
from fila_lab.config import RunConfig, StudyConfig, load_study, parse_set, resolve_run
from fila_lab.config.benchmark import load_benchmark
from fila_lab.studies.lock import Shard
from fila_lab.studies.plan import make_plan

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("tutorial/*.md")), *sorted((ROOT / "docs").glob("how_to/*.md"))]
LONGER = [page for page in PAGES if "<!-- slow -->" in page.read_text(encoding="utf-8")]
FURTHER = [ROOT / "docs" / "explanation" / f"{name}.md" for name in ("rivals", "seams", "tower_pairs")]
BLOCK = re.compile(r"(?:^<!-- (\w+) -->\n)?^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KINDS = ("bash", "python", "text", "toml", "yaml")
MARKS = ("", "run", "slow")
GROUPS = ("fusions", "suites", "scores", "aggregates")
STUB = {
    "question": "?",
    "preset": "mini",
    "metric": "exact/reading",
    "margin": 0.02,
    "arms": {"none": {"role": "baseline", "set": {"fusion.name": "none"}}, "concat": {"set": {"fusion.name": "concat"}}},
    "families": {"main": {"contrasts": [["concat", "none"]]}},
    "budgets": {"full": {"seeds": [0, 1]}},
}
"""What a part of a study is laid over."""


class Block(NamedTuple):
    mark: str
    kind: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = []
    for mark, kind, info, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        title = re.fullmatch(r'(?: title="([\w.]+)")?', info)
        assert title is not None, info
        found.append(Block(mark, kind, title[1] or "", text))
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("page", [*PAGES, *FURTHER], ids=lambda page: page.stem)
def test_every_block_holds(page: Path, folder: Path) -> None:
    run_page(page, folder, ("run",))


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if "<!-- slow -->" in page.read_text(encoding="utf-8")], ids=lambda page: page.stem
)
def test_every_block_that_takes_longer_holds_too(page: Path, folder: Path) -> None:
    run_page(page, folder, ("run", "slow"))


def test_nothing_that_is_typed_stands_outside_a_block() -> None:
    for page in PAGES:
        assert not re.findall(r"\n\n    (?:\.venv/bin/)?(?:fila-lab|make|python|pip) .*", BLOCK.sub("", page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("task", range(3))
def test_an_array_that_counts_from_0_gives_shares(task: int) -> None:
    assert "--array=0-" in (ROOT / "docs" / "how_to" / "cluster.md").read_text(encoding="utf-8")
    assert Shard.parse(f"{task}/3") == Shard(task, 3)


def test_the_sweep_shown_can_be_planned_in_a_study(folder: Path) -> None:
    shown, tuned = (yaml.safe_load(block.text) for block in blocks(ROOT / "docs" / "how_to" / "sweeps.md") if block.kind == "yaml")
    study = load_study(written("swept.yaml", {**tuned, **shown, "tuning": None}))
    assert [make_plan(study, budget).sweep_cells for budget in ("full", "small")] == [60, 8]


def run_page(page: Path, folder: Path, marks: tuple[str, ...]) -> None:
    """Write, check and, with one of these marks, run the blocks of a page in its folder."""
    names: dict[str, Any] = {"__name__": page.stem}
    for block in blocks(page):
        assert block.mark in MARKS
        assert block.kind in KINDS, f"{page.name}: a block without a language, or of another one:\n{block.text}"
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        if block.kind == "yaml":
            check_yaml(block)
        elif block.kind == "toml":
            announce(tomllib.loads(block.text), folder)
        elif block.kind == "bash":
            for words in commands(block.text):
                check_command(words)
                if block.mark in marks:
                    call(words)
        elif block.kind == "python":
            code = compile(block.text, page.name, "exec")
            if block.mark in marks or block.title:
                exec(code, names)
            check_imports(ast.parse(block.text))


def check_yaml(block: Block) -> None:
    """A study is one, and is planned where it needs no files; a part of one stands in one; a part of a run lies over a preset."""
    content = yaml.safe_load(block.text)
    heads = {key.partition(".")[0] for key in content}
    if "fields" in content:
        load_benchmark(Path(block.title))
    elif "extends" in content:
        written("parsed.yaml", content)  # the weights it names are the reader's: that it can be read has to do
        assert heads - {"extends"} <= RunConfig.model_fields.keys()
    elif heads <= StudyConfig.model_fields.keys():
        whole = {**STUB, **({"families": {}} if "arms" in content else {}), **content}
        study = load_study(block.title or written("part.yaml", whole))
        local = re.search(r"\bpath: |\.safetensors", block.text) is not None
        for budget in () if local or needs_elsewhere(study) else study.budgets:
            assert make_plan(study, budget).cells
    else:
        assert heads <= RunConfig.model_fields.keys()
        usual = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}
        resolve_run("base", usual, content)


def needs_elsewhere(study: StudyConfig) -> bool:
    """Whether it names suites that a page only tells of."""
    return any("path" in str(value) or "definition" in str(value) or "suite" in str(value) for value in study.set.values())


def written(name: str, content: dict[str, Any]) -> Path:
    path = Path(name)
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}, sort_keys=False), encoding="utf-8")
    return path


def announce(project: dict[str, Any], folder: Path) -> None:
    """Make the entry points of a page's package be there, as `pip install` does."""
    about = project["project"]
    points = about["entry-points"]
    assert points.keys() <= {f"fila_lab.{group}" for group in GROUPS}
    if "name" not in about:
        return
    lines = [line for group, own in points.items() for line in (f"[{group}]", *(f"{name} = {value}" for name, value in own.items()))]
    installed = folder / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    installed.mkdir(exist_ok=True)
    (installed / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    metadata = f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    (installed / "METADATA").write_text(metadata, encoding="utf-8")


def commands(script: str) -> Iterator[list[str]]:
    """The lines of a script, which a shell can read, as words."""
    told = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    filled = re.sub(r"\$(?:\(\(.*?\)\)|\{?\w+\}?)", "1", script.replace("\\\n", " "))  # what a shell would put in
    for line in filled.splitlines():
        if re.search(r"(?:^|[ /])(?:fila-lab|make) ", line) and not line.startswith("#"):
            for part in re.split(r" && ", line):
                yield shlex.split(part.partition(" > ")[0], comments=True)


def check_command(words: list[str]) -> None:
    """A line of `fila-lab` has a verb, and options that it has; one of `make` a target."""
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets), words
    if not words[0].endswith("fila-lab"):
        return
    command: Any = typer.main.get_command(app)
    name, left = "fila-lab", words[1:]
    while hasattr(command, "commands"):
        name, *left = left
        command = command.commands[name]
    context = command.make_context(name, list(left))
    for key in parse_set([pair for pair in context.params.get("sets") or [] if "=" in pair]):
        assert key.partition(".")[0] in RunConfig.model_fields, words


def call(words: list[str]) -> None:
    assert words[0] == "fila-lab"
    with pytest.raises(SystemExit) as stop:
        main(words[1:])
    assert not stop.value.code, words


def check_imports(tree: ast.Module) -> None:
    """What the code imports is there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), node.module
