"""Checks of the laboratory on itself: A/A verdict rate, same test items, metrics recomputed from predictions, one environment."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fila_lab.analysis import statistics
from fila_lab.analysis.bootstrap import triplet_table
from fila_lab.analysis.check import Check
from fila_lab.config import power


@dataclass(frozen=True)
class AARate:
    """How often pairs of equals get a verdict. `nominal` is the level the exact test can attain at this number of pairs (at most .05)."""

    rate: float
    equivalent: float
    nominal: float
    pairs: int
    repeats: int


def aa_rate(values: ArrayLike, margin: float, repeats: int = 1000, seed: int = 0) -> AARate | None:
    """Split a pool of one arm's values [n] (one a seed) at random into disjoint seed pairs, often, and give the rate of false verdicts.

    `rate` counts sign-flip p < .05; `equivalent` counts TOST p < .05. None when the pool has too few values for one testable
    A/A comparison (12). The splits share the pool: the rate checks the verdict machinery on this pool's values, ties and
    all; it is no independent repetition of the study.
    """
    pool = np.asarray(values, dtype=float)
    pairs = pool.size // 2
    if not power.can_test(1, pairs):
        return None
    rng = np.random.default_rng(seed)
    found = same = 0
    for _ in range(repeats):
        drawn = rng.permutation(pool)[: 2 * pairs]
        difference = drawn[:pairs] - drawn[pairs:]
        found += statistics.sign_flip(difference) < power.ALPHA
        same += statistics.tost(difference, margin) < power.ALPHA
    # p takes the values 2j / 2^n; the greatest one below alpha is the level the test can attain.
    step = 2.0 / 2**pairs
    nominal = (np.ceil(power.ALPHA / step) - 1) * step if pairs <= statistics.EXACT_UP_TO else power.ALPHA
    return AARate(found / repeats, same / repeats, float(nominal), pairs, repeats)


def check_study(
    frame: pd.DataFrame, predictions: pd.DataFrame | None, manifests: pd.DataFrame, baseline: str | None, metric: str, margin: float
) -> list[Check]:
    """All checks a folder allows, for the report."""
    checks = [_aa(frame, baseline, metric, margin)]
    if predictions is None:
        checks.append(Check("predictions", None, "no predictions in this folder"))
    else:
        checks += [_same_items(predictions), _recomputed(frame, predictions)]
    checks.append(_one_environment(manifests))
    return checks


def _aa(frame: pd.DataFrame, baseline: str | None, metric: str, margin: float) -> Check:
    name = "A/A pairs of the baseline"
    values = frame.loc[frame["arm"] == baseline, metric].dropna() if baseline and metric in frame else pd.Series(dtype=float)
    result = aa_rate(values, margin)
    least = 2 * power.seeds_needed(1)
    if result is None:
        return Check(name, None, f"needs {least} finished baseline cells, there are {len(values)}")
    # Three standard errors of a share over the random splits.
    limit = result.nominal + 3 * (result.nominal * (1 - result.nominal) / result.repeats) ** 0.5
    level = f"level of the exact test {result.nominal:.1%}"
    text = f"{result.rate:.1%} of {result.repeats} random splits into {result.pairs} pairs differ ({level})"
    return Check(name, result.rate <= limit, text)


def _same_items(predictions: pd.DataFrame) -> Check:
    pairs = predictions[["item_id", "place", "answer"]] if "answer" in predictions else predictions[["item_id", "place"]]
    keys = pd.util.hash_pandas_object(pairs.astype(str), index=False)
    marks = keys.groupby(predictions["id"]).agg(lambda own: hash(frozenset(own)))
    cells = marks.size
    same = marks.nunique() == 1
    text = f"{cells} cells, {predictions['item_id'].nunique()} items" if same else "cells were tested on different items: nothing is paired"
    return Check("same test items in every cell", same, text)


def _recomputed(frame: pd.DataFrame, predictions: pd.DataFrame) -> Check:
    """Accuracy per place, seam gap and fragmentation from the predictions against the metrics each cell reported."""
    name = "metrics recomputed from predictions"
    triplets = triplet_table(predictions)
    reported = frame.set_index(["arm", "seed"]).select_dtypes("number").to_dict()
    worst, compared = 0.0, 0
    derived = predictions.groupby(["arm", "seed", "family", "place"])["correct"].mean()
    ours: dict[tuple[Hashable, Hashable, str], float] = {}
    for arm, seed, family, place, value in derived.reset_index().itertuples(index=False):
        ours[arm, seed, f"exact/{family}/{place}"] = value
    for (arm, seed, family), own in triplets.groupby(["arm", "seed", "family"]):
        ours[arm, seed, f"seam_gap/{family}"] = own["sham"].mean() - own["cut"].mean()
        ours[arm, seed, f"fragmentation/{family}"] = (own["sham"] & ~own["cut"]).mean()
    for (arm, seed, metric), value in ours.items():
        if (arm, seed) in reported.get(metric, {}):
            compared += 1
            worst = max(worst, abs(reported[metric][arm, seed] - value))
    if not compared:
        return Check(name, None, "no metric could be compared")
    return Check(name, worst < 1e-6, f"{compared} values, greatest deviation {worst:.1e}")


def _one_environment(manifests: pd.DataFrame) -> Check:
    name = "one code, data, weights, versions and precision"
    watched = [c for c in manifests.columns if c.startswith(("code_hash", "data_hash", "weights.", "versions.", "runtime."))]
    if not watched or "code_hash" not in watched:
        return Check(name, None, "no manifest in this folder")
    mixed = [column for column in watched if manifests[column].dropna().astype(str).nunique() > 1]
    # Arms may differ in data, weights and runtime, as that can be their very point; the cells of one arm may not.
    by_arm = manifests.astype(dict.fromkeys(mixed, str)).groupby("arm")
    declared = [column for column in mixed if not column.startswith(("code_hash", "versions.")) and by_arm[column].nunique().max() == 1]
    wrong = [column for column in mixed if column not in declared]
    text = f"cells differ in {', '.join(wrong)}" if wrong else "equal in all cells"
    return Check(name, not wrong, text + (f"; arms differ in {', '.join(declared)}" if declared else ""))
