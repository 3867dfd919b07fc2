"""A table for VLMEvalKit holds the suite's questions and images, and reads as a benchmark again."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from fila_lab.cli.verbs import app
from fila_lab.config import ConfigError, load_preset
from fila_lab.config.benchmark import load_benchmark
from fila_lab.data.suite import Item, Opening, Suite, TaskRule, Turn, UnusableRow, open_suite
from fila_lab.data.vlmevalkit import write_table

GEOMETRY = load_preset("mini").geometry
PAGES = [Image.new("RGB", (9, 7), colour) for colour in ("red", "green", "blue")]


class Given(Suite):
    """Items as they are given."""

    name = "given"

    def __init__(self, items: Sequence[Item], ending: str = "") -> None:
        self.given, self.ending = items, ending

    def tasks(self) -> dict[str, TaskRule]:
        return {"given": TaskRule(ending=self.ending)}

    def splits(self) -> tuple[str, ...]:
        return ("test",)

    def length(self, split: str) -> int:
        return len(self.given)

    def heading(self, split: str, index: int) -> Any:
        raise AssertionError("no table needs it")

    def items(self, split: str, index: int) -> tuple[Item, ...]:
        return (self.given[index],)

    def identity(self, split: str) -> str:
        return ""


def item(name: str, page: Image.Image | None, question: str, *answers: str, **known: Any) -> Item:
    return Item(name, "given", name, (Turn(question, answers),), page, known=known)


def table(path: Path) -> pd.DataFrame:
    """As VLMEvalKit reads it."""
    return pd.read_csv(path, sep="\t", keep_default_na=False)


def pixels(text: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image)


def read_back(path: Path, tmp_path: Path) -> list[Item]:
    suite = open_suite("vlmevalkit", Opening({"path": str(path)}, GEOMETRY, tmp_path))
    return [one for index in range(suite.length("test")) for one in suite.items("test", index)]


def test_questions_in_words(tmp_path: Path) -> None:
    items = [
        item("a", PAGES[0], 'What "is"\tit?', "red", colour="r"),
        item("b", PAGES[1], "Which?", "green", "['verde']", colour=None),
        item("c", PAGES[0], "Again?\nReally?", "rosso"),
    ]
    assert write_table(Given(items, "\nOne word."), "test", tmp_path / "t.tsv") == (3, 0)
    rows = table(tmp_path / "t.tsv")
    assert list(rows.columns) == ["index", "id", "image", "question", "answer", "category", "place", "colour"]
    assert list(rows["index"]) == [0, 1, 2]
    assert list(rows["question"]) == ['What "is"\tit?\nOne word.', "Which?\nOne word.", "Again?\nReally?\nOne word."]
    assert list(rows["answer"]) == ["red", repr(["green", "['verde']"]), "rosso"]
    assert rows["image"][2] == "0"  # the page stands there once
    assert np.array_equal(pixels(rows["image"][1]), np.asarray(PAGES[1]))
    again = read_back(tmp_path / "t.tsv", tmp_path)
    assert [one.turns[0] for one in again] == [Turn(one.turns[0].question + "\nOne word.", one.turns[0].answers) for one in items]
    shown = [one.pixels() for one in again]
    assert all(np.array_equal(np.asarray(image), np.asarray(one.image)) for image, one in zip(shown, items, strict=True))


def test_choices(tmp_path: Path) -> None:
    items = [
        item("a", PAGES[0], "Which?\nA. red\nB. blue", "A", options="red\nblue"),
        item("b", PAGES[1], "What?\nA. one\nB. two\nC. three", "C", options="one\ntwo\nthree"),
    ]
    write_table(Given(items, "\nAnswer with the letter."), "test", tmp_path / "t.tsv")
    rows = table(tmp_path / "t.tsv")
    assert list(rows["question"]) == ["Which?", "What?"]
    assert rows[["A", "B", "C"]].to_numpy().tolist() == [["red", "blue", ""], ["one", "two", "three"]]
    again = read_back(tmp_path / "t.tsv", tmp_path)
    assert [one.turns[0] for one in again] == [one.turns[0] for one in items]


def test_rows_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    from fila_lab.data.suite import ImageFile

    def gone() -> Image.Image:
        raise UnusableRow("x", "missing image", "it is gone")

    items = [Item("x", "given", "x", (Turn("?", ("a",)),), ImageFile("x", gone)), item("y", PAGES[0], "?", "a")]
    assert write_table(Given(items), "test", tmp_path / "t.tsv") == (1, 1)
    with pytest.raises(ConfigError, match="none of the 1 questions"):
        write_table(Given(items[:1]), "test", tmp_path / "none.tsv")
    assert [path.name for path in tmp_path.iterdir()] == ["t.tsv"]


def test_what_such_a_table_does_not_hold_is_refused(tmp_path: Path) -> None:
    talk = Item("a", "given", "a", (Turn("?", ("a",)), Turn("?", ("b",))), PAGES[0])
    for one, words in ((talk, "2 questions"), (item("a", None, "?", "a"), "no image")):
        with pytest.raises(ConfigError, match=words):
            write_table(Given([one]), "test", tmp_path / "t.tsv")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_verb_writes_generated_items(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "seam.tsv"
    words = ["data", "tsv", "seam", "--set", "data.seam.tasks={reading: 1}", "-n", "2", "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{out}: 6 questions\n"
    rows = table(out)
    assert list(rows["place"]) == ["cut", "sham", "intact"] * 2
    assert rows["category"].unique() == ["reading"]
    content = out.read_bytes()
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2
    assert "not written over" in again.output
    assert out.read_bytes() == content
    for bad in (["seam", "--path", "x"], ["docvqa"], ["sean", "--path", "x"]):
        assert CliRunner().invoke(app, ["data", "tsv", *bad, "--out", str(tmp_path / "x.tsv")]).exit_code == 2


def test_other_benchmarks_are_dumped_as_they_were() -> None:
    """Their definition is part of what their data are called by."""
    assert "answers_listed" not in str(load_benchmark("docvqa").model_dump(mode="json"))
    assert "answers_listed" in str(load_benchmark("vlmevalkit").model_dump(mode="json"))
