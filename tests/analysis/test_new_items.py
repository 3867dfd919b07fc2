"""The interval for new items: against a two-way bootstrap written as a loop, its coverage, and never narrower than that over seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fila_lab.analysis import statistics
from fila_lab.analysis.contrasts import Contrast
from fila_lab.analysis.new_items import ItemError, NewItems
from fila_lab.analysis.recomputed import recompute, recomputed_check
from fila_lab.analysis.verdicts import BEYOND, WITHIN, judge
from fila_lab.config.study import Family

PLACES = ("cut", "sham", "intact")


def predictions(
    arms: dict[str, float], seeds: int, images: int, seed: int = 0, seed_sd: float = 0.3, image_sd: float = 1.0, own_sd: float = 0.0
) -> pd.DataFrame:
    """Two items an image, three places an item; right when a logit of arm + seed + image effects is above logistic noise."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, image_sd, images)
    rows = []
    for arm, level in arms.items():
        own = rng.normal(0, own_sd, images)  # what an arm finds easy and others do not
        for s in range(seeds):
            shift = level + rng.normal(0, seed_sd)
            for item in range(2 * images):
                at = item // 2
                for place in PLACES:
                    chance = 1 / (1 + np.exp(-(shift + image[at] + own[at])))
                    rows.append((arm, s, f"item-{item}", "reading", place, f"page-{at}", bool(rng.random() < chance)))
    return pd.DataFrame(rows, columns=["arm", "seed", "item_id", "task", "place", "image_id", "correct"])


