"""YAML is read strictly: nothing is lost, and nothing is read as something else, without a word."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fila_lab.config import ConfigError, load_preset, load_study, parse_set, resolve_run
from fila_lab.config.yaml_files import parse_yaml, read_yaml, yaml_text

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "experiments").rglob("*.yaml"), *(ROOT / "fila_lab").rglob("*.yaml")])
WORDS = st.text("abcdefgh_", min_size=1, max_size=6).filter(lambda word: not isinstance(yaml.safe_load(word), bool | type(None)))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_files_read_as_plain_yaml_does(path: Path) -> None:
    assert read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


@given(st.dictionaries(WORDS, VALUES, max_size=4), st.booleans())
@settings(max_examples=80, deadline=None)
def test_what_is_written_comes_back(content: dict[str, Any], flow: bool) -> None:
    assert parse_yaml(yaml_text(content, default_flow_style=flow), "text") == content


ODD = st.text("01789eExXboO+-._:# na\n", min_size=1, max_size=7)


@given(st.dictionaries(ODD, ODD | st.lists(ODD, max_size=2), max_size=3), st.sampled_from([True, False, None]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_texts_that_look_like_numbers_are_written_as_texts(content: dict[str, Any], flow: bool | None, flat: bool) -> None:
    """`0E0`, `08`, `1_0`, `1:30`, `a:1`: PyYAML leaves some without quotes, which the strict loader takes for numbers or refuses."""
    assert parse_yaml(yaml_text(content, flat_lists=flat, default_flow_style=flow), "text") == content


@given(st.lists(WORDS, min_size=2, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_a_key_given_twice_is_refused_wherever_it_stands(keys: list[str], data: st.DataObject) -> None:
    depth = data.draw(st.integers(0, 3))
    flow = "{" + ", ".join(f"{key}: {number}" for number, key in enumerate(keys)) + "}"
    block = "\n".join(f"{'  ' * depth}{key}: {number}" for number, key in enumerate(keys))
    nested = "\n".join(f"{'  ' * level}k{level}:" for level in range(depth))
    for text in (f"a: [{flow}]", f"{nested}\n{block}\n"):
        if len(set(keys)) == len(keys):
            assert parse_yaml(text, "text") == yaml.safe_load(text)
        else:
            with pytest.raises(ConfigError, match=r"stands there twice .*remove one"):
                parse_yaml(text, "text")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml, line 3: the key 'a' stands there twice (first in line 1)"),
        ("'a': 1\n\"a\": 2", "the key 'a' stands there twice"),
        ("1: a\n1.0: b", "stands there twice"),
        ("a: &x {b: 1, b: 2}\nc: {<<: *x}", "the key 'b' stands there twice"),
        ("a: &x {b: 1}\nc: &y {d: 2}\ne: {<<: *x, <<: *y}", "the key '<<' stands there twice"),
        ("on: 1", 'the key on is read as true by YAML; quote it: "on":'),
        ("arms: {no: {role: baseline}}", 'the key no is read as false by YAML; quote it: "no":'),
        ("Yes: 1", 'quote it: "Yes":'),
        ("off : 1", 'quote it: "off":'),
        ("~: 1", "is read as null by YAML"),
        ("null: 1", 'is read as null by YAML; quote it: "null":'),
        ("{document:1}", "write `document: 1`"),
        ("families: {reading: .5, document:.5}", "write `document: .5`"),
        ("arms:\n  none:{role: baseline}", "f.yaml, line 2: "),
        ("name: x\nmargin:0.02\nmetric: y", "line 2: no space behind the colon in `margin:0.02`; write `key: value`"),
        ("a:\n\tb: 1", "line 2: there is a tab, and YAML is indented with spaces; replace the tab by spaces"),
        ("a:\n  b: 1\n  \tc: 2", "there is a tab"),
        ("\ta: 1", "there is a tab"),
        ("seeds: [010]", "010 has a leading zero, and YAML reads it as base 8, which makes it 8; write 10"),
        ("seeds: [0, 08]", "08 has a leading zero, and YAML reads it as text; write 8"),
        ("seeds: [-07]", "write -7"),
        ("steps: 1:30", "base 60"),
        ("seeds: [0x10]", "read as 16"),
        ("1_0: {set: {}}", "read as 10"),
        ("rate: 1_000.5", "write 1000.5"),
        ("a: &x {b: *x}", "an anchor stands inside itself"),
        ("a: 1\n---\nb: 2", "single document"),
        ("a: [1,", "not valid YAML"),
        ("a: !!python/name:os.system x", "not valid YAML"),
        ("[1, 2]: 3", "keys are words"),
    ],
)
def test_what_yaml_would_read_as_something_else_is_refused_with_a_remedy(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_yaml(text, "f.yaml")
    assert words in str(error.value)
    assert str(error.value).startswith("f.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}}),
        ("a: &x {b: 1}\nc: &y {b: 2}\nd: {<<: [*x, *y]}", {"a": {"b": 1}, "c": {"b": 2}, "d": {"b": 1}}),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("'on': 1\n\"no\": 2", {"on": 1, "no": 2}),
        ("'a:b': 1", {"a:b": 1}),
        ("a: 1e-3\nb: 1E5\nc: 2.e3\nd: -1e+2", {"a": 0.001, "b": 1e5, "c": 2000.0, "d": -100.0}),
        ("a: '010'\nb: 0\nc: 0.5\ne: package:mini_vit_0", {"a": "010", "b": 0, "c": 0.5, "e": "package:mini_vit_0"}),
        ("a: no\nb: on", {"a": False, "b": True}),
    ],
)
def test_what_is_plain_is_read(text: str, content: Any) -> None:
    assert parse_yaml(text, "f.yaml") == content


def test_studies_presets_and_overrides_are_read_by_it(tmp_path: Path) -> None:
    study = (ROOT / "experiments" / "remove_fusion.yaml").read_text(encoding="utf-8")
    doubled = study.replace("arms:\n", "arms:\n  concat: {set: {fusion.name: addition}}\n")
    for name, text, read in (
        ("study.yaml", doubled, load_study),
        ("preset.yaml", "extends: mini\ntrain: {steps: 3, steps: 4}\n", lambda path: load_preset(str(path))),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match="stands there twice"):
            read(tmp_path / name)
    with pytest.raises(ConfigError, match="stands there twice"):
        parse_set(["train={steps: 3, steps: 4}"])
    with pytest.raises(ConfigError, match="write 10"):
        parse_set(["seed=010"])
    with pytest.raises(ConfigError, match="given twice"):
        parse_set(["train.steps=3", "train.steps=4"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"train.steps": 3, "train": {"steps": 4}}, "train.steps is set twice"),
        ({"geometry": {"tiling.overlap": 1, "tiling": {"overlap": 2}}}, "geometry.tiling.overlap is set twice"),
        ({"data.seam.tasks.reading": 0.5, "data.seam.tasks": {"reading": 1}}, "beside data.seam.tasks as a whole"),
    ],
)
def test_a_field_set_twice_by_the_same_overrides_is_refused(overrides: dict[str, Any], words: str) -> None:
    for order in (overrides, dict(reversed(overrides.items()))):
        with pytest.raises(ConfigError) as error:
            resolve_run("mini", order)
        assert words in str(error.value)
    assert resolve_run("mini", {"train.steps": 3}, {"train": {"steps": 4, "batch_size": 8}}).train.steps == 4  # another layer wins


def test_a_folder_is_no_yaml_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder, not a YAML file"):
        read_yaml(tmp_path)
    (tmp_path / "empty.yaml").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="found nothing"):
        read_yaml(tmp_path / "empty.yaml")


def test_nothing_else_loads_yaml() -> None:
    """One loader: another call would read duplicates and octal numbers again."""
    found = []
    for path in sorted((ROOT / "fila_lab").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "yaml" in text else ():
            named = isinstance(node, ast.Attribute) and "load" in node.attr and ast.unparse(node.value) == "yaml"
            if named or (isinstance(node, ast.ImportFrom) and node.module == "yaml"):
                found.append(str(path.relative_to(ROOT)))
    assert set(found) == {"fila_lab/config/yaml_files.py"}
