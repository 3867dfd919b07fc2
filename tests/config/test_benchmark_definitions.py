"""Definitions of benchmarks: what may stand in them, and one message for what may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from fila_lab.config import ConfigError
from fila_lab.config.benchmark import benchmark_names, load_benchmark

GOOD = "file: '*.jsonl'\nscore: anls\nfields: {question: q, image: i}\n"


def load(folder: Path, text: str) -> object:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return load_benchmark(path)


def test_layouts_have_in_common_what_stands_beside_them(tmp_path: Path) -> None:
    text = "score: anls\nfields: {question: q, answers: a}\nknown: {kind: k}\nlayouts:\n"
    text += "  - {file: x.json, fields: {image: i}}\n  - {file: y.json, fields: {image: j, question: p}, known: {kind: l}}\n"
    first, second = load(tmp_path, text).layouts  # type: ignore[attr-defined]
    assert (first.fields.question, first.fields.image, first.known) == ("q", "i", {"kind": "k"})
    assert (second.fields.question, second.fields.answers, second.known) == ("p", "a", {"kind": "l"})


@pytest.mark.parametrize("name", benchmark_names())
def test_shipped_ones_name_their_parts(name: str) -> None:
    made = load_benchmark(name)
    assert made.title
    assert len({layout.name for layout in made.layouts}) == len(made.layouts) >= 2
    assert not made.ending or made.ending.startswith("\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("anls", "anl"), "score = 'anl' is unknown (did you mean 'anls'?)"),
        (GOOD + "aggregate: pope", "aggregate = 'pope' is unknown; choose mean, pope_original"),
        (GOOD + "by: [kind]", "by = 'kind' is no known column; name it under known"),
        (GOOD + "known: {answers: a}", "known.answers has the name of a column of every frame"),
        (GOOD + "known: {seed: a}", "known.seed has the name of a column of every frame"),
        (GOOD + "images: ['{']", "images = '{' cannot be read"),
        (GOOD + "images: ['{}.png']", "images = '{}.png' has braces that hold no field's name"),
        (GOOD + "images: ['{a!r}']", "write {field} or {field:012d}"),
        (GOOD + "images: []", "images = []"),
        (GOOD + "before: '}'", "before = '}' cannot be read"),
        (GOOD.replace("*.jsonl", "{split.jsonl"), "file = '{split.jsonl' has braces that hold no word"),
        (GOOD + "answer_is: indx", "answer_is = 'indx' is unknown (did you mean 'index'?)"),
        (GOOD + "splits: {dev: x}", "splits.dev"),
        (GOOD + "anser_is: index", "unknown key 'anser_is'"),
        (GOOD.replace("question: q", "qestion: q"), "unknown key 'fields.qestion' (did you mean 'question'?)"),
        ("score: anls", "file is missing; add it"),
        (GOOD + "score: exact", "the key 'score' stands there twice"),
    ],
)
def test_a_mistake_is_one_message(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)
    assert words in str(error.value)
    assert "mine.yaml" in str(error.value)
    assert "layouts.0" not in str(error.value)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"benchmark 'docvqs' is unknown \(did you mean 'docvqa'\?\)"):
        load_benchmark("docvqs")
    with pytest.raises(ConfigError, match="no such file"):
        load_benchmark(tmp_path / "none.yaml")
