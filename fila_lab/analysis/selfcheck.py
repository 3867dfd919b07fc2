"""Checks of the laboratory on itself: A/A verdict rate, same test items, metrics recomputed, training alike, one environment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fila_lab.analysis import statistics
from fila_lab.analysis.check import Check
from fila_lab.analysis.columns import numbered
from fila_lab.analysis.folder import StudyFolder
from fila_lab.analysis.frame import load_tuning
from fila_lab.analysis.recomputed import recomputed_check
from fila_lab.analysis.training_checks import planned_check, training_check, tuning_check
from fila_lab.config import power

ITEMS = "same test items in every cell"
ENVIRONMENT = "one code, data, weights, versions and precision"
AA = "A/A pairs of the baseline"
IDLE = ("versions.mlflow", "versions.optuna")
"""Libraries that mirror and search: their versions change no cell's numbers."""


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

    Example:
        >>> rate = aa_rate([0.50, 0.52, 0.51, 0.49, 0.53, 0.50, 0.51, 0.52, 0.48, 0.50, 0.51, 0.49], margin=0.05, repeats=100)
        >>> rate.pairs, rate.equivalent
        (6, 1.0)
    """
    pool = np.asarray(values, dtype=float)
    pairs = pool.size // 2
    if not power.can_test(1, pairs):
        return None
    rng = np.random.default_rng(seed)
    drawn = np.array([rng.permutation(pool)[: 2 * pairs] for _ in range(repeats)])
    differences = drawn[:, :pairs] - drawn[:, pairs:]
    found = int((statistics.sign_flips(differences) < power.ALPHA).sum())
    same = sum(statistics.tost(own, margin) < power.ALPHA for own in differences)
    # p takes the values 2j / 2^n; the greatest one below alpha is the level the test can attain.
    step = 2.0 / 2**pairs
    nominal = (np.ceil(power.ALPHA / step) - 1) * step if pairs <= statistics.EXACT_UP_TO else power.ALPHA
    return AARate(found / repeats, same / repeats, float(nominal), pairs, repeats)


def check_study(folder: StudyFolder, frame: pd.DataFrame, predictions: pd.DataFrame | None, manifests: pd.DataFrame) -> list[Check]:
    """Every check, made or not, for report and verdicts. frame: of `load_study_frame`; predictions: of `load_predictions`, or None;
    manifests: of `load_manifests`."""
    study = folder.study
    metrics = list(dict.fromkeys([study.metric, *(family.metric for family in study.families.values() if family.metric)]))
    checks = [planned_check(folder), training_check(folder), tuning_check(folder, load_tuning(folder))]
    if predictions is None:
        why = "no cell has readable predictions"
        checks += [Check(ITEMS, None, why), Check("metrics recomputed from predictions", None, why)]
    else:
        checks += [items_check(predictions, frame), recomputed_check(frame, predictions, metrics)]
    checks.append(environment_check(manifests))
    checks.append(_aa(frame, folder.baseline, study.metric, study.margin))
    return checks


def items_check(predictions: pd.DataFrame, frame: pd.DataFrame) -> Check:
    """Each cell was asked the same questions with the same answers about the same images, each once: else nothing is paired."""
    columns = [name for name in ("item_id", "task", "place", "question", "answer", "image_id") if name in predictions]
    keys = pd.util.hash_pandas_object(pd.DataFrame({name: _categories(predictions[name]) for name in columns}), index=False)
    # A sum of hashes, modulo 2^64, knows every row and its count, and no order.
    marks = keys.groupby(predictions["id"]).agg(lambda own: f"{np.add.reduce(own.to_numpy()):016x} {len(own)}")
    marks = marks.set_axis(marks.index.astype(str))
    place = np.zeros(len(predictions), np.int64)
    for name in ("id", "task", "item_id", "place"):
        values, codes = numbered(predictions[name])
        place = place * len(values) + codes
    twice = pd.Series(place).duplicated().groupby(predictions["id"].array).any()
    twice = twice.set_axis(twice.index.astype(str))
    arms = predictions[["id", "arm"]].drop_duplicates("id").astype(str).set_index("id")["arm"]
    usual = marks.mode().iloc[0]
    off = marks.index[(marks != usual) | twice.reindex(marks.index)]
    if len(off):
        known = set(keys[predictions["id"] == marks.index[marks == usual][0]])
        first = off[0]
        lost = len(known ^ set(keys[predictions["id"] == first]))
        seed = predictions.loc[predictions["id"] == first, "seed"].iloc[0]
        text = f"{len(off)} of {len(marks)} cells were tested on other items ({arms[first]} seed {seed}: "
        text += f"{lost} questions, answers or images differ)" if lost else "items appear twice)"
        by_arm = marks.groupby(arms).agg(set)
        mixed = {arm for arm, own in by_arm.items() if len(own) > 1} | set(arms[twice.index[twice]])
        groups: dict[str, set[str]] = {}
        for arm, own in by_arm.items():
            groups.setdefault(min(own), set()).add(str(arm))
        return Check(ITEMS, False, text, frozenset(map(str, mixed)), tuple(map(frozenset, groups.values())))
    if len(marks) < len(frame):
        return Check(ITEMS, None, f"{len(frame) - len(marks)} of {len(frame)} cells have no readable predictions; the others agree")
    return Check(ITEMS, True, f"{len(marks)} cells, {predictions['item_id'].nunique()} items, {int(usual.split()[1])} questions each")


def _categories(column: pd.Series) -> pd.Series:
    """The texts of a column, each once."""
    if isinstance(column.dtype, pd.CategoricalDtype) and not column.hasnans:
        return column
    return column.astype(str).astype("category")


def environment_check(manifests: pd.DataFrame) -> Check:
    """One code and one set of versions for all cells; data, weights and runtime may differ between arms, as that can be their point."""
    watched = [
        name
        for name in manifests.columns
        if str(name).startswith(("code_hash", "data_hash", "weights.", "versions.", "runtime.")) and name not in IDLE
    ]
    if "code_hash" not in watched:
        return Check(ENVIRONMENT, None, "no cell has a readable manifest")
    texts = manifests[watched].astype(object).where(manifests[watched].notna(), "").astype(str)
    bare = manifests["code_hash"].isna()
    mixed = [name for name in watched if texts.loc[~bare, name].nunique() > 1]
    # Equal within every arm (weights: within its tower pair), so declared: nothing but an arm's own overrides can have made it.
    blocks = [manifests["arm"], *([manifests["pair"]] if "pair" in manifests else [])]
    of = {name: blocks if name.startswith("weights.") else blocks[:1] for name in mixed}
    own = {name for name in mixed if texts.loc[~bare, name].groupby([block[~bare] for block in of[name]]).nunique().max() == 1}
    allowed = [name for name in mixed if name in own and not name.startswith(("code_hash", "versions."))]
    wrong = [name for name in mixed if name not in allowed]
    if wrong:
        values = "; ".join(f"{name}: {', '.join(sorted(set(texts.loc[~bare, name])))[:120]}" for name in wrong[:3])
        marks = texts.loc[~bare, wrong].agg(" ".join, axis=1).groupby(manifests["arm"]).agg(set)
        unlike = frozenset(str(arm) for arm, seen in marks.items() if len(seen) > 1)
        groups: dict[str, set[str]] = {}
        for arm, seen in marks.items():
            groups.setdefault(min(seen), set()).add(str(arm))
        return Check(ENVIRONMENT, False, f"cells differ in {', '.join(wrong)} ({values})", unlike, tuple(map(frozenset, groups.values())))
    if bare.any():
        return Check(ENVIRONMENT, None, f"{int(bare.sum())} of {len(manifests)} cells have no readable manifest; the others agree")
    what = "arms or tower pairs" if "pair" in manifests else "arms"
    return Check(ENVIRONMENT, True, "equal in all cells" + (f"; {what} differ in {', '.join(allowed)}" if allowed else ""))


def _aa(frame: pd.DataFrame, baseline: str | None, metric: str, margin: float) -> Check:
    values = frame.loc[frame["arm"] == baseline, metric].dropna() if baseline and metric in frame else pd.Series(dtype=float)
    result = aa_rate(values, margin)
    least = 2 * power.seeds_needed(1)
    if result is None:
        return Check(AA, None, f"needs {least} finished baseline cells, there are {len(values)}", needed=False)
    # Three standard errors of a share over the random splits.
    limit = result.nominal + 3 * (result.nominal * (1 - result.nominal) / result.repeats) ** 0.5
    level = f"level of the exact test {result.nominal:.1%}"
    text = f"{result.rate:.1%} of {result.repeats} random splits into {result.pairs} pairs differ ({level})"
    return Check(AA, result.rate <= limit, text, None)
