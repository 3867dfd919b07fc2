"""Every key says what it means, and what the keys say is what the models do."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from fila_lab.cli.keys import commented
from fila_lab.config import ConfigError, RunConfig, resolve_run
from fila_lab.config.base import Positive
from fila_lab.config.key_types import choices_of, inner_model, type_words
from fila_lab.config.keys import Key, benchmark_keys, find_keys, run_keys, study_keys

KEYS = (*run_keys(), *study_keys(), *benchmark_keys())


def test_every_key_has_a_meaning_and_says_what_it_takes() -> None:
    assert not [key.path for key in KEYS if not key.meaning]
    assert not [key.path for key in KEYS if not key.type and not any(other.path.startswith(f"{key.path}.") for other in KEYS)]


def test_the_keys_of_a_run_are_those_that_it_has() -> None:
    """Of a preset's whole content every leaf is a key, and every key that needs no name and no condition is there."""
    content = resolve_run("mini").model_dump(mode="json", exclude={"preset"}, context={"whole": True})

    def paths(below: dict[str, object], above: str = "") -> set[str]:
        found = set()
        for name, value in below.items():
            found |= {f"{above}{name}"} | (paths(value, f"{above}{name}.") if isinstance(value, dict) else set())
        return found

    free = {key.path: key for key in run_keys() if not key.where}
    sections = {path for path, key in free.items() if not key.type}
    assert sections <= paths(content)
    leaves = {path for path in free if path.rpartition(".")[0] in sections | {""}}
    assert leaves <= paths(content)


@pytest.mark.parametrize(
    "key", [key for key in run_keys() if key.choices and not key.where and "NAME" not in key.path], ids=lambda k: k.path
)
def test_what_a_key_lists_as_choices_is_taken_and_nothing_else_is(key: Key) -> None:
    *above, name = key.path.split(".")
    model: type[BaseModel] = RunConfig
    for part in above:
        inner, _ = inner_model(model.model_fields[part].annotation)
        assert inner is not None
        model = inner
    field = model.model_fields[name]
    taker: TypeAdapter[object] = TypeAdapter(Annotated[field.annotation, field])
    for choice in key.choices:
        assert taker.validate_python(choice) == choice
    if key.type != "text":
        with pytest.raises(ValidationError):
            taker.validate_python("none of these")


def test_words_of_types() -> None:
    assert type_words(Positive) == "whole number > 0"
    assert type_words(Positive | None) == "whole number > 0, or null"
    assert type_words(float | None, [Field(ge=0, lt=1)]) == "number >= 0 and < 1, or null"
    assert type_words(tuple[int, int]) == "list of 2 x whole number"
    assert type_words(tuple[tuple[int, str], ...]) == "list of [whole number, text]"
    assert type_words(dict[str, Literal["a", "b"]]) == "mapping of text to a | b"
    assert choices_of(Literal["a", "b"] | int | None) == ("a", "b")


def test_keys_are_found_by_their_beginning_and_by_names_of_ones_own() -> None:
    assert {key.path for key in find_keys("vit")} == {path for key in run_keys() if (path := key.path).split(".")[0] == "vit"}
    assert [key.path for key in find_keys("train.stages.align.steps")] == ["train.stages.NAME.steps"]
    assert {key.path.split(".")[0] for key in find_keys("budgets")} == {"budgets"}
    with pytest.raises(ConfigError, match=r"did you mean 'fusion.depth'"):
        find_keys("fusion.dept")


@pytest.mark.parametrize("preset", ["mini", "paper", "experiments/recipes/llava15.yaml"])
def test_what_is_shown_of_a_preset_is_that_preset(preset: str) -> None:
    content = resolve_run(preset).model_dump(mode="json", exclude={"preset"}, context={"whole": True})
    lines = list(commented(content, {key.path: key for key in run_keys() if not key.where}))
    assert yaml.safe_load("\n".join(lines)) == content
    assert any(line.startswith("  depth: multi") and "# `last`, `multi`" in line for line in lines)
    told = " ".join(line.partition("# ")[2] for line in lines)
    assert all(f"its keys: fila-lab keys {path})" in told for path in ("geometry.tiling.second", "data.train", "tower_pairs"))