def by_cell(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.groupby(["seed", "arm"])["correct"].mean().unstack()


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return predictions({"a": 0.4, "b": 0.0}, seeds=6, images=40, own_sd=0.5)


@pytest.mark.parametrize("metric", ["exact/reading", "exact/reading/cut", "exact/mean", "seam_gap/reading", "sham_gap/reading"])
def test_metrics_are_recomputed_from_the_items(frame: pd.DataFrame, metric: str) -> None:
    found = NewItems.of(frame, metric)
    assert found is not None
    wide = frame.groupby(["arm", "seed", "place"])["correct"].mean().unstack()
    wanted = {
        "exact/reading": wide.mean(axis=1),
        "exact/reading/cut": wide["cut"],
        "exact/mean": wide.mean(axis=1),
        "seam_gap/reading": wide["sham"] - wide["cut"],
        "sham_gap/reading": wide["intact"] - wide["sham"],
    }[metric].unstack()
    assert found.observed == pytest.approx(wanted.to_numpy())
    assert found.drawn.mean(axis=0) == pytest.approx(wanted.to_numpy(), abs=0.02)


@pytest.mark.parametrize(
    ("metric", "tasks"), [("exact/fine/cut", ["reading", "chart"]), ("exact/fine", ["reading", "chart"]), ("exact/mean/cut", None)]
)
def test_a_mean_over_tasks_weighs_them_alike_and_fine_leaves_out_the_easy_ones(
    frame: pd.DataFrame, metric: str, tasks: list[str] | None
) -> None:
    """Of a frame whose tasks have unlike numbers of items."""
    number = frame["item_id"].str.removeprefix("item-").astype(int)
    frame = frame.assign(task=np.select([number < 10, number < 30], ["coarse", "chart"], "reading"))
    found = NewItems.of(frame, metric)
    assert found is not None
    own = frame if tasks is None else frame[frame["task"].isin(tasks)]
    own = own[own["place"] == "cut"] if metric.endswith("/cut") else own
    wanted = own.groupby(["arm", "seed", "task"])["correct"].mean().groupby(["arm", "seed"]).mean().unstack()
    assert found.observed == pytest.approx(wanted.to_numpy())
    ours = recompute(frame.assign(id=frame["arm"] + frame["seed"].astype(str)))[metric]
    assert sorted(ours) == pytest.approx(sorted(wanted.to_numpy().ravel()))


def test_a_task_has_its_own_images_and_its_mean_is_over_these(frame: pd.DataFrame) -> None:
    """Pages of another task carry none of its items; a cell without predictions of the task is unknown, not zero."""
    other = frame.assign(task="coarse", image_id="other " + frame["image_id"], item_id="other " + frame["item_id"], correct=True)
    both = pd.concat([frame, other[other["arm"] == "a"]])
    alone, found = NewItems.of(frame, "exact/reading"), NewItems.of(both, "exact/reading")
    assert alone is not None
    assert found is not None
    assert found.observed == pytest.approx(alone.observed)
    assert found.images == 2 * alone.images
    coarse = NewItems.of(both, "exact/coarse")
    assert coarse is not None
    assert coarse.observed[coarse.arms.index("a")] == pytest.approx(1.0)
    assert np.isnan(coarse.observed[coarse.arms.index("b")]).all()


def test_a_metric_that_is_no_mean_over_items_and_cells_with_other_items_have_none(frame: pd.DataFrame) -> None:
    assert NewItems.of(frame, "fragmentation/reading") is None
    assert NewItems.of(frame, "exact/unknown") is None
    assert NewItems.of(frame.drop(index=frame.index[3]), "exact/reading") is None


def test_the_variance_is_that_of_drawing_seeds_and_images_in_a_loop(frame: pd.DataFrame) -> None:
    found = NewItems.of(frame, "exact/reading", draws=4000)
    assert found is not None
    error = found.error_of({"a": 1.0, "b": -1.0}, range(6))
    assert error is not None
    cells = frame.groupby(["arm", "seed", "image_id"])["correct"].mean().unstack()
    difference = (cells.loc["a"] - cells.loc["b"]).to_numpy()  # [seeds, images], as many items on each image
    rng = np.random.default_rng(1)
    means = [difference[np.ix_(rng.integers(0, 6, 6), rng.integers(0, 40, 40))].mean() for _ in range(4000)]
    # The bootstrap takes the seeds' variance over n, the interval over n - 1.
    assert error.of_seeds == pytest.approx(difference.mean(axis=1).var(ddof=1) / 6)
    assert error.of_images + error.of_seeds * 5 / 6 == pytest.approx(np.var(means), rel=0.1)


def test_where_images_add_nothing_it_is_the_interval_over_seeds() -> None:
    d = np.array([0.01, 0.02, 0.03, 0.025, 0.005])
    over = statistics.paired_interval(d)
    error = ItemError(over.sd**2 / 5, 0.0, 5, 100)
    assert error.half() == pytest.approx(over.half, rel=1e-6)
    assert 2 * error.tail(over.mean) == pytest.approx(stats.ttest_1samp(d, 0).pvalue)


@pytest.mark.parametrize(("seeds", "images", "ratio"), [(3, 20, 1.0), (8, 900, 0.3), (8, 30, 5.0), (5, 12, 1.0)])
def test_the_distribution_is_that_of_two_t_variables_together(seeds: int, images: int, ratio: float) -> None:
    error = ItemError(1.0, ratio, seeds, images)
    rng = np.random.default_rng(0)
    drawn = rng.standard_t(seeds - 1, 400_000) + ratio**0.5 * rng.standard_t(images - 1, 400_000)
    for share in (0.2, 0.05, 0.025, 0.005):
        assert error.tail(np.quantile(drawn, 1 - share)) == pytest.approx(share, rel=0.05)
    assert error.half() == pytest.approx(np.quantile(np.abs(drawn), 0.95), rel=0.02)
    assert error.half() >= float(stats.t.ppf(0.975, seeds - 1))


def test_it_covers_what_new_seeds_and_new_images_would_give() -> None:
    """Seed effects and image effects of the difference are drawn anew in every study; the mean over both is 0."""
    rng = np.random.default_rng(2)
    covered = {"seeds": 0, "both": 0}
    for _ in range(400):
        n, images = 8, 60
        cells = rng.normal(0, 0.01, (n, 1)) + rng.normal(0, 0.12, (1, images)) + rng.normal(0, 0.1, (n, images))
        sums = {"a": cells, "b": np.zeros_like(cells)}
        drawn = rng.multinomial(images, np.full(images, 1 / images), size=500) / images
        found = NewItems(
            ("a", "b"),
            tuple(range(n)),
            np.stack([own.mean(axis=1) for own in sums.values()]),
            np.stack([drawn @ own.T for own in sums.values()], axis=1),
            images,
        )
        error = found.error_of({"a": 1.0, "b": -1.0}, range(n))
        assert error is not None
        covered["both"] += abs(cells.mean()) <= error.half()
        covered["seeds"] += abs(cells.mean()) <= statistics.paired_interval(cells.mean(axis=1)).half
    assert covered["both"] / 400 > 0.93
    assert covered["seeds"] / 400 < 0.75, "the interval over seeds says nothing about new items"


def test_a_sign_that_holds_for_this_pool_only_is_marked() -> None:
    """Few pages, on which arms differ by page: every seed agrees, other pages would not."""
    frame = predictions({"a": 0.0, "b": 0.0}, seeds=8, images=12, seed=4, seed_sd=0.02, own_sd=1.5)
    values = by_cell(frame)
    assert (values["a"] - values["b"] > 0).all() or (values["a"] - values["b"] < 0).all()
    cells = values.stack().rename("exact/reading").reset_index()
    (row,) = judge(cells, {"f": Family(contrasts=(("a", "b"),))}, "exact/reading", 0.001, frame).to_dict("records")
    assert row["verdict"] in ("better", "worse")
    assert row["mark"] == "this pool only"
    assert row["items_low"] < 0 < row["items_high"]
    (plain,) = judge(cells, {"f": Family(contrasts=(("a", "b"),))}, "exact/reading", 0.001).to_dict("records")
    assert (plain["verdict"], plain["mark"]) == (row["verdict"], "new items not known")


def test_a_size_is_unmarked_where_the_interval_for_new_items_is_clear_of_the_margin_on_its_side() -> None:
    frame = predictions({"a": 1.2, "b": 0.0}, seeds=8, images=150, seed=4, seed_sd=0.02, own_sd=1.0)
    cells = by_cell(frame).stack().rename("exact/reading").reset_index()
    marks = set()
    for margin in np.linspace(0.05, 0.45, 41):
        (row,) = judge(cells, {"f": Family(contrasts=(("a", "b"),))}, "exact/reading", float(margin), frame).to_dict("records")
        assert row["verdict"] == "better"
        if row["size"] in (BEYOND, WITHIN):
            clear = row["items_low"] > margin if row["size"] == BEYOND else row["items_high"] < margin
            assert row["mark"] == ("" if clear else "size: this pool only")
            marks.add((row["size"], row["mark"]))
    assert len(marks) == 4


def test_predictions_that_do_not_belong_to_the_numbers_give_no_interval(frame: pd.DataFrame) -> None:
    values = by_cell(frame)
    found = NewItems.of(frame, "exact/reading")
    own = Contrast.of(values, ("a", "b"), "exact/reading", 0.02, None)
    assert set(own.for_new_items(found)) == {"items_low", "items_high", "p_items", "p_tost_items", "p_beyond_items"}
    edited = values.assign(a=values["a"] + 0.01)
    assert not Contrast.of(edited, ("a", "b"), "exact/reading", 0.02, None).for_new_items(found)


def scored(frame: pd.DataFrame) -> pd.DataFrame:
    """The same predictions as a benchmark judges them: no places, several accepted answers, a score between 0 and 1."""
    own = frame[frame["place"] == "cut"].assign(task="docvqa", place="", answer="gold", prediction="old")
    score = np.random.default_rng(5).uniform(0.5, 1, len(own)) * own["correct"]
    score = score.where(np.arange(len(own)) % 3 > 0, own["correct"].astype(float))
    return own.assign(id=own["arm"] + own["seed"].astype(str), score=score, correct=score == 1.0)


def test_a_score_that_is_no_accuracy_has_its_own_means_and_intervals(frame: pd.DataFrame) -> None:
    own = scored(frame)
    found = NewItems.of(own, "anls/docvqa")
    assert found is not None
    wanted = own.groupby(["arm", "seed"])["score"].mean().unstack()
    assert found.observed == pytest.approx(wanted.to_numpy())
    error = found.error_of({"a": 1, "b": -1}, list(found.seeds))
    assert error is not None
    assert error.half() > 0
    assert NewItems.of(own.drop(columns="score"), "anls/docvqa") is None


def test_metrics_of_a_benchmark_follow_from_its_scores_not_from_equal_answers(frame: pd.DataFrame) -> None:
    """An answer may be right that is not the first of the accepted ones: only `exact` is checked by equality."""
    own = scored(frame)
    cells = own.groupby("id").agg(arm=("arm", "first"), seed=("seed", "first"), mean=("score", "mean"), n=("item_id", "nunique"))
    reported = cells.reset_index().rename(columns={"mean": "anls/docvqa", "n": "n/docvqa"})
    assert recomputed_check(reported, own, ["anls/docvqa"]).passed
    edited = reported.assign(**{"anls/docvqa": reported["anls/docvqa"].where(reported["id"] != "a3", 0.9)})
    check = recomputed_check(edited, own, ["anls/docvqa"])
    assert check.passed is False
    assert "a seed 3: anls/docvqa is 0.9000" in check.text
