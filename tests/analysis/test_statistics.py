"""Statistics against scipy, statsmodels and cases computed by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from fila_lab.analysis import bootstrap, statistics


@pytest.mark.parametrize(("n", "seed"), [(2, 5), (3, 0), (6, 1), (8, 2), (10, 3), (14, 6)])
def test_sign_flip_equals_scipys_exact_paired_permutation(n: int, seed: int) -> None:
    a, b = np.random.default_rng(seed).normal(0.3, 1, (2, n))
    oracle = stats.permutation_test((a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf).pvalue
    assert statistics.sign_flip(a - b) == pytest.approx(oracle, abs=1e-12)


def test_sign_flip_by_hand() -> None:
    assert statistics.sign_flip([1, 2, 3, 4, 5]) == 2 / 32
    assert statistics.sign_flip([0.01] * 8) == 2 / 256
    # Sums of the eight assignments of (3, 2, -1): +-4, +-6, +-2, +-0: six of eight reach 2... only those with |sum| >= 4 count.
    assert statistics.sign_flip([3, 2, -1]) == 4 / 8
    assert statistics.sign_flip([0, 0, 0]) == statistics.sign_flip([0.3]) == 1
    # Equal sums that differ in the last bits count as equal: .1 + .2 - .3 is not exactly 0 in floats.
    assert statistics.sign_flip([0.1, 0.2, -0.3]) == 1


@pytest.mark.parametrize("n", [4, 9, 13, 16])
def test_sign_flip_equals_that_of_vectors_of_one_score(n: int) -> None:
    """Two ways to the same p: half of the signs against the other half, and every assignment; ties included."""
    for seed in range(5):
        rng = np.random.default_rng([n, seed])
        for d in (rng.normal(0.3, 1, n), rng.integers(-3, 4, n) / 1000):
            assert statistics.sign_flip(d) == pytest.approx(statistics.joint_sign_flip(d[:, None]), abs=1e-12)


def test_sign_flip_stays_exact_where_assignments_cannot_be_listed() -> None:
    assert statistics.sign_flip(np.arange(1, 31)) == 2.0**-29
    d = np.random.default_rng(5).normal(0.4, 1, 30)
    assert statistics.sign_flip(d) == pytest.approx(statistics.joint_sign_flip(d[:, None]), rel=0.1)


def test_exceeds_equals_scipys_one_sided_t_test() -> None:
    d = np.random.default_rng(8).normal(0.03, 0.01, 8)
    for sign in (1, -1):
        assert statistics.exceeds(sign * d, 0.02) == pytest.approx(stats.ttest_1samp(d, 0.02, alternative="greater").pvalue)
    assert statistics.exceeds([0.03] * 4, 0.02) == 0
    assert statistics.exceeds([0.02] * 4, 0.02) == 1


def test_sign_flip_by_monte_carlo_is_seeded_and_near_the_t_test() -> None:
    d = np.random.default_rng(5).normal(0.3, 1, 48)
    p = statistics.sign_flip(d)
    assert p == statistics.sign_flip(d)
    assert p == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=0.02)


def test_interval_equals_scipys() -> None:
    a, b = np.random.default_rng(1).normal(0.7, 0.02, (2, 8))
    ours = statistics.paired_interval(a - b)
    low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((low, high))
    assert np.isnan(statistics.paired_interval([0.3]).low)


def test_holm_equals_statsmodels_and_counts_contrasts_that_were_not_run() -> None:
    p = [0.01, 0.04, 0.03, 0.005, 0.5]
    assert statistics.holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert statistics.holm(p[:3], size=5) == pytest.approx(multipletests([*p[:3], 1, 1], method="holm")[1][:3])
    assert statistics.holm([0.01, float("nan"), 0.02])[0] == pytest.approx(0.03)
    # By hand: .01 * 2 = .02 and .04 * 1, never below the one before.
    assert statistics.holm([0.04, 0.01]) == pytest.approx([0.04, 0.02])


@pytest.mark.parametrize("margin", [0.005, 0.02, 0.1])
def test_tost_equals_statsmodels(margin: float) -> None:
    a, b = np.random.default_rng(2).normal(0.7, 0.02, (2, 8))
    assert statistics.tost(a - b, margin) == pytest.approx(ttost_paired(a, b, -margin, margin)[0])


def test_tost_without_spread() -> None:
    assert statistics.tost([0.0] * 5, 0.01) == 0
    assert statistics.tost([0.02] * 5, 0.01) == 1


def test_probability_greater_counts_ties_half() -> None:
    assert statistics.probability_greater([1, 2, 3, 4], [0, 2, 4, 1]) == (1 + 0.5 + 0 + 1) / 4


def _triplets(sham: np.ndarray, cut: np.ndarray, images: np.ndarray, seed: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"seed": seed, "item_id": np.arange(sham.size), "sham": sham, "cut": cut, "intact": sham, "image_id": images})


def test_the_gap_of_no_triplets_is_not_known() -> None:
    gap = bootstrap.clustered_gap(_triplets(np.zeros(0), np.zeros(0), np.zeros(0)))
    assert np.isnan([gap.gap, gap.low, gap.high]).all()
    assert (gap.triplets, gap.images, gap.seeds) == (0, 0, 0)


def test_clustered_gap_by_hand_and_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    frame = _triplets(rng.random(200) < 0.8, rng.random(200) < 0.6, np.repeat(np.arange(50), 4))
    ours = bootstrap.clustered_gap(frame, draws=4000)
    assert ours.gap == pytest.approx(frame["sham"].mean() - frame["cut"].mean())
    per_image = (frame["sham"].astype(int) - frame["cut"]).groupby(frame["image_id"]).mean().to_numpy()
    loop = [per_image[rng.integers(0, 50, 50)].mean() for _ in range(4000)]
    assert (ours.low, ours.high) == pytest.approx(tuple(np.quantile(loop, [0.025, 0.975])), abs=0.01)


def test_items_on_one_image_and_seeds_on_one_item_are_not_independent() -> None:
    rng = np.random.default_rng(1)
    alone = _triplets(rng.random(100) < 0.8, rng.random(100) < 0.5, np.arange(100))
    copied = pd.concat([alone.assign(seed=seed) for seed in range(4)])
    one, four = bootstrap.clustered_gap(alone), bootstrap.clustered_gap(copied)
    assert (one.low, one.high) == pytest.approx((four.low, four.high))
    assert four.seeds == 4
    assert four.triplets == 100


def test_clustered_gap_covers_the_truth() -> None:
    """Simulated: page effects shared by five items a page; the nominal 95 % interval holds the true gap in at least 90 % of 200 studies."""
    rng = np.random.default_rng(3)
    images = np.repeat(np.arange(60), 5)
    hits = 0
    for trial in range(200):
        effect = rng.normal(0, 0.1, 60)[images]
        frame = _triplets(rng.random(300) < 0.8, rng.random(300) < np.clip(0.6 + effect, 0, 1), images)
        found = bootstrap.clustered_gap(frame, draws=400, seed=trial)
        hits += found.low <= 0.2 <= found.high
    assert 0.90 <= hits / 200 <= 0.99


@pytest.mark.parametrize("levels", [2, 3, 5, 8])
def test_helmerts_rows_are_orthonormal_and_blind_to_what_levels_share(levels: int) -> None:
    rows = statistics.helmert(levels)
    assert rows.shape == (levels - 1, levels)
    assert rows @ rows.T == pytest.approx(np.eye(levels - 1))
    assert rows.sum(axis=1) == pytest.approx(np.zeros(levels - 1))


def test_too_few_values_have_no_spread() -> None:
    for values in ([], [0.3]):
        assert np.isnan(statistics.tost(values, 0.02))
        assert np.isnan(statistics.exceeds(values, 0.02))
        found = statistics.paired_interval(values)
        assert found.n == len(values)
        assert np.isnan([found.low, found.high, found.sd, found.half]).all()
    assert statistics.paired_interval([0.3]).mean == 0.3
    assert np.isnan(statistics.sign_flip([]))
    assert np.isnan(statistics.probability_greater([], []))
    for values in ([0.1, float("nan")], [float("inf"), 1]):
        with pytest.raises(ValueError, match="leave failed cells out"):
            statistics.sign_flip(values)


@pytest.mark.parametrize(
    ("share", "items", "wanted"), [(0.5, None, 0), (0, None, np.log(1 / 1999)), (1, 50, np.log(99)), (0.9, 50, np.log(9))]
)
def test_logits_of_the_ends_are_half_an_item_in(share: float, items: float | None, wanted: float) -> None:
    assert statistics.logit(share, items) == pytest.approx(wanted)


def test_triplets_are_the_items_with_all_three_places() -> None:
    rows = [
        ("a", seed, "reading", item, place, f"page-{item[0]}", (len(item) + seed + len(place)) % 2 == 0)
        for seed in (0, 1)
        for item in ("x1", "x22", "y1", "z1")
        for place in ("cut", "sham", "intact")
        if (item, place) != ("z1", "sham")
    ]
    frame = pd.DataFrame(rows, columns=["arm", "seed", "task", "item_id", "place", "image_id", "correct"])
    found = bootstrap.triplet_table(frame.sample(frac=1, random_state=0))
    assert list(found.columns) == ["arm", "seed", "task", "item_id", "cut", "sham", "intact", "image_id"]
    assert sorted(zip(found["seed"], found["item_id"], strict=True)) == [(seed, item) for seed in (0, 1) for item in ("x1", "x22", "y1")]
    by_hand = {(seed, item, place): right for _, seed, _, item, place, _, right in rows}
    for row in found.itertuples():
        assert row.image_id == f"page-{row.item_id[0]}"
        assert [row.cut, row.sham, row.intact] == [by_hand[row.seed, row.item_id, place] for place in ("cut", "sham", "intact")]
    assert bootstrap.triplet_table(frame[frame["place"] != "sham"]).empty


def _shares(items: int, above: int) -> tuple[list[float], list[float]]:
    """Two arms at eight levels, `above` items of `items` apart: as the floats of counts are."""
    counts = [items // 4 + 7 * step for step in range(8)]
    return [(count + above) / items for count in counts], [count / items for count in counts]


@pytest.mark.parametrize("items", [100, 300, 700, 1000])
@pytest.mark.parametrize("past", [-1, 0, 1])
def test_a_difference_that_is_exactly_the_margin_is_on_neither_side_of_it(items: int, past: int) -> None:
    """Equal differences scatter in their last bits only, which decide nothing; one item less is within, one more is beyond."""
    margin, apart = 3 * items // 100, 3 * items // 100 + past
    for sign in (1, -1):
        a, b = _shares(items, sign * apart)
        d = np.subtract(a, b)
        assert statistics.tost(d, margin / items) == (0 if past < 0 else 1)
        assert statistics.exceeds(d, margin / items) == (0 if past > 0 else 1)


@pytest.mark.parametrize("n", [6, 40])
def test_sign_flips_are_those_of_each_row(n: int) -> None:
    rows = np.random.default_rng(0).normal(0.1, 1, (3, n))
    assert statistics.sign_flips(rows).tolist() == [statistics.sign_flip(row) for row in rows]
