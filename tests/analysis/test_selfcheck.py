"""Self-checks: they hold on what was run, and each notices what was changed afterwards, for the arms concerned and no others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import write_study

from fila_lab.analysis.check import Check
from fila_lab.analysis.findings import Findings

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
STUDIES = sorted(path.parent.name for path in RESULTS.glob("*/plan.json"))
PLANNED, TRAINING, TUNING, ITEMS, RECOMPUTED, ENVIRONMENT = (
    "every cell ran as planned",
    "equal training",
    "equal tuning",
    "same test items in every cell",
    "metrics recomputed from predictions",
    "one code, data, weights, versions and precision",
)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three arms, three seeds, each tuned by four trials."""
    return write_study(tmp_path_factory.mktemp("three"), arms=("none", "concat", "addition"), seeds=(0, 1, 2), triplets=24)


@pytest.fixture
def out(three: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(three, tmp_path / "out"))


def _checks(out: Path) -> dict[str, Check]:
    return {check.name: check for check in Findings.of(out).checks}


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def _failed(out: Path) -> dict[str, Check]:
    return {name: check for name, check in _checks(out).items() if check.passed is False}


def test_everything_holds_on_a_study_as_it_was_run(three: Path) -> None:
    made = {name: check.passed for name, check in _checks(three).items()}
    assert made.pop("A/A pairs of the baseline") is None
    assert made == dict.fromkeys([PLANNED, TRAINING, TUNING, ITEMS, RECOMPUTED, ENVIRONMENT], True)


QUICK = ("calibration", "families", "fusion_matched_small", "remove_fusion")


@pytest.mark.parametrize("study", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in STUDIES])
def test_everything_holds_on_the_committed_results(study: str) -> None:
    checks = _checks(RESULTS / study)
    assert {name: check.text for name, check in checks.items() if check.passed is False} == {}
    assert checks[RECOMPUTED].passed, checks[RECOMPUTED].text


METRICS = [
    *("exact/reading", "exact/reading/cut", "exact/reading/sham", "exact/reading/intact", "exact/mean", "exact/coarse", "n/reading"),
    *("seam_gap/reading", "sham_gap/reading", "fragmentation/reading", "fragmentation_reverse/reading", "sham_gap/coarse"),
]


EDITS = [("raised", metric) for metric in METRICS] + [(edit, "exact/reading/cut") for edit in ("null", "gone")]
MORE_EDITS = [(edit, metric) for edit in ("null", "gone") for metric in METRICS if metric != "exact/reading/cut"]


@pytest.mark.parametrize(("edit", "metric"), [*EDITS, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE_EDITS)])
def test_every_metric_edited_in_a_result_is_noticed(out: Path, metric: str, edit: str) -> None:
    def change(result: dict[str, Any]) -> None:
        if edit == "gone":
            del result["metrics"][metric]
        else:
            result["metrics"][metric] = 0.9 + result["metrics"][metric] % 0.05 if edit == "raised" else None

    _edit(out / "cells" / "concat-0002" / "result.json", change)
    failed = _failed(out)
    assert list(failed) == [RECOMPUTED]
    assert f"concat seed 2: {metric} is {'0.9' if edit == 'raised' else 'missing'}" in failed[RECOMPUTED].text
    assert failed[RECOMPUTED].affects == {"concat"}
    assert failed[RECOMPUTED].spoils(("concat", "none"))
    assert not failed[RECOMPUTED].spoils(("addition", "none"))


def test_answers_marked_right_that_are_wrong_are_noticed(out: Path) -> None:
    path = out / "cells" / "addition-0001" / "predictions.parquet"
    frame = pd.read_parquet(path)
    frame.assign(correct=True).to_parquet(path)
    check = _failed(out)[RECOMPUTED]
    assert f"addition seed 1: {int((~frame['correct']).sum())} answers are marked wrongly" in check.text
    assert check.affects == {"addition"}


def test_what_predictions_cannot_tell_is_said(out: Path) -> None:
    for path in out.glob("cells/*-000*/result.json"):
        _edit(path, lambda result: result["metrics"].update({"question_only/reading": 0.02}))
    assert "not from predictions: question_only, values on validation items" in _checks(out)[RECOMPUTED].text
    _edit(out / "plan.json", lambda plan: plan["study"].update(metric="question_only/reading"))
    _edit(out / "plan.json", lambda plan: plan["study"]["families"]["methods"].update(by=[]))  # it splits means over items only
    assert _checks(out)[RECOMPUTED].passed is None
    assert "question_only/reading cannot be computed from predictions" in _checks(out)[RECOMPUTED].text


