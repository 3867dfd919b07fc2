"""Seam gap, sham gap and fragmentation error against cases counted by hand."""

import numpy as np
import pandas as pd
import pytest

from fila_lab.config.base import FilaError
from fila_lab.config.data import PLACES
from fila_lab.evaluation import seam_gap_interval, summarise, triplet_table

# (cut, sham, intact) right or wrong, and the image each triplet lies on
READING = {
    "r0": ((0, 1, 1), "A"),
    "r1": ((0, 1, 1), "A"),
    "r2": ((1, 0, 1), "B"),
    "r3": ((1, 1, 1), "C"),
    "r4": ((0, 0, 1), "C"),
}
COARSE = {"c0": ((1, 1, 1), "A"), "c1": ((0, 0, 0), "B")}


def frame(**tasks: dict[str, tuple[tuple[int, ...], str]]) -> pd.DataFrame:
    rows = [
        {"item_id": item, "task": task, "place": place, "correct": bool(value), "image_id": image}
        for task, items in tasks.items()
        for item, (values, image) in items.items()
        for place, value in zip(PLACES, values, strict=True)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def test_summary_counted_by_hand() -> None:
    metrics = summarise(frame(reading=READING, coarse=COARSE))
    assert metrics == pytest.approx(
        {
            "exact/reading/cut": 0.4,
            "exact/reading/sham": 0.6,
            "exact/reading/intact": 1.0,
            "exact/reading": 2 / 3,
            "n/reading": 5,
            "seam_gap/reading": 0.2,
            "sham_gap/reading": 0.4,
            "fragmentation/reading": 0.4,
            "fragmentation_reverse/reading": 0.2,
            "exact/coarse/cut": 0.5,
            "exact/coarse/sham": 0.5,
            "exact/coarse/intact": 0.5,
            "exact/coarse": 0.5,
            "n/coarse": 2,
            "seam_gap/coarse": 0.0,
            "sham_gap/coarse": 0.0,
            "fragmentation/coarse": 0.0,
            "fragmentation_reverse/coarse": 0.0,
            "exact/mean": (2 / 3 + 0.5) / 2,
        }
    )
    assert all(isinstance(value, float) for value in metrics.values())


def test_seam_gap_is_the_difference_of_the_two_error_rates_whatever_the_data() -> None:
    rng = np.random.default_rng(0)
    items = {f"i{i}": (tuple(rng.integers(0, 2, 3)), f"p{i % 7}") for i in range(200)}
    predictions = frame(reading=items)
    metrics = summarise(predictions)
    assert metrics["seam_gap/reading"] == pytest.approx(metrics["fragmentation/reading"] - metrics["fragmentation_reverse/reading"])
    assert metrics["exact/reading"] == pytest.approx(predictions["correct"].mean())
    assert summarise(predictions.iloc[::-1]) == metrics


def test_items_with_one_place_have_accuracies_and_no_gaps() -> None:
    predictions = pd.DataFrame(
        {
            "item_id": ["a", "b", "c", "d"],
            "task": "reading",
            "place": ["cut", "cut", "cut", "intact"],
            "correct": [True, False, False, True],
        }
    )
    metrics = summarise(predictions)
    assert metrics == pytest.approx(
        {"exact/reading/cut": 1 / 3, "exact/reading/intact": 1.0, "exact/reading": 2 / 3, "n/reading": 4, "exact/mean": 2 / 3}
    )
    assert triplet_table(predictions).empty
    with pytest.raises(FilaError, match="no triplets"):
        seam_gap_interval(predictions.assign(image_id="x"), "reading")


def test_triplet_table() -> None:
    table = triplet_table(frame(reading=READING, coarse=COARSE), "reading")
    assert list(table.columns) == list(PLACES)
    assert {item: tuple(map(int, row)) for item, row in zip(table.index, table.to_numpy(), strict=True)} == {
        item: values for item, (values, _) in READING.items()
    }
    assert {str(kind) for kind in table.dtypes} == {"bool"}
    assert len(triplet_table(frame(reading=READING, coarse=COARSE))) == 7
    with pytest.raises(FilaError, match="share item ids"):
        triplet_table(frame(reading=READING, coarse=READING))


def test_interval_estimates_and_seed() -> None:
    predictions = frame(reading=READING, coarse=COARSE)
    intervals = seam_gap_interval(predictions, "reading", seed=3)
    assert intervals["seam_gap"].estimate == pytest.approx(0.2)
    assert intervals["sham_gap"].estimate == pytest.approx(0.4)
    assert (intervals["seam_gap"].items, intervals["seam_gap"].clusters) == (5, 3)
    assert all(interval.low <= interval.estimate <= interval.high for interval in intervals.values())
    assert seam_gap_interval(predictions.iloc[::-1], "reading", seed=3) == intervals
    assert seam_gap_interval(predictions, "reading", seed=4, resamples=50) != intervals


def test_interval_has_the_width_the_cluster_formula_gives() -> None:
    rng = np.random.default_rng(1)
    shared = rng.random(150) < 0.5  # all 4 items of an image share their outcome
    items = {f"i{image}-{copy}": ((0, int(shared[image]), 1), f"p{image}") for image in range(150) for copy in range(4)}
    clustered = seam_gap_interval(frame(reading=items), "reading")["seam_gap"]
    half_width = 1.96 * np.sqrt(shared.mean() * (1 - shared.mean()) / 150)
    assert (clustered.high - clustered.low) / 2 == pytest.approx(half_width, rel=0.1)
    alone = frame(reading={item: (values, item) for item, (values, _) in items.items()})
    independent = seam_gap_interval(alone, "reading")["seam_gap"]
    assert (clustered.high - clustered.low) / (independent.high - independent.low) == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(("confidence", "reach"), [(0.5, 0.674), (0.8, 1.282), (0.95, 1.960)])
def test_both_ends_leave_out_the_same_share(confidence: float, reach: float) -> None:
    """On the scale of the standard error, either side of the estimate, for the seam gap and the sham gap alike."""
    rng = np.random.default_rng(2)
    items = {f"i{number}": (tuple(rng.integers(0, 2, 3)), f"p{number}") for number in range(400)}
    own = np.array([values for values, _ in items.values()])
    found = seam_gap_interval(frame(reading=items), "reading", confidence=confidence, resamples=4000)
    for name, differences in (("seam_gap", own[:, 1] - own[:, 0]), ("sham_gap", own[:, 2] - own[:, 1])):
        error = differences.std() / 20
        assert found[name].estimate - found[name].low == pytest.approx(reach * error, abs=0.1 * error)
        assert found[name].high - found[name].estimate == pytest.approx(reach * error, abs=0.1 * error)


def test_a_gap_that_is_the_same_everywhere_has_no_width_whatever_the_sizes_of_the_clusters() -> None:
    same = (0, 1, 1)
    interval = seam_gap_interval(frame(reading={"a": (same, "A"), "b": (same, "B"), "c": (same, "B")}), "reading")["seam_gap"]
    assert (interval.low, interval.estimate, interval.high) == (1.0, 1.0, 1.0)


def test_mistakes_are_named() -> None:
    good = frame(reading=READING)
    with pytest.raises(FilaError, match="columns correct are missing"):
        summarise(good.drop(columns="correct"))
    with pytest.raises(FilaError, match="empty"):
        summarise(good.iloc[:0])
    with pytest.raises(FilaError, match="unknown place 'left'"):
        summarise(good.replace({"place": {"cut": "left"}}))
    with pytest.raises(FilaError, match="other than true and false"):
        summarise(good.assign(correct=0.5))
    with pytest.raises(FilaError, match="task have empty values"):
        summarise(good.assign(task=None))
    with pytest.raises(FilaError, match="appears twice"):
        summarise(pd.concat([good, good.iloc[:1]]))
    with pytest.raises(FilaError, match="1 of 5 items of task 'reading' lack a place"):
        summarise(good.iloc[1:])
    with pytest.raises(FilaError, match="'readin' is not among"):
        seam_gap_interval(good, "readin")
    with pytest.raises(FilaError, match="different images"):
        seam_gap_interval(good.assign(image_id=[str(i) for i in range(len(good))]), "reading")
    with pytest.raises(FilaError, match="lies on one image"):
        seam_gap_interval(good.assign(image_id="A"), "reading")
