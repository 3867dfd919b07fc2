"""Aggregates over tasks and seeds, performance profiles, probabilities of improvement: by hand, and drawn."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from fila_lab.analysis import (
    aggregate_intervals,
    improvement_plot,
    improvement_probabilities,
    interval_plot,
    performance_profiles,
    profile_plot,
)


def long(runs: dict[str, list[list[float]]], place: str = "") -> pd.DataFrame:
    """Arm -> [seeds][tasks], as `StudyFrames.scores` has them; beside them what is no task's score."""
    rows = [
        (arm, seed, 0, f"task{task}", place, "exact", value)
        for arm, seeds in runs.items()
        for seed, values in enumerate(seeds)
        for task, value in enumerate(values)
    ]
    rows += [(arm, seed, 0, task, "", kind, 99.0) for arm in runs for seed in (0, 1) for task, kind in (("mean", "exact"), ("task0", "n"))]
    frame = pd.DataFrame(rows, columns=["arm", "seed", "pair", "task", "place", "metric", "value"])
    return frame.assign(arm=pd.Categorical(frame["arm"], categories=list(runs)))


RUNS = {"none": [[0.2, 0.5, 0.9], [0.3, 0.6, 0.8]], "concat": [[0.4, 0.5, 0.9], [0.4, 0.7, 0.7]]}


def test_aggregates_by_hand() -> None:
    table = aggregate_intervals(long(RUNS)).set_index(["arm", "aggregate"])
    for arm, runs in RUNS.items():
        by_task = np.array(runs)
        assert table.at[(arm, "mean"), "value"] == pytest.approx(by_task.mean())
        assert table.at[(arm, "median"), "value"] == pytest.approx(np.median(by_task.mean(axis=0)))
        assert table.at[(arm, "iqm"), "value"] == pytest.approx(np.sort(by_task.ravel())[1:5].mean())
        assert table.at[(arm, "mean"), "low"] == pytest.approx(by_task.mean(axis=1).min())
        assert table.at[(arm, "mean"), "high"] == pytest.approx(by_task.mean(axis=1).max())
    assert set(zip(table["seeds"], table["tasks"], strict=True)) == {(2, 3)}


def test_intervals_hold_what_they_should() -> None:
    """About 95 % of the intervals over 30 seeds hold the true mean; one arm a sample, so that one call makes them all."""
    rng = np.random.default_rng(0)
    many = {f"arm{number}": rng.normal(0.5, 0.1, (30, 1)).tolist() for number in range(80)}
    table = aggregate_intervals(long(many), draws=200)
    own = table[table["aggregate"] == "mean"]
    assert 0.86 <= ((own["low"] <= 0.5) & (own["high"] >= 0.5)).mean() <= 0.99


def test_profiles_by_hand() -> None:
    table = performance_profiles(long(RUNS))
    for arm, runs in RUNS.items():
        own = table[table["arm"] == arm]
        assert own["share"].tolist() == pytest.approx([np.mean(np.array(runs) > threshold) for threshold in own["threshold"]])
        assert (own["share"].diff().dropna() <= 0).all()
        assert ((own["low"] <= own["share"]) & (own["share"] <= own["high"])).all()
    assert (table["threshold"].min(), table["threshold"].max()) == (0.2, 0.9)


def test_improvement_is_paired_by_seed_and_counts_ties_half() -> None:
    row = improvement_probabilities(long(RUNS)).iloc[0]
    assert (row["a"], row["b"], row["seeds"]) == ("concat", "none", 2)
    ahead = [
        1.0 if one > other else 0.5 if one == other else 0.0
        for one, other in zip(itertools.chain(*RUNS["concat"]), itertools.chain(*RUNS["none"]), strict=True)
    ]
    assert row["probability"] == pytest.approx(np.mean(ahead))
    other = improvement_probabilities(long(RUNS), [("none", "concat")]).iloc[0]
    assert row["probability"] + other["probability"] == pytest.approx(1)
    with pytest.raises(ValueError, match=r"'conct' is not among the arms none, concat.*concat"):
        improvement_probabilities(long(RUNS), [("conct", "none")])


def test_seeds_that_lack_a_task_are_left_out() -> None:
    scores = long(RUNS)
    without = scores[~((scores["arm"] == "concat") & (scores["seed"] == 1) & (scores["task"] == "task2"))]
    table = aggregate_intervals(without).set_index(["arm", "aggregate"])
    assert table.at[("concat", "mean"), "value"] == pytest.approx(np.mean(RUNS["concat"][0]))
    assert improvement_probabilities(without).at[0, "seeds"] == 1
    with pytest.raises(ValueError, match="arm concat has no seed with all of"):
        aggregate_intervals(scores[~((scores["arm"] == "concat") & (scores["task"] == "task2"))])


def test_figures_show_every_arm() -> None:
    scores = long(RUNS, place="cut")
    assert [text.get_text() for text in interval_plot(scores, place="cut").axes[0].get_yticklabels()] == ["none", "concat"]
    (legend,) = profile_plot(scores, place="cut").legends
    assert [text.get_text() for text in legend.get_texts()] == ["none", "concat"]
    assert [text.get_text() for text in improvement_plot(scores, place="cut").axes[0].get_yticklabels()] == ["concat > none"]
