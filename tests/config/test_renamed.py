"""Old names: refused where users write, with the present one; translated where they were recorded, whatever else a file holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fila_lab.config import ConfigError, RunConfig, load_study, parse_set, resolve_run
from fila_lab.config.overrides import model_of
from fila_lab.config.renamed import (
    KEYS,
    SCHEMA,
    WORDS,
    present_columns,
    present_overrides,
    present_path,
    present_plan,
    present_result,
    present_run,
    present_study,
)
from fila_lab.studies.arms import resolve_arm

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}
STUDY = """
name: old
question: q
margin: 0.02
preset: mini
set: {STUDY}
arms: {none: {role: baseline, set: {fusion.name: none}}, concat: {set: {ARM}}}
families: {f: {contrasts: [[concat, none]]}}
budgets: {small: {seeds: [0], set: {BUDGET}}}
"""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from([*KEYS, "data", "seam", "families", "set", "x"]), below),
    max_leaves=12,
)


def there(path: str) -> bool:
    """Whether a run has a field of this dotted path."""
    model: Any = RunConfig
    for part in path.split("."):
        if model is None or part not in model.model_fields:
            return False
        model = model_of(model.model_fields[part].annotation)
    return True


def recorded(config: RunConfig) -> dict[str, Any]:
    """The configuration as it was written under the old names."""
    content = config.model_dump(mode="json")
    old: dict[str, Any] = {"suite": "seam"}
    for path, new in KEYS.items():
        value: Any = content
        for part in new.split(".") if new else ():
            value = value[part]
        if new:
            old[path.removeprefix("data.")] = value
    kept = {key: value for key, value in content["data"].items() if key not in ("seam", "train_tasks")}
    return {**content, "data": {**kept, **old}}


def test_old_names_are_none_and_new_ones_are() -> None:
    assert not [path for path in KEYS if there(path)]
    assert all(there(new) for new in KEYS.values() if new)


def written(old: str, where: str, folder: Path) -> RunConfig:
    """A run whose user still writes the old key there."""
    room, _, field = old.partition(".")
    if where == "set":
        return resolve_run("mini", RANDOM, parse_set([f"{old}=1"]))
    if where == "nested":
        return resolve_run("mini", RANDOM, {room: {field: 1}})
    if where == "preset":
        (folder / "own.yaml").write_text(f"extends: mini\n{room}: {{{field}: 1}}\n", encoding="utf-8")
        return resolve_run(str(folder / "own.yaml"))
    text = STUDY.replace(where, f"{old}: 1")
    for name in ("STUDY", "ARM", "BUDGET"):
        text = text.replace(name, "")
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    return resolve_arm(load_study(folder / "study.yaml"), "small", "concat", 0)[0]


@pytest.mark.parametrize(
    ("old", "where"),
    [
        *((old, "set") for old in KEYS),
        *((old, where) for old in ("data.photo_share", "data.suite") for where in ("nested", "preset", "STUDY", "ARM", "BUDGET")),
    ],
)
def test_an_old_key_is_refused_with_the_present_one(old: str, where: str, tmp_path: Path) -> None:
    said = f"{old} is now {KEYS[old]}" if KEYS[old] else f"{old} is gone"
    with pytest.raises(ConfigError, match=re.escape(said)):
        written(old, where, tmp_path)


def test_a_key_below_an_old_one_is_refused_too() -> None:
    with pytest.raises(ConfigError, match=re.escape("data.families is now data.seam.tasks")):
        resolve_run("mini", parse_set(["data.families.reading=0.5"]))


def test_a_recorded_run_is_read_as_it_was() -> None:
    config = resolve_run(
        "mini", {"data.seam.photo_share": 0.25, "data.seam.sizes": {}, "data.seam.seed": 7, "data.train_tasks": ["reading"]}
    )
    old = recorded(config)
    before = repr(old)
    assert "seam" not in old["data"]
    assert RunConfig.model_validate(present_run(old)) == config
    assert repr(old) == before, "what was read is not changed"
    assert present_result({"schema": 1, "config": old})["config"] == config.model_dump(mode="json")
    assert present_result({"schema": 1, "config": old})["schema"] == SCHEMA


def test_what_is_present_stays_as_it_is() -> None:
    config = resolve_run("mini").model_dump(mode="json")
    assert present_run(config) == config
    result = {"schema": SCHEMA, "config": config}
    assert present_result(result) is result
    overrides = {"data": {"train_items": 5, "seam": {"clutter": 2}}, "fusion.name": "none"}
    assert present_overrides(overrides) == overrides
    assert present_columns(["task", "family", "a"]) == {}, "a table that has both keeps both"


def test_overrides_are_translated_dotted_and_nested() -> None:
    assert present_overrides({"data.families.chart": 1, "data": {"suite": "seam", "photo_share": 0, "train_items": 9}}) == {
        "data.seam.tasks.chart": 1,
        "data.seam.photo_share": 0,
        "data.train_items": 9,
    }
    assert present_path("data.by_key") == "data.seam.by_key"
    assert present_path("train.steps") == "train.steps"


def test_a_recorded_study_is_that_of_today() -> None:
    old, new = {"data.clutter": 2}, {"data.seam.clutter": 2}
    study = {
        "set": old, "arms": {"a": {"set": old, "label": None}}, "budgets": {"small": {"set": old, "seeds": [0]}},
        "tuning": {"set": old, "space": {"data.photo_share": [0.1, 1]}}, "winners": {"a": old}, "factors": {"a": {"data.fonts": "serif"}},
    }  # fmt: skip
    translated = {
        "set": new, "arms": {"a": {"set": new, "label": None}}, "budgets": {"small": {"set": new, "seeds": [0]}},
        "tuning": {"set": new, "space": {"data.seam.photo_share": [0.1, 1]}}, "winners": {"a": new},
        "factors": {"a": {"data.seam.fonts": "serif"}},
    }  # fmt: skip
    assert present_study(study) == translated
    plan = {"study": study, "overrides": old, "cells": [{"id": "x", "config": {"data": {"clutter": 2}}}], "budget": "small"}
    assert present_plan(plan) == {
        "study": translated, "overrides": new, "cells": [{"id": "x", "config": {"data": {"seam": {"clutter": 2}}}}], "budget": "small",
    }  # fmt: skip


@given(JSON)
def test_nothing_that_json_can_hold_stops_a_reader(content: Any) -> None:
    for present in (present_run, present_overrides, present_study, present_plan, present_result):
        once = present(content)
        assert present(once) == once
        if not isinstance(content, dict):
            assert once == content
    plan = {"study": content, "cells": content, "overrides": content}
    assert set(present_plan(plan)) == set(plan)


def test_old_columns_are_renamed() -> None:
    assert present_columns([*WORDS, "place"]) == WORDS
