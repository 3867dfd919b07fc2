"""Crossed analysis against statsmodels' repeated-measures ANOVA, scipy, and effects put in by hand."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats
from statsmodels.stats.anova import AnovaRM
from synthetic import write_study

from fila_lab import analysis
from fila_lab.analysis import report, statistics
from fila_lab.analysis.crossed import Crossing, crossed_contrasts, crossed_effects, too_few_seeds
from fila_lab.analysis.findings import Findings

LEVELS = {"fusion": ["concat", "addition", "cross"], "depth": ["last", "multi"], "k": ["k2", "k3", "k4"]}
FACTORS = {"-".join(at): dict(zip(LEVELS, at, strict=True)) for at in itertools.product(*LEVELS.values())}


def _frame(seeds: int, noise: float = 0.01, seed: int = 0) -> pd.DataFrame:
    """Known effects: cross +.04, multi +.02, k4 +.01, and multi helps concat .03 more; seeds share a shift, which pairing removes."""
    rng = np.random.default_rng(seed)
    rows = []
    for run in range(seeds):
        shift = rng.normal(0, 0.05)
        for arm, at in FACTORS.items():
            value = 0.6 + shift + 0.04 * (at["fusion"] == "cross") + 0.02 * (at["depth"] == "multi") + 0.01 * (at["k"] == "k4")
            value += 0.03 * (at["fusion"] == "concat" and at["depth"] == "multi")
            rows.append({"arm": arm, "seed": run, "exact/reading": value + rng.normal(0, noise), **at})
    return pd.DataFrame(rows)


def test_effects_equal_statsmodels_repeated_measures_anova() -> None:
    frame = _frame(8)
    ours = crossed_effects(frame, FACTORS, "exact/reading").set_index("effect")
    oracle = AnovaRM(frame, "exact/reading", "seed", within=list(LEVELS)).fit().anova_table
    assert len(ours) == 6
    for effect, row in ours.iterrows():
        theirs = oracle.loc[str(effect).replace(" x ", ":")]
        assert row["f"] == pytest.approx(theirs["F Value"])
        assert (row["d1"], row["d2"]) == (theirs["Num DF"], theirs["Den DF"])
    assert ours["n"].tolist() == [8] * 6


def test_a_contrast_of_two_levels_is_the_square_root_of_its_f_and_scipys_paired_test() -> None:
    frame = _frame(8)
    contrast = crossed_contrasts(frame, FACTORS, "exact/reading").set_index("effect").loc["depth"]
    by_seed = frame.pivot_table(index="seed", columns="depth", values="exact/reading")
    test = stats.ttest_rel(by_seed["multi"], by_seed["last"])
    low, high = test.confidence_interval(0.95)
    assert (contrast["low"], contrast["high"]) == (pytest.approx(low), pytest.approx(high))
    assert contrast["contrast"] == "multi − last"
    effect = crossed_effects(frame, FACTORS, "exact/reading").set_index("effect").loc["depth"]
    assert test.statistic**2 == pytest.approx(effect["f"])
    assert contrast["p"] == effect["p"] == statistics.sign_flip(by_seed["multi"] - by_seed["last"])


def test_effects_put_in_come_out() -> None:
    found = crossed_contrasts(_frame(4, noise=0), FACTORS, "exact/reading").set_index(["effect", "contrast"])["difference"]
    assert found["fusion", "cross − addition"] == pytest.approx(0.04)
    assert found["fusion", "addition − concat"] == pytest.approx(-0.015), "half of concat's arms carry its .03"
    assert found["depth", "multi − last"] == pytest.approx(0.02 + 0.01), "a third of the fusions adds .03"
    assert found["k", "k3 − k2"] == pytest.approx(0)
    assert found["fusion x depth", "(addition − concat) x (multi − last)"] == pytest.approx(-0.03)
    assert found["fusion x depth", "(cross − addition) x (multi − last)"] == pytest.approx(0)
    assert found["depth x k", "(multi − last) x (k4 − k2)"] == pytest.approx(0)
    assert len(found) == 3 + 1 + 3 + 3 + 9 + 3


def test_holm_runs_within_an_effect() -> None:
    table = crossed_contrasts(_frame(8), FACTORS, "exact/reading")
    for _, own in table.groupby("effect"):
        assert own["p_holm"].tolist() == pytest.approx(statistics.holm(own["p"].tolist()))
        assert (own["contrasts"] == len(own)).all()


def test_a_combination_left_out_never_stands_on_one_side_only() -> None:
    """Without cross-multi-k4, effects stay what was put in: blocks that miss a corner are not averaged."""
    frame = _frame(4, noise=0)
    frame = frame[frame["arm"] != "cross-multi-k4"]
    found = crossed_contrasts(frame, FACTORS, "exact/reading").set_index(["effect", "contrast"])["difference"]
    assert found["fusion", "cross − addition"] == pytest.approx(0.04)
    assert found["k", "k4 − k2"] == pytest.approx(0.01)
    assert found["fusion x k", "(cross − addition) x (k4 − k2)"] == pytest.approx(0)
    assert crossed_effects(frame, FACTORS, "exact/reading").empty


def test_only_seeds_that_finished_all_arms_of_a_contrast_are_paired() -> None:
    frame = _frame(6)
    frame = frame[(frame["arm"] != "concat-last-k2") | (frame["seed"] != 3)]
    table = crossed_contrasts(frame, FACTORS, "exact/reading").set_index(["effect", "contrast"])["n"]
    assert table["fusion", "addition − concat"] == 5
    assert table["fusion", "cross − addition"] == 6
    assert crossed_effects(frame, FACTORS, "exact/reading")["n"].tolist() == [5] * 6


def test_nothing_to_cross() -> None:
    frame = _frame(3)
    assert crossed_contrasts(frame, {}, "exact/reading").empty
    assert crossed_effects(frame, {}, "exact/reading").empty
    one = {arm: at for arm, at in FACTORS.items() if at["depth"] == "last"}
    assert set(crossed_effects(frame, one, "exact/reading")["effect"]) == {"fusion", "k", "fusion x k"}
    assert Crossing.of(FACTORS, ["concat-last-k2", "concat-last-k3"]).effects == [("k",)]


def test_too_few_seeds_are_said() -> None:
    assert "3 seeds cannot reach p < 0.05 over 9: 9 are needed" in too_few_seeds(
        crossed_contrasts(_frame(3), FACTORS, "exact/reading"), "contrasts"
    )
    assert too_few_seeds(crossed_effects(_frame(8), FACTORS, "exact/reading"), "effects") == ""


def test_joint_sign_flip_against_all_assignments_by_hand() -> None:
    z = np.random.default_rng(1).normal(0.5, 1, (5, 3))
    lengths = [np.linalg.norm(np.array(signs) @ z) for signs in itertools.product((1, -1), repeat=5)]
    assert statistics.joint_sign_flip(z) == np.mean(np.array(lengths) >= np.linalg.norm(z.sum(axis=0)) - 1e-12)
    assert statistics.joint_sign_flip(z[:, :1]) == statistics.sign_flip(z[:, 0])
    # The length of a vector does not depend on the axes it is written in.
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    assert statistics.joint_sign_flip(z @ turn) == statistics.joint_sign_flip(z)


@pytest.mark.slow
def test_report_and_terminal_show_effects_and_say_what_seeds_cannot_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draw_figures", lambda findings, target: [])
    out = write_study(tmp_path / "out", arms=("none", "concat", "addition", "cross_attention"), seeds=(0, 1, 2), triplets=12, tuning=False)
    plan = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    corners = itertools.product(("low", "high"), ("one", "two"))
    plan["study"]["factors"] = dict(zip(plan["study"]["arms"], ({"a": a, "b": b} for a, b in corners), strict=False))
    (out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    findings = Findings.of(out)
    page = analysis.write_report(findings).read_text(encoding="utf-8")
    assert "Crossed factors" in page
    assert "(high − low) x (two − one)" in page
    markdown = (out / "report" / "report.md").read_text(encoding="utf-8")
    assert "3 seeds cannot reach p < 0.05 over 3: 7 are needed; estimates only" in markdown
    assert len(pd.read_csv(out / "report" / "tables" / "effects.csv")) == 3
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(analysis.terminal_summary(findings))
    assert "crossed factors, exact/reading, points" in console.export_text()
