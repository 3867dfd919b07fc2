"""Every search that cannot work is refused by `plan`: one message with the field, its value and a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from sweep_study import sweep_study

from fila_lab.config import ConfigError, load_study
from fila_lab.studies.plan import make_plan, study_hash

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
ONE = {"objectives": ["exact/reading"], "sampler": "tpe", "confirm": None}
PRUNED = {**ONE, "pruner": "median", "set": {"train.steps": 100, "train.validate_every": 20}}


def planned(folder: Path, top: dict[str, Any] | None = None, budget: dict[str, Any] | None = None, **sweep: Any) -> Any:
    """The plan of a study that sweeps, of the file as a user writes it."""
    content = yaml.safe_load(sweep_study(**sweep)) | (top or {})
    content["budgets"]["swept"] |= budget or {}
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return make_plan(load_study(file), "swept", (budget or {}).get("overrides"))


def space(**fields: Any) -> dict[str, Any]:
    return {"space": {path.replace("__", "."): one for path, one in fields.items()}}


@pytest.mark.parametrize(("sweep", "words"), [
    (space(fusion__nam=["none"]), "sweep.space: unknown key 'fusion.nam' (did you mean 'name'?)"),
    (space(fusion__name=[]), "study.yaml: sweep.space.fusion.name = []: there is nothing to choose from"),
    (space(fusion__heads=[1, "two"]), "sweep.space.fusion.heads = [1, \"two\"]: fusion.heads = 'two': input should be a valid integer"),
    (space(fusion__depth=["last", "lst"]), 'sweep.space.fusion.depth = ["last", "lst"]: fusion.depth = \'lst\' is none of what it may be'),
    (space(train__weight_decay={"low": -1.0, "high": 1.0}), "train.weight_decay = -1.0: input should be greater than or equal to 0"),
    (space(fusion__name=["none", "concta"]), 'sweep.space.fusion.name: with "concta" no combination can run (1 were tried)'),
    (space(fusion__name=["none"], fusion__detail_resolution=["canvas"]), "none of the 1 combinations that were tried can run"),
    ({"objectives": []}, "sweep.objectives is empty; give metrics such as exact/reading"),
    ({"objectives": ["flop"]}, "sweep.objectives: nobody measures 'flop' (did you mean 'flops'?)"),
    ({"objectives": ["exact/readin"]}, "sweep.objectives = 'exact/readin' is no metric (did you mean 'exact/reading'?)"),
    ({"objectives": ["seam_gap/reading"]}, "only the test pool has it, and a search looks at validation items"),
    ({"objectives": ["flops", "flops"]}, "sweep.objectives: 'flops' stands there twice"),
    ({"objectives": {"flops": "maximize"}}, "sweep.objectives.flops = 'maximize': flops is a cost, and less is better"),
    ({"objectives": {"flops": "least"}}, "sweep.objectives = {'flops': 'least'} is none of what it may be"),
    ({"sampler": "nsga"}, "sweep.sampler = 'nsga' is unknown (did you mean 'nsga2'?)"),
    ({"sampler": {"n_startup_trials": 2}}, "name is missing"),
    ({"sampler": {"name": "tpe", "n_startup": 2}}, "sweep.sampler.n_startup: tpe has no such argument (did you mean 'n_startup_trials'?)"),
    ({"sampler": {"name": "tpe", "n_startup_trials": 0}}, "sweep.sampler.n_startup_trials = 0: input should be greater than 0"),
    ({"sampler": "cmaes"}, "sweep.sampler = 'cmaes' searches ranges alone, but space.fusion.name has choices"),
    ({"sampler": "cmaes", **space(train__warmup={"low": 0, "high": 0.5})}, "'cmaes' follows one objective, and there are 2"),
    ({"pruner": "median"}, "sweep.pruner = 'median' stops trials by one objective, and there are 2 (exact/reading, flops)"),
    ({**PRUNED, "pruner": "medan"}, "sweep.pruner: unknown pruner 'medan' (did you mean 'median'?)"),
    ({**PRUNED, "pruner": {"name": "percentile", "percentile": 900}}, "study.yaml: sweep.pruner.percentile = 900: input should be less"),
    ({**PRUNED, "pruner": {"name": "hyperband", "reduction_factor": 1}}, "sweep.pruner.reduction_factor = 1: input should be greater"),
    ({**PRUNED, "pruner": {"name": "threshold", "lower": float("nan")}}, "sweep.pruner.lower = nan: input should be a finite number"),
    ({**PRUNED, "pruner": {"name": "median", "n_warmup": 1}}, "unknown key 'sweep.pruner.n_warmup' (did you mean 'n_warmup_steps'?)"),
    ({**PRUNED, "pruner": {"name": "threshold"}}, "sweep.pruner.lower, upper: neither is given"),
    ({"space": {}}, "study.yaml: sweep.space is empty; name at least one field"),
    ({"sampler": "grid", "trials": 10**9, **space(train__weight_decay={"low": 0.0, "high": 0.1})}, "1,000,000,000 combinations are more"),
    ({**PRUNED, "objectives": ["flops"]}, "sweep.pruner = 'median' looks at validations, and the objective flops is a cost"),
    ({**PRUNED, "run_seeds": [7, 8]}, "sweep.pruner = 'median' looks at one cell's validations, and run_seeds = [7, 8]"),
    ({**PRUNED, "set": {"train.steps": 100, "train.validate_every": 100}}, "pruner 'median': train.validate_every=100"),
    ({"run_seeds": [1000, 2]}, "sweep.run_seeds = [1000, 2]: 2 is also in study 'thin', budgets.swept.seeds"),
    ({"run_seeds": [7, 7]}, "sweep.run_seeds = [7, 7]: a seed appears twice"),
    ({"confirm": {"seeds": 5}}, "sweep.confirm.seeds = 5, but study 'thin', budgets.swept.seeds has 3"),
    ({"confirm": {"seeds": [0, 9]}}, "sweep.confirm.seeds = [0, 9]: 9 is not in study 'thin', budgets.swept.seeds"),
    ({"arm": "conct"}, "sweep.arm: unknown arm 'conct' (did you mean 'concat'?)"),
    ({"set": {"fusion.name": "concat"}}, "sweep.set.fusion.name stands in sweep.space too"),
    ({"set": {"train.step": 3}}, "unknown key 'train.step' (did you mean 'steps'?)"),
    ({"trails": 3}, "unknown key 'sweep.trails' (did you mean 'trials'?)"),
])  # fmt: skip
def test_a_sweep_that_cannot_work(tmp_path: Path, sweep: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        planned(tmp_path, **sweep)
    assert words in str(error.value)
    assert "\n" not in str(error.value), "one message"


MANY = {
    **{path: [0, 0.1, 0.2] for path in ("train.weight_decay", "train.warmup")},
    **{path: [2, 3, 4] for path in ("geometry.detail_cells", "train.steps", "train.batch_size", "train.log_every", "train.gradient_clip")},
    **{path: [5, 6, 7] for path in ("train.validate_every", "train.eval_batch_size")},
}


@pytest.mark.parametrize("above", [{}, {"if": {"fusion.name": ["addition", "concat"]}}])
def test_a_value_is_tried_under_values_of_the_first_field_however_many_fields_there_are(tmp_path: Path, above: dict[str, Any]) -> None:
    last = {**above, "choices": [None, "shuffled"]}
    planned(tmp_path, space={"fusion.name": ["none", "addition", "concat"], **MANY, "fusion.control": last})
    with pytest.raises(ConfigError, match=r'sweep\.space\.fusion\.control: with "shuffled" no combination can run \(128 were tried\)'):
        planned(tmp_path, space={"fusion.name": ["none"], **MANY, "fusion.control": [None, "shuffled"]})


ARM = {"none": {"role": "baseline", "set": {"fusion.name": "none"}}}
MATCHED = ARM | {
    "concat": {"set": {"fusion.name": "concat"}},
    "addition": {"set": {"fusion.name": "addition"}, "match": {"flops": "concat"}},
}


@pytest.mark.parametrize(("top", "budget", "sweep", "words"), [
    ({"sweep": None}, {}, {}, "budgets.swept.sweep is true, but the study has no `sweep` section; add one"),
    ({}, {"tune": True}, {}, "budgets.swept: tune and sweep are both true, and a budget has one search"),
    ({}, {"sweep": False, "trials": 8}, {}, "budgets.swept.trials = 8, but the budget searches nothing"),
    ({"equalise": "time"}, {}, {}, "equalise = 'time' needs "),
    ({"equalise": "flops"}, {}, space(train__steps=[10, 20]), "sweep.space.train.steps: equalise = 'flops' sets the steps of every arm"),
    ({"arms": MATCHED}, {}, {"arm": "addition", **space(fusion__hidden=[8, 16])}, "fusion.hidden: match.flops of arm 'addition'"),
    ({"arms": {**ARM, "trial-3": {}}, "families": {}}, {}, {}, "arms.trial-3: a sweep names the front's points so"),
    ({"arms": {**ARM, "a": {"role": "front"}}, "families": {}}, {}, {}, "arms.a.role = 'front' is that of arms which a sweep finds"),
])  # fmt: skip
def test_a_study_that_a_sweep_does_not_go_with(
    tmp_path: Path, top: dict[str, Any], budget: dict[str, Any], sweep: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as error:
        planned(tmp_path, top, budget, **sweep)
    assert words in str(error.value)


@pytest.mark.parametrize("path", ["fusion.name", "fusion"])
def test_the_command_line_does_not_fix_what_is_searched(tmp_path: Path, path: str) -> None:
    planned(tmp_path)
    value = "none" if path == "fusion.name" else {"name": "none"}
    with pytest.raises(ConfigError, match=r"--set fusion\.name=none fixes what budget 'swept' sweeps; set sweep: false"):
        make_plan(load_study(tmp_path / "study.yaml"), "swept", {path: value})


def test_a_sweep_needs_no_families_and_a_budget_has_its_own_number_of_trials(tmp_path: Path) -> None:
    content = yaml.safe_load(sweep_study())
    del content["families"]
    content["budgets"]["swept"]["trials"] = 4
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    plan = make_plan(load_study(tmp_path / "study.yaml"), "swept")
    assert (plan.trials, plan.sweep_cells, plan.provisional) == (4, 4, True)
    del content["sweep"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    with pytest.raises(ConfigError, match="families is missing; add it"):
        load_study(tmp_path / "study.yaml")


@pytest.mark.parametrize("file", sorted((EXPERIMENTS / "results").glob("*/plan.json")), ids=lambda path: path.parent.name)
def test_published_studies_keep_their_hash_and_those_without_a_sweep_say_nothing_of_one(file: Path) -> None:
    from fila_lab.analysis.plan_file import read_plan_file

    plan = read_plan_file(file)
    assert study_hash(plan.study) == plan.study_hash
    if plan.study.sweep is not None:
        return
    dumped = plan.study.model_dump(mode="json")
    assert "sweep" not in dumped
    assert not any({"sweep", "trials"} & set(budget) for budget in dumped["budgets"].values())
    assert "run_seeds" not in (dumped["tuning"] or {})


def test_a_published_search_is_described_as_it_was() -> None:
    from fila_lab.studies.searches.tuning import describe

    kept = yaml.safe_load((EXPERIMENTS / "results" / "fusion_methods" / "tuning" / "winners.yaml").read_text(encoding="utf-8"))["search"]
    study = load_study(EXPERIMENTS / "results" / "fusion_methods" / "study.yaml")
    assert study.tuning is not None
    assert {**describe(study.tuning, study.metric), "optuna": kept["optuna"]} == kept
