"""Crossed factors: a grid expands into named arms, once; mistakes in it are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from fila_lab.config import ConfigError, StudyConfig, load_study
from fila_lab.studies.plan import make_plan, study_hash

GRID: dict[str, Any] = {
    "factors": {
        "fusion": {"concat": {"fusion.name": "concat"}, "add": {"fusion.name": "addition", "train.learning_rate": 0.002}},
        "fusion.depth": ["last", "multi"],
        "geometry.detail_cells": [2, 3],
    }
}
NONE = {"role": "baseline", "set": {"fusion.name": "none"}}


def _content(grid: Any = GRID, **changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "question": "does it cross?",
        "set": {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"},
        "arms": {"none": NONE},
        "families": {"native": {"contrasts": [["concat-multi-3", "none"]]}},
        "margin": 0.02,
        "budgets": {"small": {"seeds": [0, 1]}},
        "grid": grid,
    }
    return content | changes


def _load(folder: Path, content: dict[str, Any]) -> StudyConfig:
    path = folder / "crossed.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return load_study(path)


def test_every_combination_is_an_arm_with_its_levels(tmp_path: Path) -> None:
    study = _load(tmp_path, _content())
    assert list(study.arms) == ["none", *(f"{f}-{d}-{k}" for f in ("concat", "add") for d in ("last", "multi") for k in (2, 3))]
    assert study.arms["add-last-3"].set == {
        "fusion.name": "addition",
        "train.learning_rate": 0.002,
        "fusion.depth": "last",
        "geometry.detail_cells": 3,
    }
    assert study.factors["add-last-3"] == {"fusion": "add", "fusion.depth": "last", "geometry.detail_cells": "3"}
    assert "none" not in study.factors
    plan = make_plan(study)
    configs = {cell.arm: cell.config for cell in plan.cells}
    assert len(configs) == 9
    assert (configs["concat-last-2"].fusion.depth, configs["concat-last-2"].geometry.detail_cells) == ("last", 2)


def test_what_a_plan_keeps_reads_back_as_the_same_study(tmp_path: Path) -> None:
    study = _load(tmp_path, _content())
    kept = study.model_dump(mode="json")
    assert "grid" not in kept
    again = StudyConfig.model_validate(kept)
    assert (again.arms, again.factors) == (study.arms, study.factors)
    assert study_hash(again) == study_hash(study)


def test_factors_are_part_of_what_was_declared_and_their_absence_changes_no_hash(tmp_path: Path) -> None:
    study = _load(tmp_path, _content())
    assert study_hash(study) != study_hash(study.model_copy(update={"factors": {}}))
    published = Path(__file__).parents[2] / "experiments"
    plan = json.loads((published / "results" / "fusion_methods" / "plan.json").read_text(encoding="utf-8"))
    assert study_hash(StudyConfig.model_validate(plan["study"])) == plan["study_hash"]


def test_combinations_are_left_out_by_their_levels(tmp_path: Path) -> None:
    grid = GRID | {
        "leave_out": [
            {"fusion": "concat", "geometry.detail_cells": [2, 3], "fusion.depth": "last"},
            {"fusion": "add", "fusion.depth": "multi"},
        ]
    }
    study = _load(tmp_path, _content(grid))
    assert list(study.factors) == ["concat-multi-2", "concat-multi-3", "add-last-2", "add-last-3"]


def test_an_arm_declared_under_a_combinations_name_adds_to_it(tmp_path: Path) -> None:
    arms = {"concat-multi-3": {"role": "baseline", "label": "FILA", "set": {"fusion.hidden": 32}}}
    study = _load(tmp_path, _content(arms=arms, families={}))
    arm = study.arms["concat-multi-3"]
    assert (arm.role, arm.label, arm.set["fusion.hidden"], arm.set["fusion.depth"]) == ("baseline", "FILA", 32, "multi")
    assert list(study.arms)[3] == "concat-multi-3", "it keeps its place among the combinations"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": {"factors": {"k": {"k2": {"geometry.detail_cells": 2}}}}}, "grid.factors.k has 1 level"),
        ({"grid": {"factors": {"fusion.depth": [[[1, 2]], "last"]}}}, "has no name of its own; write the factor as a mapping"),
        ({"grid": {"factors": {"fusion.depth": ["last", "last"]}}}, "level last stands there twice"),
        ({"grid": GRID | {"leave_out": [{"fusoin": "add"}]}}, "unknown factor 'fusoin' (did you mean 'fusion'?)"),
        ({"grid": GRID | {"leave_out": [{"fusion": "ad"}]}}, "unknown level 'ad' (did you mean 'add'?)"),
        ({"grid": GRID | {"leave_out": [{"fusion": ["concat", "add"]}]}}, "leaves no combination"),
        ({"grid": GRID | {"levels": {}}}, "unknown key 'grid.levels'"),
        ({"factors": {"none": {"fusion": "none"}}}, "factors and grid are both given"),
        ({"grid": None, "families": {}, "factors": {"nona": {"a": "b"}}}, "factors: unknown arm 'nona' (did you mean 'none'?)"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        _load(tmp_path, _content(**change))
    assert message in str(error.value)
    assert "crossed.yaml: " in str(error.value)


def test_declared_factors_must_be_a_crossing(tmp_path: Path) -> None:
    arms = {"none": NONE, "late": {"set": {"fusion.depth": "last"}}, "all": {"set": {"fusion.depth": "multi"}}}
    common: dict[str, Any] = {"grid": None, "families": {}, "arms": arms}
    study = _load(tmp_path, _content(**common, factors={"late": {"depth": "last"}, "all": {"depth": "multi"}}))
    assert study.factors["all"] == {"depth": "multi"}
    with pytest.raises(ConfigError, match=r"factors.all has the levels of 'late'"):
        _load(tmp_path, _content(**common, factors={"late": {"depth": "last"}, "all": {"depth": "last"}}))
    with pytest.raises(ConfigError, match=r"factors.all has k, others depth"):
        _load(tmp_path, _content(**common, factors={"late": {"depth": "last"}, "all": {"k": "2"}}))
    with pytest.raises(ConfigError, match="two combinations are named 'a-b-c'"):
        _load(tmp_path, _content({"factors": {"x": {"a-b": {}, "a": {}}, "y": {"c": {}, "b-c": {}}}}))


def test_a_wrong_path_in_a_level_is_named_with_its_arm(tmp_path: Path) -> None:
    study = _load(tmp_path, _content({"factors": {"fusion.dept": ["last", "multi"]}}, families={}))
    with pytest.raises(ConfigError, match=r"arm 'last': unknown key 'fusion.dept' \(did you mean 'depth'"):
        make_plan(study)


@pytest.mark.parametrize("wrong", [True, 3, "x", "2024-01-01", [1], [[]], {"set": "x"}, {"set": [1]}, {"lable": "x"}], ids=str)
@pytest.mark.parametrize("where", ["arms", "arm"])
def test_arms_beside_a_grid_that_are_none_are_refused_by_the_model(wrong: Any, where: str) -> None:
    grid = {"factors": {"fusion.depth": ["last", "multi"]}}
    content = {"question": "?", "families": {}, "margin": 0.02, "budgets": {}, "name": "x", "grid": grid}
    with pytest.raises(ValidationError, match="arms"):
        StudyConfig.model_validate(content | {"arms": wrong if where == "arms" else {"last": wrong}})
