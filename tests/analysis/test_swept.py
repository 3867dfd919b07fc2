"""What a sweep found, against numbers worked out by hand from its folder; and what a reader is warned of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweeps import METRIC, write_sweep

from fila_lab import analysis
from fila_lab.analysis import front
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.headline import sentences_of
from fila_lab.analysis.sweep import SweepFindings
from fila_lab.analysis.sweep_alarms import sweep_alarms
from fila_lab.analysis.sweep_text import sweep_sentences
from fila_lab.config.base import FilaError

DIRECTIONS = ("maximize", "minimize", "minimize")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three objectives, 24 trials, of which one failed and one was impossible. Read only."""
    return write_sweep(tmp_path_factory.mktemp("swept") / "out", objectives=(METRIC, "flops", "latency"), seeds=(0, 1, 2))


@pytest.fixture
def changed(swept: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(swept, tmp_path / "changed"))


def sweep_of(out: Path) -> SweepFindings:
    findings = Findings.of(out).sweep
    assert findings is not None
    return findings


def content_of(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "sweep" / "trials.json").read_text(encoding="utf-8"))
    return content


def edit(out: Path, **changes: Any) -> None:
    (out / "sweep" / "trials.json").write_text(json.dumps(content_of(out) | changes), encoding="utf-8")


def alarms_of(out: Path) -> dict[str, str]:
    return {alarm.kind: alarm.text for alarm in sweep_alarms(sweep_of(out))}


def metric_of(out: Path, arm: str, seed: int, part: str) -> float:
    result = json.loads((out / "cells" / f"{arm}-{seed:04d}" / "result.json").read_text(encoding="utf-8"))
    return float(result[part][METRIC])


def test_a_row_a_trial_with_what_it_is_and_how_it_stands(swept: Path) -> None:
    table = analysis.load_trials(swept).set_index("number")
    assert list(table.index) == list(range(24))
    assert table["state"].value_counts().to_dict() == {"complete": 22, "impossible": 1, "failed": 1}
    assert table.at[5, "reason"] == "geometry.detail_cells = 5: does not fit"
    told = [trial for trial in content_of(swept)["trials"] if trial["state"] == "complete"]
    expected = front.non_dominated([trial["values"] for trial in told], DIRECTIONS)
    assert table.loc[[trial["number"] for trial in told], "standing"].tolist() == ["front" if kept else "dominated" for kept in expected]
    assert table.at[5, "standing"] == ""
    assert {type(value) for value in table["geometry.detail_cells"]} == {int}, "whole numbers stay whole"
    assert table["fusion.heads"].notna().sum() == (table["fusion.name"] == "cross_attention").sum()
    assert (table["arm"] != "").sum() == (table["standing"] == "front").sum()


def test_a_folder_without_a_sweep_says_so(small_study: Path) -> None:
    with pytest.raises(FilaError, match=r"no sweep/trials.json in it; run a budget with"):
        analysis.load_trials(small_study)
    assert Findings.of(small_study).sweep is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"front": [99]}, "front: there is no trial 99"),
        ({"arms": {"trial-98": 98}}, "arms: there is no trial 98"),
        ({"objectives": [{"name": METRIC, "direction": "maximize", "kind": "metric"}]}, "has 3 values for 1 objectives"),
        ({"objectives": []}, "objectives"),
        ({"trials": [{"number": 0, "state": "done", "parameters": {}}]}, "trials.0.state"),
        ({"trials": [{"number": 0, "state": "complete", "parameters": {}}]}, "has no values for 3 objectives"),
        ({"schema": 99}, "newer fila_lab"),
    ],
)
def test_damage_is_one_message_that_names_it(changed: Path, changes: dict[str, Any], said: str) -> None:
    edit(changed, **changes)
    with pytest.raises(FilaError, match=said) as raised:
        analysis.load_trials(changed)
    assert "\n" not in str(raised.value)


def test_torn_trials_are_one_message(changed: Path) -> None:
    file = changed / "sweep" / "trials.json"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(FilaError, match="run the study again"):
        Findings.of(changed).sweep  # noqa: B018


