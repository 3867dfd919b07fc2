"""The plan is deterministic, its ids hold what changes a result and nothing else, and it refuses what cannot work."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fila_lab.cli.text import plan_text
from fila_lab.config import ConfigError, RunConfig, StudyConfig, config_hash, load_preset, load_study, resolve_run
from fila_lab.config.power import ASSUMED_SD, minimal_detectable_effect
from fila_lab.config.renamed import SCHEMA
from fila_lab.cost.closed.pages import page_training_flops
from fila_lab.studies import identity
from fila_lab.studies.arms import baseline
from fila_lab.studies.detectable import detectable
from fila_lab.studies.estimate import estimate
from fila_lab.studies.identity import cell_id, code_hash, data_hash, shaping_files
from fila_lab.studies.plan import make_plan, study_hash, trial_cells
from fila_lab.studies.result import CellResult
from fila_lab.studies.searches.trials import tuning_run

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))
RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}


def study(**fields: Any) -> StudyConfig:
    """Two arms, two seeds, a tuned budget."""
    plain: dict[str, Any] = {
        "name": "small_study",
        "question": "Does it?",
        "set": RANDOM,
        "arms": {"none": {"role": "baseline", "set": {"fusion.name": "none"}}, "concat": {"set": {"fusion.name": "concat"}}},
        "families": {"all": {"contrasts": [["concat", "none"]]}},
        "margin": 0.02,
        "budgets": {"small": {"seeds": [0, 1], "set": {"train.steps": 50}}, "full": {"seeds": [0, 1, 2], "tune": True}},
        "tuning": {"space": {"train.learning_rate": [1e-3, 4e-3]}, "trials": 3, "set": {"train.steps": 20}},
    }
    return StudyConfig.model_validate({**plain, **fields})


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_shipped_study_plans_in_every_budget(path: Path) -> None:
    loaded = load_study(path)
    for budget, chosen in loaded.budgets.items():
        plan = make_plan(loaded, budget)
        assert len(plan.cells) == len(plan.arms) * len(chosen.seeds)
        assert plan == make_plan(load_study(path), budget)
        assert json.loads(json.dumps(plan.to_dict()))["study_hash"] == plan.study_hash
        for cell in plan.cells:
            assert RunConfig.model_validate(cell.to_dict()["config"]) == cell.config


def test_layers_of_overrides() -> None:
    arms = study().model_dump()["arms"] | {"long": {"set": {"train.steps": 99}}}
    tuned = study(winners={"concat": {"train.learning_rate": 3e-3}}, arms=arms)
    by_arm = {cell.arm: cell.config for cell in make_plan(tuned, "small").cells}
    assert by_arm["none"].train.steps == 50  # budget over preset
    assert by_arm["long"].train.steps == 99  # arm over budget
    assert by_arm["concat"].train.learning_rate == 3e-3  # winner
    assert by_arm["none"].train.learning_rate == load_preset("mini").train.learning_rate
    over = make_plan(study(winners=tuned.winners), "small", {"train.steps": 7, "train.learning_rate": 1e-4})
    assert {(cell.config.train.steps, cell.config.train.learning_rate) for cell in over.cells} == {(7, 1e-4)}


def test_seeds_share_everything_but_the_seed() -> None:
    one, two = make_plan(study()).cells[:2]
    assert one.arm == two.arm
    assert one.config.model_copy(update={"seed": 1}) == two.config
    assert one.id != two.id


def test_tuning_and_winners() -> None:
    before = make_plan(study(), "full")
    assert before.provisional
    assert before.tuning_cells == 6
    trial = tuning_run(study(), "full", "concat", {"train.learning_rate": 2e-3})
    assert (trial.train.learning_rate, trial.train.steps) == (2e-3, 20)
    (cell,) = trial_cells(trial, "concat", "tuning", 2, study().tuning.seeds)
    assert (cell.phase, cell.trial, cell.seed, cell.id) == ("tuning", 2, 1000, cell_id(cell.config))
    after = make_plan(study(), "full", winners={"concat": {"train.learning_rate": 4e-3}, "none": {}})
    assert not after.provisional
    ids = {cell.id for cell in before.cells}
    assert {cell.arm for cell in after.cells if cell.id not in ids} == {"concat"}
    committed = make_plan(study(winners={"none": {"train.learning_rate": 3e-3}}), "small")
    assert committed.study_hash == after.study_hash  # winners are a result, not a declaration


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"train.weight_decay": 0.02}, False),
        ({"runtime.threads": 2}, False),
        ({"runtime.precision": "bf16"}, False),
        ({"runtime.attention": "flash"}, False),
        ({"data.seam.seed": 1}, False),
        ({"fusion.hidden": 32}, False),
        ({"seed": 3}, False),
        ({"preset": "another"}, True),
    ],
)
def test_what_is_in_the_id(change: dict[str, Any], same: bool) -> None:
    config = resolve_run("mini", RANDOM)
    changed = config.model_copy(update=change) if "preset" in change else resolve_run("mini", RANDOM, change)
    assert (cell_id(changed) == cell_id(config)) is same


def test_weights_count_by_their_bytes_not_their_path(tmp_path: Path) -> None:
    def with_weights(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        return cell_id(resolve_run("mini", RANDOM, {"vit.weights": str(path)}))

    first = with_weights("one.safetensors", b"same")
    assert first == with_weights("two.safetensors", b"same")
    assert first != with_weights("three.safetensors", b"other")
    assert first != with_weights("one.safetensors", b"now different")


@pytest.mark.parametrize("spec", ["package:no_such_tower", "no/such/file.safetensors"])
def test_missing_weights_are_refused_by_field_path_and_remedy(spec: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_plan(study(), "small", {"convnext.weights": spec})
    message = str(error.value)
    assert "convnext.weights" in message
    assert spec.removeprefix("package:") in message
    assert "convnext.weights=random" in message


def test_data_hash_is_of_the_items_alone() -> None:
    config = resolve_run("mini", RANDOM)
    assert data_hash(config) == data_hash(resolve_run("mini", RANDOM, {"train.steps": 3, "data.train_items": 100, "fusion.name": "none"}))
    assert data_hash(config) != data_hash(resolve_run("mini", RANDOM, {"data.seam.by_key": 0.5}))


def test_code_hash_follows_the_rooms_that_shape_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {path.relative_to(identity.PACKAGE).as_posix() for path in shaping_files()}
    assert {"config/run.py", "config/tiling.py", "imaging/geometry.py", "evaluation/seam.py", "modeling/encoder.py"} <= names
    fields = {type(value).__module__.removeprefix("fila_lab.config.") for _, value in resolve_run("mini", RANDOM)}
    assert {f"config/{module}.py" for module in fields - {"builtins"}} <= names, "the source of a field of runs is not hashed"
    assert not any(name.startswith(("cli", "analysis", "studies", "cost")) for name in names)
    for name in (*identity.SHAPING, "cli"):
        path = tmp_path / name if name.endswith(".py") else tmp_path / name / "one.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("a = 1\n", encoding="utf-8")
    monkeypatch.setattr(identity, "PACKAGE", tmp_path)
    before = code_hash()
    (tmp_path / "cli/one.py").write_text("a = 2\n", encoding="utf-8")
    assert code_hash() == before
    (tmp_path / "imaging/one.py").write_text("a = 2\n", encoding="utf-8")
    assert code_hash() != before


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: make_plan(study(), "fulll"), "did you mean 'full'"),
        (lambda: make_plan(study(), "small", {"seed": 3}), "edit"),
        (lambda: make_plan(study(), "small", {"fusion.nam": "none"}), "arm 'none': unknown key 'fusion.nam'"),
        (lambda: make_plan(study(), "small", {"fusion.name": "none"}), "resolve to the same run"),
        (lambda: make_plan(study(), "full", {"train.learning_rate": 1e-3}), "fixes what budget 'full' tunes"),
        (lambda: make_plan(study(tuning=None), "full"), "no `tuning` section"),
        (
            lambda: searched("train.batch_size", 4, 16),
            "tuning.space.train.batch_size = [4, 16]: study 'small_study', arm 'none': train.batch",
        ),
        (lambda: searched("train.steps", 50, 60), "draws any number between them, with a fraction"),
        (lambda: searched("train.learnin_rate", 1e-4, 1e-2), "tuning.space.train.learnin_rate = [0.0001, 0.01]: study 'small_study', arm"),
        (lambda: searched("runtime.feature_cache", 1e-4, 1e-2), "tuning.space.runtime.feature_cache = "),
        (lambda: searched("vit.mlp_ratio", 1, -1), "give 0 < low < high"),
        (lambda: make_plan(study(budgets={"full": {"seeds": [1000], "tune": True}}), "full"), "fresh seeds"),
        (lambda: make_plan(study(budgets={"small": {"seeds": [1, 1]}}), "small"), "appears twice"),
        (lambda: make_plan(study(equalise="time"), "small"), "needs step_seconds.none and step_seconds.concat"),
        (lambda: make_plan(matched(), "small", {"fusion.hidden": 9}), "arm 'wide': match.parameters solves fusion.hidden, but --set"),
        (lambda: make_plan(matched({"fusion": {"hidden": 9}}), "small"), "arm 'wide': match.parameters solves fusion.hidden, but set"),
        (lambda: make_plan(matched({"fusion.name": "none"}), "small"), "arm 'wide': match.parameters = concat: fusion.name = 'none' has"),
    ],
)
def test_what_cannot_work_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        make()
    assert words in str(error.value)


@pytest.mark.parametrize("name", ["", " ", "\t\n", "\u3000", "\u200b"])
def test_a_blank_name_of_an_arm_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is a blank name"):
        study(arms={"none": {}, "concat": {}, name: {}})


def searched(path: str, low: float, high: float) -> object:
    """A plan that tunes one field."""
    return make_plan(study(tuning={"space": {path: [low, high]}, "trials": 2}), "full")


def matched(fields: dict[str, Any] | None = None, **further: Any) -> StudyConfig:
    """An addition with the parameters of concat, and what it is compared with."""
    arms: dict[str, Any] = {
        "none": {"role": "baseline", "set": {"fusion.name": "none"}},
        "concat": {"set": {"fusion.name": "concat"}},
        "wide": {"set": {"fusion.name": "addition", **(fields or {})}, "match": {"parameters": "concat"}},
        "tiles": {"role": "rival", "set": {"fusion.name": "none"}, "match": {"flops": "concat", "tolerance": 1.6}},
    }
    return study(arms=arms, **further)


def test_a_matched_width_stands_in_the_cells_config_and_the_plan_says_how_near_it_is() -> None:
    plan = make_plan(matched())
    by_arm = {cell.arm: cell.config for cell in plan.cells}
    assert by_arm["wide"].fusion.hidden == 251
    assert by_arm["tiles"].geometry.vit_scale == 2
    by_hand = study(arms={"none": {"set": {"fusion.name": "none"}}, "concat": {"set": {"fusion.name": "addition", "fusion.hidden": 251}}})
    assert {cell.id for cell in plan.cells if cell.arm == "wide"} == {cell.id for cell in make_plan(by_hand).cells if cell.arm == "concat"}
    kept = json.loads(json.dumps(plan.to_dict()))["matches"]
    assert list(kept) == ["wide", "tiles"]
    assert (kept["wide"]["path"], kept["wide"]["value"], kept["wide"]["target"]) == ("fusion.hidden", 251, "concat")
    text = plan_text(plan, estimate(plan), Path("out"))
    assert "matched   wide: fusion.hidden = 251 for the parameters of concat: " in text
    assert ", +0.01% of the whole model" in text
    assert "matched   tiles: geometry.vit_scale = 2 for the FLOPs of concat" in text


def test_a_match_that_no_scale_can_reach_is_refused_with_what_stands_in_the_way() -> None:
    """Enlarged canvases and a second grid of tiles both add tiles."""
    fields = {"fusion.name": "none", "geometry.tiling.second": {"max_tiles": 7}}
    tiles = {"set": fields, "match": {"flops": 5e8, "tolerance": 0.9}}
    arms = {"none": {"role": "baseline", "set": {"fusion.name": "none"}}, "concat": tiles}
    with pytest.raises(ConfigError, match=r"with geometry\.tiling\.second the ViT's scale cannot add tiles too"):
        make_plan(study(arms=arms))


def test_a_grid_has_no_more_trials_than_combinations_and_others_as_many_as_they_are_told() -> None:
    space = {"train.weight_decay": {"low": 0.0, "high": 0.1, "step": 0.05}}
    for sampler, wanted in (("grid", 3), ("random", 7)):
        plan = make_plan(study(tuning={"space": space, "trials": 7, "sampler": sampler}), "full")
        assert plan.trials == wanted


def test_cells_on_several_devices_are_told_the_memory_of_each_by_every_strategy() -> None:
    plan = make_plan(study(), overrides={"runtime.devices": 4, "runtime.strategy": "fsdp"})
    text = plan_text(plan, estimate(plan), Path("out"))
    assert re.search(r"on each of 4 devices about \S+ \S+ by fsdp \(\S+ \S+ by ddp, \S+ \S+ by deepspeed\); a checkpoint about \S+", text)
    alone = make_plan(study())
    assert "on each of" not in plan_text(alone, estimate(alone), Path("out"))


def test_arms_whose_seam_gaps_are_not_of_seams_alone_are_named() -> None:
    arms = {"none": {"set": {"fusion.name": "none"}}, "k2": {"set": {"geometry.detail_cells": 2}}, "k3": {}}
    plan = make_plan(study(arms=arms, families={}, tuning=None, budgets={"small": {"seeds": [0, 1]}}))
    (line,) = (line for line in plan_text(plan, estimate(plan), Path("out")).splitlines() if line.startswith("phase"))
    assert line.startswith("phase     cut and sham places of k2 (k = 2) never share the phase of the ConvNeXt's stride")
    native = make_plan(study())
    assert "\nphase " not in plan_text(native, estimate(native), Path("out"))


def test_a_plan_that_compares_nothing_says_so() -> None:
    for fields, budget, words in (
        ({"families": {}}, "small", "effect    none to find: the study declares no contrasts"),
        ({"budgets": {"one": {"seeds": [0], "arms": ["none"]}}, "tuning": None}, "one", "effect    none to find: no contrast of the study"),
        ({}, "small", "effect    the smallest paired difference"),
    ):
        plan = make_plan(study(**fields), budget)
        text = plan_text(plan, estimate(plan), Path("out"))
        assert words in text
        assert ("family    " in text) == ("smallest" in words)


def test_a_target_follows_the_overrides_and_the_budgets_arms_need_not_hold_it() -> None:
    small = {"small": {"seeds": [0], "arms": ["none", "wide"]}}
    plain, finer = (make_plan(matched(budgets=small), "small", over) for over in ({}, {"convnext.dims": [24, 48, 72, 128]}))
    widths = [next(cell.config.fusion.hidden for cell in plan.cells if cell.arm == "wide") for plan in (plain, finer)]
    assert widths[0] == 251
    assert widths[1] != 251


def test_matching_comes_before_equal_flops() -> None:
    budget = {"small": {"seeds": [0], "set": {"train.steps": 1000}}}
    configs = {cell.arm: cell.config for cell in make_plan(matched(equalise="flops", budgets=budget)).cells}
    for config in configs.values():
        spent = config.train.steps * page_training_flops(config)
        assert spent == pytest.approx(1000 * page_training_flops(configs["none"]), abs=page_training_flops(config) / 2)
    assert configs["tiles"].train.steps < configs["wide"].train.steps < 1000


def test_a_study_without_matches_factors_and_interactions_keeps_its_hash() -> None:
    plain = study()
    own = {"interactions", "metric", "by"}
    absent = {"arms": {name: {"match"} for name in plain.arms}, "families": dict.fromkeys(plain.families, own)}
    assert study_hash(plain) == config_hash(plain.model_dump(mode="json", exclude={"winners": True, "factors": True, **absent}))
    assert study_hash(matched()) != study_hash(matched({"fusion.heads": 2}))


def test_equal_flops_gives_the_dearer_arm_fewer_steps() -> None:
    none, concat = (cell.config for cell in make_plan(study(equalise="flops", budgets={"small": {"seeds": [0]}})).cells)
    assert none.train.steps == load_preset("mini").train.steps
    assert concat.train.steps < none.train.steps
    assert concat.train.steps == round(none.train.steps * page_training_flops(none) / page_training_flops(concat))


def test_equal_time_uses_the_declared_seconds() -> None:
    timed = study(equalise="time", step_seconds={"none": 0.1, "concat": 0.2})
    none, concat = (cell.config.train.steps for cell in make_plan(timed).cells if cell.seed == 0)
    assert (none, concat) == (50, 25)


def test_estimate_counts_from_the_folder(tmp_path: Path) -> None:
    plan = make_plan(study())
    empty = estimate(plan, tmp_path, workers=2)
    assert [(arm.done, arm.left, arm.measured) for arm in empty.arms] == [(0, 2, False)] * 2
    assert empty.seconds_left > 0
    assert empty.cache_bytes > 0
    for cell, status in ((plan.cells[0], "done"), (plan.cells[2], "failed")):
        folder = tmp_path / "cells" / cell.id
        folder.mkdir(parents=True)
        result = {
            "schema": SCHEMA,
            "id": cell.id,
            "status": status,
            "config": {},
            "metrics": {},
            "validation": {},
            "timing": {"total": 40.0},
        }
        (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    torn = tmp_path / "cells" / plan.cells[1].id
    torn.mkdir()
    (torn / "result.json").write_text('{"schema": 2, "id"', encoding="utf-8")
    none, concat = estimate(plan, tmp_path).arms
    assert (none.done, none.failed, none.left, none.seconds, none.measured) == (1, 0, 1, 40.0, True)
    assert (concat.done, concat.failed, concat.left, concat.measured) == (0, 1, 1, False)


def test_a_plan_says_what_its_seeds_can_show_at_the_noise_it_has_measured(tmp_path: Path) -> None:
    plan = make_plan(load_study(EXPERIMENTS[0].parent / "fusion_methods.yaml"), "full", RANDOM)
    assumed = detectable(plan, {})
    assert {name: (own.contrasts, own.needed, own.measured) for name, own in assumed.items()} == {
        "fusions": (6, 8, False),
        "over_capacity": (3, 7, False),
        "by_place": (3, 7, False),
        "controls": (5, 8, False),
        "content": (3, 7, False),
    }
    assert assumed["fusions"].effect == pytest.approx(minimal_detectable_effect(ASSUMED_SD, 9, 6))
    # Arms differ by seed alone: none by (0, 2, 4, ...) points, concat by none of it, so that concat - none has the sd of none.
    results = {
        cell.id: CellResult.model_validate(
            {
                "schema": SCHEMA,
                "id": cell.id,
                "status": "done",
                "config": {},
                "validation": {},
                "metrics": {"exact/fine/cut": 0.5 + (0.02 * cell.seed if cell.arm == "none" else 0)},
            }
        )
        for cell in plan.cells
        if cell.arm in ("none", "foreign")
    }
    measured = detectable(plan, results)
    assert measured["controls"].measured
    assert measured["controls"].sd == pytest.approx(statistics.stdev(0.02 * seed for seed in range(9)))
    assert not measured["content"].measured
    assert detectable(make_plan(plan.study, "small", RANDOM), {})["fusions"].effect is None


def test_an_untuned_budget_has_no_trials_and_stands_as_it_is() -> None:
    plan = make_plan(study(), "small")
    assert (plan.trials, plan.tuning_cells, plan.provisional) == (0, 0, False)
    assert make_plan(study(), "full").trials == 3
    assert [cell.seed for cell in plan.cells] == [0, 1, 0, 1]
    assert {cell.phase for cell in plan.cells} == {"main"}


def test_a_budget_of_some_arms_judges_what_it_runs() -> None:
    arms = study().model_dump()["arms"] | {"addition": {"set": {"fusion.name": "addition"}}}
    families = {
        "one": {"contrasts": [["concat", "none"], ["addition", "none"]], "interactions": []},
        "two": {"contrasts": [["addition", "concat"]]},
    }
    plan = make_plan(study(arms=arms, families=families, budgets={"small": {"seeds": [3], "arms": ["concat", "none"]}}))
    assert plan.arms == ("none", "concat")
    assert plan.families == {"one": (("concat", "none"),)}
    for wrong, words in (([], "budgets.small.arms is empty"), (["none", "concat", "none"], "'none' stands there twice")):
        with pytest.raises(ConfigError, match=words):
            make_plan(study(arms=arms, budgets={"small": {"seeds": [3], "arms": wrong}}))


@pytest.mark.parametrize("space", [[4e-3, 1e-3], [0, 1e-3], [1e-3, 1e-3], [-1e-3, 1e-3]])
def test_a_range_to_search_that_is_none(space: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"tuning\.space\.train\.learning_rate.*low < high"):
        make_plan(study(tuning={"space": {"train.learning_rate": space}, "trials": 3}), "full")


@pytest.mark.parametrize(
    ("budgets", "name", "taken"), [(["small", "full"], None, "small"), (["full"], None, "full"), (["a", "full"], "full", "full")]
)
def test_the_budget_that_is_meant(budgets: list[str], name: str | None, taken: str) -> None:
    own = study(budgets={budget: {"seeds": [0]} for budget in budgets}, tuning=None)
    assert make_plan(own, name).budget == taken


def test_several_budgets_none_small_must_be_chosen_from() -> None:
    with pytest.raises(ConfigError, match=r"--budget is missing.*choose a, full"):
        make_plan(study(budgets={"a": {"seeds": [0]}, "full": {"seeds": [0]}}, tuning=None))


@pytest.mark.parametrize(
    ("seconds", "steps"), [({"none": 0.1, "concat": 0.2}, 25), ({"none": 1e-4, "concat": 0.2}, 1), ({"none": 2.0, "concat": 0.5}, 200)]
)
def test_equal_time_takes_at_least_one_step_and_the_seconds_it_is_given(seconds: dict[str, float], steps: int) -> None:
    declared = study(equalise="time", step_seconds={"none": 1.0, "concat": 1.0})
    none, concat = (cell.config.train.steps for cell in make_plan(declared, step_seconds=seconds).cells if cell.seed == 0)
    assert (none, concat) == (50, steps)
    assert make_plan(declared, step_seconds=seconds).step_seconds == seconds
    assert make_plan(declared).step_seconds == {"none": 1.0, "concat": 1.0}
    for wrong in ({"none": 0.1}, {"none": 0.1, "concat": 0}, {}):
        with pytest.raises(ConfigError, match="needs step_seconds"):
            make_plan(declared, step_seconds=wrong)


def test_a_trial_takes_the_tunings_settings_and_its_own_over_the_budgets() -> None:
    own = study(tuning={"space": {"train.learning_rate": [1e-3, 4e-3]}, "trials": 3, "run_seed": 77, "set": {"train.steps": 20}})
    trial = tuning_run(own, "full", "none", {"train.learning_rate": 2e-3}, {"train.batch_size": 5})
    assert (trial.seed, trial.train.steps, trial.train.learning_rate, trial.train.batch_size) == (77, 20, 2e-3, 5)


def test_the_baseline_is_the_arm_of_that_role_else_the_first() -> None:
    arms = {"concat": {"set": {"fusion.name": "concat"}}, "none": {"role": "baseline", "set": {"fusion.name": "none"}}}
    assert baseline(study(arms=arms)) == "none"
    assert baseline(study(arms={name: {"set": arm["set"]} for name, arm in arms.items()})) == "concat"
