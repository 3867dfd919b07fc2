"""Seam gap, sham gap and fragmentation error against cases counted by hand."""

import numpy as np
import pandas as pd
import pytest

from fila_lab.config.base import FilaError
from fila_lab.config.data import PLACES
from fila_lab.evaluation import summarise

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
            "exact/mean/cut": 0.45,
            "exact/mean/sham": 0.55,
            "exact/mean/intact": 0.75,
            "exact/fine": 2 / 3,  # of reading alone
            "exact/fine/cut": 0.4,
            "exact/fine/sham": 0.6,
            "exact/fine/intact": 1.0,
        }
    )
    assert all(isinstance(value, float) for value in metrics.values())


def test_a_task_is_judged_by_its_own_score() -> None:
    """One by `exact` though it is named, one by the column `score`."""
    rows = frame(reading=READING, chart=COARSE).assign(score=0.25)
    metrics = summarise(rows, {"reading": "exact", "chart": "anls"})
    assert {
        name: value for name, value in metrics.items() if name.count("/") == 1 and not name.startswith(("n/", "s", "f"))
    } == pytest.approx({"exact/reading": 2 / 3, "anls/chart": 0.25, "exact/mean": 2 / 3, "exact/fine": 2 / 3})


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
        {
            f"exact/{name}{end}": value
            for name in ("reading", "mean", "fine")
            for end, value in (("/cut", 1 / 3), ("/intact", 1.0), ("", 2 / 3))
        }
        | {"n/reading": 4}
    )


def test_further_places_counted_by_hand() -> None:
    """They stand beside the sham place, and change nothing of what a triplet says."""
    plain = summarise(frame(reading=READING))
    right = {"cross": (0, 0, 0, 1, 0), "shift_1": (1, 1, 0, 1, 0), "shift_2": (1, 0, 0, 0, 1)}
    rows = [
        {"item_id": item, "task": "reading", "place": place, "correct": bool(value), "image_id": "A"}
        for place, values in right.items()
        for item, value in zip(READING, values, strict=True)
    ]
    metrics = summarise(pd.concat([frame(reading=READING), pd.DataFrame(rows)]))
    assert {name: metrics[name] for name in plain} == plain
    further = {"cross": 0.2, "shift_1": 0.6, "shift_2": 0.4}
    assert {name: value for name, value in metrics.items() if name not in plain} == pytest.approx(
        {f"exact/{name}/{place}": share for name in ("reading", "mean", "fine") for place, share in further.items()}
        | {"cross_gap/reading": 0.4, "shift_gap/reading": 0.1, "shift_error/reading": 0.2}
    )
    with pytest.raises(FilaError, match="item 'r4' of task 'reading' lacks the place 'cross', which others have"):
        summarise(pd.concat([frame(reading=READING), pd.DataFrame(rows[:4])]))


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
    for column in ("item_id", "task", "place", "correct"):
        with pytest.raises(FilaError, match=f"{column} have empty values"):
            summarise(good.assign(**{column: [None, *good[column].iloc[1:]]}))
    with pytest.raises(FilaError, match="appears twice"):
        summarise(pd.concat([good, good.iloc[:1]]))
    with pytest.raises(FilaError, match="1 of 5 items of task 'reading' lack a place"):
        summarise(good.iloc[1:])