def test_points_on_fresh_seeds_are_means_of_their_cells(swept: Path) -> None:
    found = sweep_of(swept)
    rounds = json.loads((swept / "costs.rounds.json").read_text(encoding="utf-8"))["milliseconds_per_image"]
    content = content_of(swept)
    assert found.confirmed.points["arm"].tolist() == [f"trial-{trial.number}" for trial in found.file.best]
    for row in found.confirmed.points.to_dict("records"):
        test = [metric_of(swept, row["arm"], seed, "metrics") for seed in (0, 1, 2)]
        interval = analysis.paired_interval(test)
        assert (row[METRIC], row[f"{METRIC} low"], row[f"{METRIC} high"]) == pytest.approx((interval.mean, interval.low, interval.high))
        assert row[f"{METRIC} fresh"] == pytest.approx(np.mean([metric_of(swept, row["arm"], seed, "validation") for seed in (0, 1, 2)]))
        values = content["trials"][row["number"]]["values"]
        assert (row[f"{METRIC} search"], row["flops"], row["latency search"]) == tuple(values)
        assert row["latency"] == pytest.approx(np.median(rounds[row["arm"]]))
        assert row["latency low"] <= row["latency"] <= row["latency high"] < row["latency low"] + 0.4
        assert np.isnan(row["flops low"])


def test_shares_are_those_of_draws_of_seeds_and_rounds(swept: Path) -> None:
    points = sweep_of(swept).confirmed.points
    rounds = json.loads((swept / "costs.rounds.json").read_text(encoding="utf-8"))["milliseconds_per_image"]
    test = np.array([[metric_of(swept, arm, seed, "metrics") for seed in (0, 1, 2)] for arm in points["arm"]])
    turned = np.array([rounds[arm] for arm in points["arm"]])
    rng, kept = np.random.default_rng(5), np.zeros(len(points))
    for _ in range(400):
        means = np.round(test[:, rng.integers(3, size=3)].mean(axis=1), 12)
        medians = np.median(turned[:, rng.integers(21, size=21)], axis=1)
        kept += front.non_dominated(np.column_stack([means, points["flops"], medians]), DIRECTIONS)
    assert points["share"].to_numpy(dtype=float) == pytest.approx(kept / 400, abs=0.1)
    assert points["share"].between(0.1, 0.9).any()


def test_who_dominates_whom_on_fresh_seeds(swept: Path) -> None:
    confirmed = sweep_of(swept).confirmed
    columns = [METRIC, "flops", "latency"]
    for row in confirmed.points.to_dict("records"):
        above = front.dominators(confirmed.points[columns], DIRECTIONS, [row[name] for name in columns])
        assert row["dominated_by"] == ", ".join(confirmed.points.loc[above, "arm"])
    declared = confirmed.declared.set_index("arm")
    assert list(declared.index) == ["none", "concat"]
    assert declared.at["none", METRIC] == pytest.approx(np.mean([metric_of(swept, "none", seed, "metrics") for seed in (0, 1, 2)]))


def test_a_declared_arm_has_a_cost_only_in_the_trials_own_terms(changed: Path) -> None:
    assert np.isfinite(sweep_of(changed).confirmed.declared["flops"].astype(float)).all()
    trials = content_of(changed)["trials"]
    for trial in trials:
        if trial["values"]:
            trial["values"][1] *= 1.25  # such as FLOPs of rows rather than of pages
    edit(changed, trials=trials)
    declared = sweep_of(changed).confirmed.declared
    assert declared["flops"].isna().all()
    assert (declared["dominates"] == "").all()


def test_trials_below_the_front_say_what_they_lack(swept: Path) -> None:
    found = sweep_of(swept)
    table = found.dominated
    assert len(table) == 22 - len(found.file.best)
    assert (table["shortfall"] > 0).all()
    assert table["shortfall"].is_monotonic_increasing
    best = found.file.values(found.file.best).tolist()
    for row in table.to_dict("records"):
        lifted = (row[METRIC] + row["shortfall"] + 1e-9, row["flops"], row["latency"])
        kept = front.non_dominated([lifted, *best], DIRECTIONS)
        assert kept[0], "so much better it would stand on the front"