def test_cells_without_predictions_are_named_not_passed_over(out: Path) -> None:
    (out / "cells" / "concat-0001" / "predictions.parquet").unlink()
    for name in (ITEMS, RECOMPUTED):
        assert _checks(out)[name].passed is None
        assert "1 of 9 cells have no readable predictions" in _checks(out)[name].text


CHANGES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "an item less": lambda frame: frame.iloc[1:],
    "a question": lambda frame: frame.assign(question=["other?", *frame["question"][1:]]),
    "an answer": lambda frame: frame.assign(answer=["other", *frame["answer"][1:]], prediction=["other", *frame["prediction"][1:]]),
    "an image": lambda frame: frame.assign(image_id=["page-other", *frame["image_id"][1:]]),
    "an item twice": lambda frame: pd.concat([frame, frame.iloc[:1]]),
    "a place": lambda frame: frame.assign(place=["intact", *frame["place"][1:]]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_items_in_one_cell_are_noticed(out: Path, change: str) -> None:
    path = out / "cells" / "none-0001" / "predictions.parquet"
    CHANGES[change](pd.read_parquet(path)).to_parquet(path)
    check = _failed(out)[ITEMS]
    assert "1 of 9 cells were tested on other items (none seed 1" in check.text
    assert check.affects == {"none"}


def test_arms_tested_on_other_items_are_kept_apart(out: Path) -> None:
    for path in out.glob("cells/addition-000*/predictions.parquet"):
        pd.read_parquet(path).iloc[3:].to_parquet(path)
    check = _failed(out)[ITEMS]
    assert check.spoils(("addition", "none"))
    assert check.spoils(("addition", "concat"))
    assert not check.spoils(("concat", "none"))


def test_order_of_rows_does_not_matter(out: Path) -> None:
    path = out / "cells" / "none-0001" / "predictions.parquet"
    pd.read_parquet(path).sample(frac=1, random_state=np.random.RandomState(0)).to_parquet(path)
    assert not _failed(out)


def test_mixed_code_is_noticed_for_the_arm_it_is_mixed_in(out: Path) -> None:
    _edit(out / "cells" / "concat-0002" / "manifest.json", lambda manifest: manifest.update(code_hash="other"))
    check = _failed(out)[ENVIRONMENT]
    assert "code_hash" in check.text
    assert "c0dec0dec0dec0de, other" in check.text
    assert check.spoils(("concat", "none"))
    assert not check.spoils(("addition", "none"))


def test_versions_that_change_no_number_may_differ(out: Path) -> None:
    _edit(out / "cells" / "concat-0002" / "manifest.json", lambda manifest: manifest["versions"].update(mlflow="9"))
    assert not _failed(out)
    _edit(out / "cells" / "concat-0002" / "manifest.json", lambda manifest: manifest["versions"].update(torch="9"))
    assert list(_failed(out)) == [ENVIRONMENT]


def test_a_missing_manifest_is_said(out: Path) -> None:
    (out / "cells" / "concat-0002" / "manifest.json").unlink()
    check = _checks(out)[ENVIRONMENT]
    assert check.passed is None
    assert "1 of 9 cells have no readable manifest" in check.text


def test_arms_may_differ_in_data_but_not_the_cells_of_one_arm(out: Path) -> None:
    manifests = sorted((out / "cells").glob("concat-0*/manifest.json"))
    for path in manifests:
        path.write_text(path.read_text(encoding="utf-8").replace("da7a", "0a7a"), encoding="utf-8")
    check = _checks(out)[ENVIRONMENT]
    assert check.passed
    assert check.text == "equal in all cells; arms differ in data_hash.train"
    manifests[0].write_text(manifests[0].read_text(encoding="utf-8").replace("0a7a", "1a7a"), encoding="utf-8")
    assert _checks(out)[ENVIRONMENT].passed is False


def test_a_cell_that_ran_otherwise_than_planned_is_noticed(out: Path) -> None:
    _edit(out / "cells" / "concat-0001" / "result.json", lambda result: result["config"]["train"].update(weight_decay=0.5))
    check = _failed(out)[PLANNED]
    assert "concat seed 1: train.weight_decay is 0.5, planned 0.01" in check.text
    assert check.affects == {"concat"}


def test_a_curve_that_ends_early_is_noticed(out: Path) -> None:
    _edit(out / "cells" / "concat-0001" / "result.json", lambda result: result.update(curve=result["curve"][:-1]))
    assert "concat seed 1: its curve ends at step 950, not 1000" in _failed(out)[PLANNED].text
    _edit(out / "cells" / "concat-0001" / "result.json", lambda result: result.update(curve=[]))
    assert _checks(out)[PLANNED].passed is None


def _train(out: Path, arm: str, declared: bool = False, study: dict[str, Any] | None = None, **fields: Any) -> None:
    """Plan and results of an arm with other training; `declared`: the study file says so."""

    def change(content: dict[str, Any]) -> None:
        content["study"] |= study or {}
        if declared:
            content["study"]["arms"][arm]["set"] |= {f"train.{name}": value for name, value in fields.items()}
        for cell in content["cells"]:
            if cell["arm"] == arm and cell["phase"] == "main":
                cell["config"]["train"] |= fields

    _edit(out / "plan.json", change)
    for path in out.glob(f"cells/{arm}-000*/result.json"):

        def trained(result: dict[str, Any]) -> None:
            result["config"]["train"] |= fields
            result["curve"][-1]["step"] = result["config"]["train"]["steps"]

        _edit(path, trained)


@pytest.mark.parametrize("field", [{"steps": 2000}, {"batch_size": 32}, {"weight_decay": 0.1}, {"warmup": 0.0}])
def test_unequal_training_is_noticed_unless_it_is_declared(out: Path, field: dict[str, Any]) -> None:
    _train(out, "concat", **field)
    check = _failed(out)[TRAINING]
    (name,) = field
    assert f"arms differ, undeclared, in train.{name}" in check.text
    assert check.spoils(("concat", "none"))
    assert not check.spoils(("addition", "none"))
    _train(out, "concat", declared=True, **field)
    check = _checks(out)[TRAINING]
    assert check.passed
    assert f"declared: train.{name}" in check.text


def test_equal_time_and_flops_are_computed_not_believed(out: Path) -> None:
    seconds = {"none": 1.0, "concat": 2.0, "addition": 1.0}
    _edit(out / "plan.json", lambda plan: plan.update(step_seconds=seconds))
    _train(out, "concat", study={"equalise": "time"}, steps=500)
    assert _checks(out)[TRAINING].passed, _checks(out)[TRAINING].text
    _train(out, "concat", steps=600)
    assert "concat" in _failed(out)[TRAINING].text
    assert "1.20 times" in _failed(out)[TRAINING].text
    _train(out, "concat", study={"equalise": "flops"}, steps=1000)
    assert _checks(out)[TRAINING].passed is False, "concat's steps cost more than the baseline's"


@pytest.mark.parametrize("arm", ["none", "addition"])
def test_an_arm_whose_trials_all_failed_is_not_compared_with_tuned_ones(out: Path, arm: str) -> None:
    for path in out.glob(f"cells/{arm}-t*/result.json"):
        _edit(path, lambda result: result.update(status="failed", metrics={}, validation={}, failure={"kind": "error", "message": "no"}))
    check = _failed(out)[TUNING]
    assert check.text == f"compared untuned beside tuned arms: {arm} (none of its 4 trials has a value)"
    assert check.affects == {arm}


def test_an_arm_without_committed_winner_is_not_compared_with_tuned_ones(out: Path) -> None:
    def change(plan: dict[str, Any]) -> None:
        plan["budget"] = "small"
        plan["study"]["winners"] = {"none": {"train.learning_rate": 1e-3}, "addition": {"train.learning_rate": 1e-3}}

    _edit(out / "plan.json", change)
    assert _failed(out)[TUNING].affects == {"concat"}


def test_a_check_spoils_what_its_failure_concerns() -> None:
    assert not Check("x", True, "", None).spoils("ab")
    assert not Check("x", None, "", None).spoils("ab")
    assert Check("x", False, "", None).spoils("ab")
    assert Check("x", False, "", frozenset("a")).spoils("ab")
    assert not Check("x", False, "", frozenset("c")).spoils("ab")
    apart = Check("x", False, "", apart=(frozenset("ab"), frozenset("c")))
    assert not apart.spoils("ab")
    assert apart.spoils("ac")
    assert apart.spoils("abc")
