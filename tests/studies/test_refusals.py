"""What cannot work is refused by the plan, before anything is computed: field, value and remedy in one message."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from fila_lab.config import ConfigError, StudyConfig, load_study
from fila_lab.studies import make_plan

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}
TWO_TASKS = {"data.seam.tasks": {"reading": 0.85, "coarse": 0.15}}
ARMS = {"none": {"role": "baseline", "set": {"fusion.name": "none"}}} | {
    name: {"set": {"fusion.name": name}} for name in ("concat", "addition", "cross_attention")
}


def study(**fields: Any) -> StudyConfig:
    plain: dict[str, Any] = {
        "name": "small_study",
        "question": "Does it?",
        "set": RANDOM,
        "arms": ARMS,
        "families": {"all": {"contrasts": [["concat", "none"]]}},
        "margin": 0.02,
        "budgets": {"small": {"seeds": [0, 1]}},
    }
    return StudyConfig.model_validate({**plain, **fields})


def refused(budget: str | None = None, **fields: Any) -> str:
    with pytest.raises(ConfigError) as error:
        make_plan(study(**fields), budget)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("arm", ARMS)
def test_a_contrast_of_an_arm_with_itself(arm: str) -> None:
    message = refused(families={"all": {"contrasts": [["concat", "none"], [arm, arm]]}})
    assert f"families.all.contrasts[1] = [{arm}, {arm}] compares an arm with itself; name two arms" in message


@pytest.mark.parametrize("pair", [["concat", "none"], ["none", "concat"]])
@pytest.mark.parametrize("second", ["all", "more"])
def test_a_contrast_asked_for_twice_reversed_ones_included(pair: list[str], second: str) -> None:
    families: dict[str, Any] = {"all": {"contrasts": [["concat", "none"]]}}
    families.setdefault(second, {"contrasts": []})["contrasts"] += [["addition", "none"], pair]
    message = refused(families=families)
    assert "is the same comparison as families.all.contrasts[0] = [concat, none]" in message


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_an_interaction_asked_for_twice_in_any_of_its_eight_spellings(order: tuple[int, ...]) -> None:
    first = list(ARMS)
    other = [first[i] for i in order]
    signs = [1, -1, -1, 1]
    effect = dict(zip(other, signs, strict=True))
    declared = dict(zip(first, signs, strict=True))
    same = effect in (declared, {arm: -sign for arm, sign in declared.items()})
    families = {"one": {"interactions": [first]}, "two": {"interactions": [other]}}
    if same:
        assert "is the same comparison as families.one.interactions[0]" in refused(families=families)
    else:
        make_plan(study(families=families))


def test_one_contrast_by_two_metrics_is_two_questions() -> None:
    families = {"cut": {"metric": "exact/reading/cut", "contrasts": [["concat", "none"]]}, "all": {"contrasts": [["concat", "none"]]}}
    assert len(make_plan(study(families=families)).families) == 2
    named = families | {"again": {"metric": "exact/reading", "contrasts": [["none", "concat"]]}}
    assert "is the same comparison as families.all" in refused(families=named)


def test_an_arm_in_no_contrast_is_fine() -> None:
    assert "addition" in make_plan(study()).arms


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"metric": "exact/readin"}, "arm 'none': metric = 'exact/readin' is no metric (did you mean 'exact/reading'?)"),
        ({"metric": "exact/chart", "set": RANDOM | TWO_TASKS}, "choose one of reading, coarse"),
        ({"metric": "n/reading"}, "counts items"),
        ({"families": {"all": {"metric": "seam", "contrasts": [["concat", "none"]]}}}, "families.all.metric = 'seam' is no metric"),
        ({"margin": 2}, "small_study': margin = 2 is no share, but exact/reading is one, between 0 and 1; for 2 points write margin: 0.02"),
        ({"margin": 1, "metric": "fragmentation/reading"}, "write margin: 0.01"),
        ({"budgets": {"small": {"seeds": [3, 3]}}}, "a seed appears twice"),
        ({"budgets": {"small": {"seeds": [0], "arms": ["none", "concat", "none"]}}}, "'none' stands there twice"),
        ({"budgets": {"large": {"seeds": [0]}, "huge": {"seeds": [1]}}}, "--budget is missing"),
        ({"budgets": {}}, "has no budgets"),
        (
            {
                "metric": "seam_gap/reading",
                "tuning": {"space": {"train.learning_rate": [1e-3, 1e-2]}},
                "budgets": {"small": {"seeds": [0], "tune": True}},
            },
            "only the test pool has it",
        ),
    ],
)  # fmt: skip
def test_metrics_margins_and_budgets(fields: dict[str, Any], words: str) -> None:
    assert words in refused(**fields)


def test_a_metric_is_asked_of_every_arm_it_judges() -> None:
    arms = ARMS | {"specialist": {"set": {"data.seam.tasks": {"chart": 1.0}}}}
    assert "arm 'specialist': metric = 'exact/reading' is of a task" in refused(arms=arms)
    own = {"all": {"metric": "exact/reading/cut", "contrasts": [["concat", "none"]]}}
    make_plan(study(arms=arms, metric="exact/mean", families=own))
    both = {"all": {"metric": "exact/reading/cut", "contrasts": [["concat", "specialist"]]}}
    assert "arm 'specialist': families.all.metric" in refused(arms=arms, metric="exact/mean", families=both)
    pair, alone = {name: arms[name] for name in ("none", "specialist")}, {"all": {**own["all"], "contrasts": [["specialist", "none"]]}}
    assert "arm 'specialist': families.all.metric" in refused(arms=pair, metric="exact/mean", families=alone), "a family of all arms"


def test_a_study_with_one_budget_needs_no_name() -> None:
    only = study(budgets={"huge": {"seeds": [4, 5, 6]}})
    assert (make_plan(only).budget, make_plan(only).seeds) == ("huge", (4, 5, 6))
    assert make_plan(study(budgets={"full": {"seeds": [1]}, "small": {"seeds": [2]}})).budget == "small"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds: [0, 1, 2]", "seeds: [010, 1, 2]", "write 10"),
        ("seeds: [0, 1, 2]", "seeds: ['010', 1, 2]", "budgets.small.seeds.0 = '010'"),
        ("seeds: [0, 1, 2]", "seeds: [true, 1, 2]", "give a whole number"),
        ("seeds: [0, 1, 2]", "seeds: [0.0, 1, 2]", "give a whole number"),
        ("seeds: [0, 1, 2]", "seeds: [-1, 1, 2]", "budgets.small.seeds.0 = -1"),
        ("seeds: [0, 1, 2]", "seeds: [4294967296]", "budgets.small.seeds.0 = 4294967296"),
        ("seeds: [0, 1, 2]", "seeds: 3", "budgets.small.seeds = 3"),
        ("margin: 0.02", "margin: 2 %", "margin = '2 %'"),
        ("margin: 0.02", "margin: true", "give a number"),
        ("margin: 0.02", "margin: .inf", "give a finite number"),
        ("margin: 0.02", "margin: 0.02\nmargin: 0.05", "the key 'margin' stands there twice"),
        ("arms:\n", "arms:\n  concat: {role: rival}\n", "the key 'concat' stands there twice"),
    ],
)  # fmt: skip
def test_files_that_say_something_else_than_they_seem_to(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = (EXPERIMENTS / "remove_fusion.yaml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "study.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_study(path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"set": RANDOM | {"seed": 5}},
        {"arms": ARMS | {"other": {"set": {"fusion.name": "addition_gated", "seed": 5}}}},
        {"budgets": {"small": {"seeds": [0], "set": {"seed": 5}}}},
    ],
)
@pytest.mark.parametrize("field", ["seed", "preset"])
def test_what_a_study_says_elsewhere_is_not_taken_among_the_overrides_and_lost(field: str, fields: dict[str, Any]) -> None:
    named = {"seed": "list seeds in budgets.small.seeds", "preset": "name it where the preset is named"}
    said = json.loads(json.dumps(fields).replace('"seed": 5', f'"{field}": 5'))
    assert f"{field} = 5 " in (message := refused(**said))
    assert named[field] in message


def test_a_preset_is_not_chosen_by_an_override() -> None:
    with pytest.raises(ConfigError, match="preset = 'paper' is laid over a preset, and would be lost"):
        make_plan(study(), None, {"preset": "paper"})
