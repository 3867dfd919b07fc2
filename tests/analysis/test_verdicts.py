"""The order of verdicts, their sizes, the scale of the margin, and that pairs of equals get verdicts at the nominal rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from fila_lab import analysis
from fila_lab.analysis.check import Check
from fila_lab.analysis.contrasts import logit_margin, paired
from fila_lab.analysis.verdicts import decide, said, size_word
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


def test_direction_comes_first_and_size_second() -> None:
    """A difference that is certain but below the margin is better, within the margin; both p are shown."""
    noise = np.random.default_rng(0).normal(0, 0.0005, 8)
    found = _judge({"a": list(0.705 + noise), "b": [0.70] * 8}, ("a", "b")).iloc[0]
    assert found["p_holm"] < 0.05
    assert found["p_tost_holm"] < 0.05
    assert (found["verdict"], found["size"]) == ("better", "within the margin")


@pytest.mark.parametrize(
    ("mean", "sd", "verdict", "size"),
    [
        (0.05, 0.005, "better", "beyond the margin"),
        (-0.05, 0.005, "worse", "beyond the margin"),
        (0.022, 0.006, "better", "size open"),
        (-0.006, 0.002, "worse", "within the margin"),
        (0.001, 0.004, "equivalent", ""),
        (0.004, 0.03, "inconclusive", ""),
    ],
)
def test_words_and_sizes(mean: float, sd: float, verdict: str, size: str) -> None:
    spread = np.array([-1.5, -1, -0.5, -0.1, 0.1, 0.5, 1, 1.5])
    d = mean + sd * spread / spread.std(ddof=1)
    found = _judge({"a": list(0.6 + d), "b": [0.6] * 8}, ("a", "b")).iloc[0]
    assert (found["verdict"], found["size"]) == (verdict, size)
    if size == "beyond the margin":
        assert min(abs(found["low"]), abs(found["high"])) > 0.02
    if size == "within the margin" or verdict == "equivalent":
        assert max(abs(found["low90"]), abs(found["high90"])) < 0.02
        assert found["p_tost_holm"] < 0.05


def test_tost_and_sizes_are_corrected_within_the_family_as_the_direction_is() -> None:
    rng = np.random.default_rng(3)
    values = {name: list(0.6 + mean + rng.normal(0, 0.006, 8)) for name, mean in zip("abcde", (0, 0.012, 0.04, 0.001, 0.02), strict=True)}
    pairs = [("b", "a"), ("c", "a"), ("d", "a"), ("e", "a"), ("c", "b")]
    found = _judge(values, *pairs)
    differences = [np.array(values[a]) - np.array(values[b]) for a, b in pairs]
    within = [ttost_paired(d, np.zeros(8), -0.02, 0.02)[0] for d in differences]
    beyond = [stats.ttest_1samp(np.sign(d.mean()) * d, 0.02, alternative="greater").pvalue for d in differences]
    size = [min(1, 2 * min(pair)) for pair in zip(within, beyond, strict=True)]
    direction = [stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue for d in differences]
    for column, p in (("p_holm", direction), ("p_tost_holm", within), ("p_size_holm", size)):
        assert found[column].to_numpy() == pytest.approx(multipletests(p, method="holm")[1]), column
    assert found["p_tost"].to_numpy() == pytest.approx(within)
    for row, d in zip(found.itertuples(), differences, strict=True):
        assert (row.low90, row.high90) == pytest.approx(tuple(stats.ttest_1samp(d, 0).confidence_interval(0.9)))


def test_holm_over_the_study_stands_beside_that_over_the_family() -> None:
    rng = np.random.default_rng(5)
    frame = _frame({name: list(0.6 + rng.normal(0.02 * i, 0.01, 9)) for i, name in enumerate("abcd")})
    families = {"one": Family(contrasts=(("b", "a"), ("c", "a"))), "two": Family(contrasts=(("d", "a"), ("d", "c"), ("d", "x")))}
    found = analysis.judge(frame, families, "exact/reading", 0.02)
    assert len(found) == 4, "x was not run"
    assert found["p_holm_study"].to_numpy() == pytest.approx(multipletests([*found["p"], 1], method="holm")[1][:4])
    assert found["p_holm"].to_numpy()[:2] == pytest.approx(multipletests(found["p"][:2], method="holm")[1])


def test_a_failed_self_check_makes_its_contrasts_incomparable_and_no_others() -> None:
    noise = np.random.default_rng(1).normal(0, 0.005, (3, 8))
    values = {name: list(level + own) for name, level, own in zip("abc", (0.8, 0.7, 0.6), noise, strict=True)}
    families = {"f": Family(contrasts=(("a", "b"), ("c", "b"), ("a", "c")))}
    broken = Check("equal steps", False, "c trained 100 steps, others 300", frozenset({"c"}))
    fine = Check("same items", True, "all", None)
    unmade = Check("one code", None, "no manifest", None)
    found = analysis.judge(_frame(values), families, "exact/reading", 0.02, checks=[fine, broken, unmade])
    assert found["verdict"].tolist() == ["better", "not comparable", "not comparable"]
    assert found["reason"][1] == "equal steps: c trained 100 steps, others 300"
    assert found["p_holm"].isna().tolist() == [False, True, True]
    assert found["p_holm"][0] == pytest.approx(3 * 2 / 256), "the family stays as large as it was declared"
    assert found["size"].tolist()[1:] == ["", ""]


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
    wide = pd.DataFrame({"a": [1.0, 2.0, float("nan")], "b": [0.5, float("inf"), 0.1], "c": [float("nan")] * 3})
    assert [side.tolist() for side in paired(wide, ("a", "b"))] == [[1.0], [0.5]], "arms of other contrasts do not count"


def test_near_floor_and_ceiling_the_margin_is_applied_to_logits() -> None:
    found = _judge({"a": [0.97] * 8, "b": [0.95] * 8, "c": [0.5] * 8, "d": [0.4] * 8}, ("a", "b"), ("c", "d"))
    assert found["flag"].tolist() == ["a above 90%; b above 90%", ""]
    assert found["logit_difference"][0] == pytest.approx(np.log(0.97 / 0.03) - np.log(0.95 / 0.05))
    assert np.isnan(found["logit_difference"][1])
    # By hand: two points around 90 % are .2230 logits, around 20 % .1250.
    assert found["logit_margin"][0] == pytest.approx(np.log(0.91 / 0.09) - np.log(0.89 / 0.11))
    assert np.isnan(found["logit_margin"][1])
    assert logit_margin(0.02, below=True, above=False) == pytest.approx(0.12500, abs=1e-4)
    assert logit_margin(0.02, below=True, above=True) == logit_margin(0.02, below=True, above=False)


def test_cells_that_do_not_say_how_many_items_they_had_take_nothing_from_the_others() -> None:
    """At the very ceiling the logit is that of half an item less; the number of items is what most cells say."""
    frame = _frame({"a": [1.0] * 8, "b": [0.97] * 8}).assign(**{"n/reading": 400.0})
    holed = frame.copy()
    holed.loc[0, "n/reading"] = np.nan
    whole, same = (analysis.judge(own, {"f": Family(contrasts=(("a", "b"),))}, "exact/reading", 0.02) for own in (frame, holed))
    assert whole["logit_difference"][0] == same["logit_difference"][0] == pytest.approx(np.log(399.5 / 0.5) - np.log(0.97 / 0.03))


@pytest.mark.parametrize(
    ("level", "other", "verdict", "size"), [(0.5, 0.51, "better", "within the margin"), (0.97, 0.98, "better", "beyond the margin")]
)
def test_one_point_is_little_at_half_and_much_at_the_ceiling(level: float, other: float, verdict: str, size: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.0008, 8)
    found = _judge({"a": list(other + noise), "b": [level] * 8}, ("a", "b")).iloc[0]
    assert (found["verdict"], found["size"]) == ("better", size)


def test_nothing_jumps_where_an_arm_crosses_the_border() -> None:
    """The same differences just inside and just outside 90 % are nearly the same share of the margin."""
    d = 0.012 + np.random.default_rng(2).normal(0, 0.004, 8)
    inside, outside = (_judge({"a": list(base + d), "b": [base] * 8}, ("a", "b")).iloc[0] for base in (0.8875, 0.8885))
    assert (inside["flag"], outside["flag"]) == ("", "a above 90%")
    shares = inside["difference"] / 0.02, outside["logit_difference"] / outside["logit_margin"]
    assert shares[1] == pytest.approx(shares[0], rel=0.1)


@pytest.mark.parametrize("metric", ["seam_gap/reading", "sham_gap/reading", "fragmentation/reading", "steps"])
def test_gaps_and_rates_of_errors_have_no_floor_to_be_near(metric: str) -> None:
    frame = _frame({"a": [0.05, 0.06, 0.05, 0.04, 0.05, 0.06], "b": [0.02] * 6}).rename(columns={"exact/reading": metric})
    found = analysis.judge(frame, {"f": Family(contrasts=(("a", "b"),))}, metric, 0.02)
    assert found["flag"].tolist() == [""]


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(FilaError, match=r"metric='exact/readin': .*exact/reading"):
        analysis.judge(_frame({"a": [0.5]}), {}, "exact/readin", 0.02)
    timed = _frame({"a": [0.5]}).assign(**{"id": "0", "timing/train": 1.0})
    with pytest.raises(FilaError, match=r"known metrics are exact/reading, n/reading$"):
        analysis.judge(timed, {}, "timing", 0.02)


def test_decide_at_the_boundaries() -> None:
    assert decide(0.1, 7, 2, 0.03, 0.9).verdict == "better"
    assert decide(-0.1, 7, 2, 0.03, 0.01).verdict == "worse"
    assert decide(0.1, 6, 2, 0.03, 0.9).verdict == "not testable"
    assert decide(0.1, 8, 1, 0.05, 0.05).verdict == "inconclusive"
    assert decide(0.1, 8, 1, 0.05, 0.049).verdict == "equivalent"
    assert decide(0.1, 2, 9, 0.01, 0.01, "mixed code").verdict == "not comparable"
    assert size_word(0.9, 0.01, 0.05) == "size open"
    assert size_word(0.9, 0.01, 0.049) == "beyond the margin"
    assert size_word(0.01, 0.9, 0.049) == "within the margin"
    assert said("better", "size open", "this pool only") == "better, size open (this pool only)"
    assert said("inconclusive") == "inconclusive"


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


@pytest.mark.parametrize(
    ("levels", "flag"),
    [
        ((0.0, 0.3), "a below 20%"),
        ((0.3, 0.5), ""),
        ((0.19, 1.0), "a below 20%; b above 90%"),
        ((0.89, 0.21), ""),
        ((0.95, 0.6), "a above 90%"),
    ],
)
def test_floor_and_ceiling_are_a_fifth_and_nine_tenths_the_very_ends_included(levels: tuple[float, float], flag: str) -> None:
    found = _judge({"a": [levels[0]] * 8, "b": [levels[1]] * 8}, ("a", "b")).iloc[0]
    assert found["flag"] == flag
    assert np.isnan(found["logit_difference"]) == (not flag)


@pytest.mark.parametrize("level", [0.3, 0.5, 0.7])
def test_a_difference_that_is_the_margin_itself_has_an_open_size(level: float) -> None:
    """Whatever the last bits of its floats are."""
    for shift in (0.0, 1e-3):
        other = [level + shift * step for step in range(8)]
        table = _judge({"a": [value + 0.03 for value in other], "b": other}, ("a", "b"), margin=0.03)
        assert (table["verdict"][0], table["size"][0]) == ("better", "size open")
