"""The order of verdicts, the flags, and that pairs of equals get verdicts at the nominal rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fila_lab import analysis
from fila_lab.analysis.verdicts import decide
from fila_lab.config.base import FilaError
from fila_lab.config.study import Family


def _frame(values: dict[str, list[float]]) -> pd.DataFrame:
    rows = [{"arm": arm, "seed": seed, "exact/reading": v, "n/reading": 500} for arm, own in values.items() for seed, v in enumerate(own)]
    return pd.DataFrame(rows)


def _judge(values: dict[str, list[float]], *pairs: tuple[str, str], margin: float = 0.02) -> pd.DataFrame:
    return analysis.judge(_frame(values), {"family": Family(contrasts=pairs)}, "exact/reading", margin)


def test_not_testable_comes_first_and_says_how_many_seeds() -> None:
    found = _judge({"a": [0.8] * 5, "b": [0.5] * 5}, ("a", "b"), ("b", "a"))
    assert found["verdict"].tolist() == ["not testable"] * 2
    assert "7 seeds are needed" in found["reason"][0]


def test_equivalent_comes_before_better() -> None:
    """A difference that is certain but below the margin is equivalent, and the p is shown."""
    noise = np.random.default_rng(0).normal(0, 0.0005, 8)
    found = _judge({"a": list(0.705 + noise), "b": [0.70] * 8}, ("a", "b")).iloc[0]
    assert found["p_holm"] < 0.05
    assert found["verdict"] == "equivalent"
    assert "TOST p" in found["reason"]


def test_better_worse_and_inconclusive() -> None:
    noise = np.random.default_rng(1).normal(0, 0.005, (3, 8))
    values = {"good": list(0.8 + noise[0]), "base": list(0.7 + noise[1]), "wild": list(0.7 + 12 * noise[2])}
    found = _judge(values, ("good", "base"), ("base", "good"), ("wild", "base"))
    assert found["verdict"].tolist() == ["better", "worse", "inconclusive"]
    assert found["p_greater"].tolist()[:2] == [1, 0]
    assert found["mde"][2] > found["mde"][0]


def test_holm_runs_over_the_declared_family_even_where_arms_were_not_run() -> None:
    rng = np.random.default_rng(2)
    values = {"a": list(0.8 + rng.normal(0, 0.005, 8)), "b": list(0.7 + rng.normal(0, 0.005, 8))}
    found = _judge(values, ("a", "b"), ("a", "c"), ("c", "b"), ("c", "d"))
    assert len(found) == 1
    assert found["contrasts"][0] == 4
    assert found["p_holm"][0] == pytest.approx(4 * 2 / 256)


def test_only_seeds_that_both_arms_finished_are_paired() -> None:
    found = _judge({"a": [0.8, 0.81, float("nan"), 0.8], "b": [0.7, 0.7, 0.7]}, ("a", "b")).iloc[0]
    assert found["n"] == 2
    assert found["difference"] == pytest.approx(0.105)


def test_floor_and_ceiling_are_flagged_and_shown_on_the_logit_scale() -> None:
    found = _judge({"a": [0.97] * 8, "b": [0.95] * 8, "c": [0.5] * 8, "d": [0.4] * 8}, ("a", "b"), ("c", "d"))
    assert found["flag"].tolist() == ["a above 90%; b above 90%", ""]
    assert found["logit_difference"][0] == pytest.approx(np.log(0.97 / 0.03) - np.log(0.95 / 0.05))
    assert np.isnan(found["logit_difference"][1])


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(FilaError, match=r"metric='exact/readin': .*exact/reading"):
        analysis.judge(_frame({"a": [0.5]}), {}, "exact/readin", 0.02)


def test_decide_at_the_boundaries() -> None:
    assert decide(0.1, 7, 2, 0.03, 0.9).verdict == "better"
    assert decide(0.1, 6, 2, 0.03, 0.9).verdict == "not testable"
    assert decide(0.1, 8, 1, 0.05, 0.05).verdict == "inconclusive"


def test_the_simulated_study_gets_the_verdicts_it_was_built_for(full_study: Path) -> None:
    folder = analysis.StudyFolder.open(full_study)
    found = analysis.judge(analysis.load_study_frame(folder), folder.study.families, folder.study.metric, folder.study.margin)
    verdicts = {(row.a, row.b): row.verdict for row in found.itertuples()}
    assert verdicts["concat", "none"] == "better"
    assert verdicts["addition", "none"] == "not testable"
    assert verdicts["oracle_map", "none"] == "better"
    assert verdicts["foreign", "none"] in ("equivalent", "inconclusive")


def test_aa_rate_is_nominal_on_simulated_studies() -> None:
    """Pools of equals, eight pairs each: the mean false-verdict rate is the exact test's level, 12/256."""
    rng = np.random.default_rng(4)
    rates = []
    for trial in range(60):
        found = analysis.aa_rate(rng.normal(0.7, 0.02, 16), margin=0.001, repeats=100, seed=1000 + trial)
        assert found is not None
        rates.append(found.rate)
    assert found.nominal == 12 / 256
    assert np.mean(rates) == pytest.approx(12 / 256, abs=3 * (0.047 * 0.953 / 6000) ** 0.5)
    assert analysis.aa_rate(rng.normal(0.7, 0.02, 11), margin=0.02) is None


def test_aa_rate_of_tied_accuracies_is_not_above_the_level() -> None:
    values = np.random.default_rng(5).binomial(40, 0.7, 20) / 40
    found = analysis.aa_rate(values, margin=0.02, repeats=500)
    assert found is not None
    assert found.rate <= 0.05 + 3 * (0.05 * 0.95 / 500) ** 0.5


def test_a_family_with_a_metric_of_its_own_is_judged_by_that_and_named_with_it() -> None:
    frame = _frame({"a": [0.8] * 8, "b": [0.5] * 8}).assign(**{"exact/table": [0.4] * 8 + [0.6] * 8})
    pairs = (("a", "b"),)
    families = {"whole": Family(contrasts=pairs), "tables": Family(contrasts=pairs, metric="exact/table")}
    found = analysis.judge(frame, families, "exact/reading", 0.02)
    assert found["family"].tolist() == ["whole", "tables: exact/table"]
    assert found["difference"].tolist() == pytest.approx([0.3, -0.2])
    with pytest.raises(FilaError, match="metric='exact/tabel'"):
        analysis.judge(frame, {"tables": Family(contrasts=pairs, metric="exact/tabel")}, "exact/reading", 0.02)