def test_trials_that_came_to_the_same_run_are_one_point(changed: Path) -> None:
    content = content_of(changed)
    arm, number = next(iter(content["arms"].items()))
    twin = content["trials"][number] | {"number": 24}
    edit(changed, trials=[*content["trials"], twin], front=[*content["front"], 24])
    found = sweep_of(changed)
    assert len(found.points) == len(found.file.best) - 1 == len(content["front"])
    assert not {"front not confirmed", "front does not follow from the trials"} & set(alarms_of(changed))
    assert arm in found.confirmed.points["arm"].tolist()


def test_hypervolume_ends_where_the_front_stands(swept: Path) -> None:
    found = sweep_of(swept)
    whole = front.hypervolume(found.file.values(found.file.best), DIRECTIONS, found.reference)
    assert found.hypervolume["hypervolume"].iloc[-1] == pytest.approx(whole)
    assert found.hypervolume["hypervolume"].is_monotonic_increasing
    assert found.hypervolume["share"].between(0, 1).all()


def test_the_winners_curse_is_counted_on_items_of_the_same_kind(swept: Path, tmp_path: Path) -> None:
    points = sweep_of(swept).confirmed.points
    better = float((points[f"{METRIC} search"] - points[f"{METRIC} fresh"]).mean() * 100)
    (sentence,) = [text for text in sweep_sentences(sweep_of(swept)) if text.startswith("Winner's curse")]
    assert f"{abs(better):.1f} points {'better' if better > 0 else 'worse'} in {METRIC} on average" in sentence
    assert ("a search picks what was lucky" in sentence) is (better > 0)
    other = write_sweep(tmp_path / "other", trials=5, seeds=(0, 1), step_set={"train.steps": 200})
    assert any("the trials ran with train.steps = 200, the confirmed cells without" in text for text in sweep_sentences(sweep_of(other)))
    for file in (other / "cells").glob("*/result.json"):
        result = json.loads(file.read_text(encoding="utf-8"))
        result["config"]["train"]["steps"] = 200
        file.write_text(json.dumps(result), encoding="utf-8")
    assert not any("the trials ran with" in text for text in sweep_sentences(sweep_of(other))), "nor is it said where all ran with it"


def test_the_answer_comes_first(swept: Path) -> None:
    """The first sentence says what the points are and what they are worth, not their numbers alone."""
    found = sweep_of(swept)
    first, trial = sweep_sentences(found)[0], found.points[0]
    assert all(str(value) in first for value in trial.parameters.values() if isinstance(value, str))
    assert f"trial-{trial.number} (" in first
    assert f"{METRIC} {found.confirmed.points[METRIC].iloc[0] * 100:.1f} % [" in first


def test_a_sweep_without_families_gives_no_verdict_and_says_why_none(swept: Path) -> None:
    sentences = sentences_of(Findings.of(swept))
    assert sentences[0].startswith(
        "Front of 5 points in exact/reading (maximize), flops (minimize) and latency (minimize), of 24 trials (22 complete"
    )
    assert sentences[-1].endswith("Verdicts are given to declared contrasts only.")
    assert not any("contrast has both its arms" in sentence for sentence in sentences)


def test_trials_that_failed_and_edges_are_told(swept: Path) -> None:
    alarms = alarms_of(swept)
    assert alarms["failed trials"] == "1 of 24 trials of the sweep failed: trial 11 (the loss is NaN)"
    assert "geometry.detail_cells = 2 at the lower end of 2 to 6" in alarms["front at the edge of a range"]
    assert not {"seeds not fresh", "sweep not finished", "front not confirmed", "front does not follow from the trials"} & set(alarms)


