"""A suite and a benchmark of a separate, installed package: planned, trained on and evaluated as any other, and nothing in fila_lab/ knows
of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from fila_lab.cli.verbs import app
from fila_lab.data import suite as suites
from fila_lab.studies import ResultStore, run_study

SUITE = '''
"""Pages of one colour, and what colour they are."""

from functools import partial

from PIL import Image

from fila_lab.config import FilaError
from fila_lab.data import Heading, ImageFile, Item, Suite, TaskRule, Turn

COLOURS = ("red", "green", "blue", "white")


class Colours(Suite):
    name = "colours"

    def __init__(self, rows: int) -> None:
        self.rows = {"train": rows, "val": 6}

    def tasks(self):
        return {"colour": TaskRule("exact", ending=" one word")}

    def splits(self):
        return tuple(self.rows)

    def length(self, split):
        if split not in self.rows:
            raise FilaError(f"suite colours: there is no split {split!r}; choose train or val")
        return self.rows[split]

    def heading(self, split, index):
        return Heading("colour", (60 + 60 * (index % 2), 60))

    def items(self, split, index):
        colour = COLOURS[index % 4]
        page = ImageFile(f"{colour} page", partial(Image.new, "RGB", self.heading(split, index).size, colour))
        return (Item(f"{split}-{index}", "colour", f"{colour}-{index % 2}", (Turn("colour?", (colour,)),), page, known={"shade": colour}),)

    def identity(self, split):
        return f"colours 1, {split}, {self.length(split)} rows"


def open_colours(opening):
    return Colours(int(opening.options.get("rows", 24)))
'''
BENCHMARK = """
title: What colour a page is
split: test
score: exact_nocase
by: [kind]
ending: " one word"
file: "{split}.json"
fields: {id: id, image: page, question: ask, answers: colour}
known: {kind: kind}
"""
STUDY = """
name: colours
question: can it tell colours?
set:
  {{vit.weights: random, convnext.weights: random, language.weights: random, vit.width: 32, vit.heads: 4, convnext.dims: [8, 8, 16, 16],
    language.width: 32, language.intermediate: 64, train.batch_size: 4, train.validate_every: 2, runtime.feature_cache: false,
    data.train: {{suite: colours, options: {{rows: 12}}}}, data.train_items: null, data.val_items: null, data.workers: 0,
    data.evaluate: {{quiz: {{definition: {package}/quiz.yaml, path: {pages}}}}}}}
arms:
  none: {{role: baseline, set: {{fusion.name: none}}}}
  concat: {{set: {{fusion.name: concat}}}}
families: {{fusion: {{contrasts: [[concat, none]]}}}}
metric: exact_nocase/quiz
margin: 0.05
budgets: {{small: {{seeds: [0], workers: 1, set: {{train.steps: 2}}}}}}
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study of somebody whose package `colour_pages` is installed, with pages of theirs."""
    site, pages = tmp_path / "site", tmp_path / "pages"
    package, card = site / "colour_pages", site / "colour_pages-1.0.dist-info"
    for folder in (package, card, pages):
        folder.mkdir(parents=True)
    (package / "__init__.py").write_text(SUITE, encoding="utf-8")
    (package / "quiz.yaml").write_text(BENCHMARK, encoding="utf-8")
    (card / "METADATA").write_text("Metadata-Version: 2.1\nName: colour-pages\nVersion: 1.0\n", encoding="utf-8")
    (card / "entry_points.txt").write_text("[fila_lab.suites]\ncolours = colour_pages:open_colours\n", encoding="utf-8")
    rows = []
    for number, colour in enumerate(("Red", "Blue", "Green")):
        Image.new("RGB", (90, 60), colour.lower()).save(pages / f"{colour}.png")
        rows.append({"id": number, "page": f"{colour}.png", "ask": "colour?", "colour": [colour, "grey"], "kind": "plain"})
    (pages / "test.json").write_text(json.dumps(rows), encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("FILA_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(suites, "_OPENERS", dict(suites._OPENERS))
    monkeypatch.delitem(sys.modules, "colour_pages", raising=False)
    path = tmp_path / "colours.yaml"
    path.write_text(STUDY.format(package=package, pages=pages), encoding="utf-8")
    return path


def test_a_cell_trains_on_a_packages_suite_and_is_evaluated_on_its_benchmark(study: Path, tmp_path: Path) -> None:
    assert "colours" in suites.available_suites()
    planned = CliRunner().invoke(app, ["plan", str(study), "--out", str(tmp_path / "out")])
    assert planned.exit_code == 0, planned.output
    assert "2: 0 done, 0 failed, 2 to do" in planned.output
    out = run_study(study, out=tmp_path / "out", engine="inline", tracking=False, costs=False, prepare_function=None)
    store = ResultStore(out)
    assert len(store.results()) == 2
    for name, result in store.results().items():
        assert result.status == "done", result.failure
        assert set(result.metrics) == {"exact_nocase/quiz", "n/quiz"}
        assert set(result.validation) >= {"exact/colour", "n/colour"}
        assert result.metrics["n/quiz"] == 3
        assert any("plain" in figure for figure in result.benchmarks["quiz"])
        predictions = store.predictions(name)
        assert predictions["item_id"].tolist() == ["0", "1", "2"]
        assert set(predictions["kind"]) == {"plain"}
    cell = store.folder(next(iter(store.results())))
    told = CliRunner().invoke(
        app,
        ["evaluate", str(cell), "--benchmark", f"{study.parent}/site/colour_pages/quiz.yaml={study.parent}/pages", "--json", "-w", "0"],
    )
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["benchmarks"]["quiz"]["asked"] == 3


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("data.train={suite: colour}", "did you mean 'colours'"),
        ("data.evaluate={colours: {}}", "exact_nocase/quiz"),  # what it is judged by is not there any more
        ("data.evaluate={seam: {suite: colours, limit: 0}}", "limit"),
    ],
)
def test_what_the_package_does_not_have_is_refused_by_name(study: Path, setting: str, words: str) -> None:
    planned = CliRunner().invoke(app, ["plan", str(study), "--set", setting])
    assert planned.exit_code == 2
    assert words in planned.output, planned.output