def test_seeds_that_chose_the_points_do_not_confirm_them(changed: Path) -> None:
    edit(changed, search=content_of(changed)["search"] | {"run_seeds": [1, 1000]})
    assert (
        alarms_of(changed)["seeds not fresh"] == "seed 1 chose the front's points and confirms them; confirm on others than sweep.run_seeds"
    )


def test_a_front_that_does_not_follow_is_an_error(changed: Path) -> None:
    content = content_of(changed)
    wrong = next(trial["number"] for trial in content["trials"] if trial["state"] == "complete" and trial["number"] not in content["front"])
    edit(changed, front=[*content["front"][1:], wrong])
    assert alarms_of(changed)["front does not follow from the trials"].startswith(
        "1 points that nothing dominates are missing, 1 are dominated"
    )


def test_points_that_were_not_run_or_on_one_seed_only_are_named(changed: Path) -> None:
    first, second, *_ = content_of(changed)["arms"]
    for seed in (0, 1, 2):
        shutil.rmtree(changed / "cells" / f"{first}-{seed:04d}")
    for seed in (1, 2):
        shutil.rmtree(changed / "cells" / f"{second}-{seed:04d}")
    alarms = alarms_of(changed)
    assert alarms["front not confirmed"].startswith(f"{first}: no main cell is done")
    assert alarms["seeds too few for an interval"].startswith(f"{second}: one seed each")
    found = sweep_of(changed)
    assert first not in found.confirmed.points["arm"].tolist()
    assert found.confirmed.points["share"].isna().all(), "one seed tells nothing of the others"
    edit(changed, arms={})
    assert alarms_of(changed)["front not confirmed"].startswith("no arm was made of the front")
    assert sweep_of(changed).confirmed.points.empty


def test_of_trials_that_are_one_run_the_first_is_the_point(changed: Path) -> None:
    """A sampler may ask for the same run again; before arms are made of the front, too, it is one point."""
    content = content_of(changed)
    twin = next(trial for trial in content["trials"] if trial["number"] == content["front"][0])
    again = {**twin, "number": len(content["trials"])}
    trials, front = [*content["trials"], again], [*content["front"], again["number"]]
    edit(changed, trials=trials, front=front, arms={}, complete=False)
    numbers = [trial.number for trial in sweep_of(changed).points]
    assert twin["number"] in numbers
    assert again["number"] not in numbers


def test_points_that_fall_or_may_fall_are_named(changed: Path) -> None:
    points = sweep_of(changed).confirmed.points
    costly = points.sort_values("flops")["arm"].iloc[-1]
    for seed in (0, 1, 2):
        file = changed / "cells" / f"{costly}-{seed:04d}" / "result.json"
        result = json.loads(file.read_text(encoding="utf-8"))
        result["metrics"][METRIC] = 0.2 if seed else 0.9
        file.write_text(json.dumps(result), encoding="utf-8")
    alarms = alarms_of(changed)
    assert f"{costly} by " in alarms["dominated on fresh seeds"]
    assert f"{costly} " in alarms["unsure of the front"]


def test_of_one_objective_the_best_trial_is_what_was_found(tmp_path: Path) -> None:
    out = write_sweep(tmp_path / "one", objectives=(METRIC,), trials=20, seeds=(0, 1))
    found = sweep_of(out)
    (best,) = found.file.best
    finished = found.file.values(found.file.finished)[:, 0]
    assert (best.values or ())[0] == finished.max()
    assert found.counts["pruned"] == 1
    assert sweep_sentences(found)[0].startswith(
        "Best trial in exact/reading (maximize), of 20 trials (17 complete, 1 impossible, 1 pruned, 1 failed); on 2 fresh seeds [95 %]: "
    )
    assert found.confirmed.points["arm"].tolist() == [f"trial-{best.number}"]


def test_latency_without_rounds_has_no_interval(changed: Path) -> None:
    (changed / "costs.rounds.json").unlink()
    points = sweep_of(changed).confirmed.points
    assert points["latency"].notna().all()
    assert points["latency low"].isna().all()
    assert points["share"].notna().all()
