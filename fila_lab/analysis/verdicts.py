"""The verdict on each declared contrast, by the fixed order: not testable, equivalent, better or worse, inconclusive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fila_lab.analysis import statistics
from fila_lab.config import power
from fila_lab.config.base import FilaError
from fila_lab.config.study import Family

FLOOR, CEILING = 0.20, 0.90
"""Accuracies outside this range are flagged: differences there are compressed."""


COLUMNS = [
    *("family", "a", "b", "n", "mean_a", "mean_b", "difference", "low", "high", "p", "p_holm", "p_greater", "p_tost", "verdict", "reason"),
    *("metric", "sd", "mde", "seeds_for_margin", "flag", "logit_difference", "logit_low", "logit_high", "contrasts"),
]


class Verdict(NamedTuple):
    """The word, and the reason as a sentence with its number."""

    verdict: str
    reason: str


def decide(mean: float, n: int, contrasts: int, p_holm: float, p_tost: float) -> Verdict:
    """DESIGN order. n = paired seeds, contrasts = size of the declared family."""
    if not power.can_test(contrasts, n):
        needed = power.seeds_needed(contrasts)
        return Verdict(
            "not testable",
            f"{n} seed{'' if n == 1 else 's'} cannot reach p < {power.ALPHA:g} over {contrasts} contrasts; {needed} seeds are needed",
        )
    if p_tost < power.ALPHA:
        return Verdict("equivalent", f"within the margin, TOST p = {p_text(p_tost)}")
    if p_holm < power.ALPHA:
        return Verdict("better" if mean > 0 else "worse", f"sign-flip, Holm p = {p_text(p_holm)}")
    return Verdict("inconclusive", f"neither a difference (Holm p = {p_text(p_holm)}) nor equivalence (TOST p = {p_text(p_tost)}) is shown")


def judge(frame: pd.DataFrame, families: Mapping[str, Family], metric: str, margin: float) -> pd.DataFrame:
    """One row per declared contrast whose arms are in `frame` (of `load_study_frame`), per family; columns COLUMNS, units the metric's.

    An interaction (A - B) - (C - D) is a contrast of its two differences: a is `(A − B)`, b `(C − D)`, paired by seed all the same.
    n: paired seeds; low, high: 95 % Student-t; mde: minimal detectable effect at 80 % power; contrasts: the declared family's size.
    A family with a metric of its own is judged by that, and named with it.
    Contrasts of arms that were not run stay in the family's size. Errors: FilaError when the metric is unknown.
    """
    for name in (metric, *(declared.metric for declared in families.values() if declared.metric)):
        if name not in frame:
            known = ", ".join(sorted(name for name in frame.columns if "/" in name and not name.startswith("timing/")))
            raise FilaError(f"metric={name!r}: no finished cell has it; known metrics are {known}")
    rows = []
    for family, declared in families.items():
        judged = declared.metric or metric
        values = frame.dropna(subset=[judged]).pivot_table(index="seed", columns="arm", values=judged)
        items, size = _items(frame, judged), len(declared.comparisons)
        own = [_contrast(values, arms, margin, size, items) for arms in declared.comparisons if set(arms) <= set(values)]
        adjusted = statistics.holm([row["p"] for row in own], size)
        name = f"{family}: {judged}" if judged != metric else family
        for row, p_holm in zip(own, adjusted, strict=True):
            verdict = decide(row["difference"], row["n"], size, p_holm, row["p_tost"])
            rows.append({"family": name, "metric": judged, **row, "p_holm": p_holm, **verdict._asdict(), "contrasts": size})
    return pd.DataFrame(rows, columns=COLUMNS).astype({"mde": float, "seeds_for_margin": float})


def sides(arms: Sequence[str]) -> tuple[str, str]:
    """Names of what is compared: the two arms of a contrast, or `(A − B)` and `(C − D)` of an interaction."""
    return (arms[0], arms[1]) if len(arms) == 2 else (f"({arms[0]} − {arms[1]})", f"({arms[2]} − {arms[3]})")


def paired(values: pd.DataFrame, arms: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two sides at the seeds [n] that all of the comparison's arms finished; `values` has a row a seed and a column an arm."""
    columns = [values[arm].to_numpy(float) for arm in arms]
    whole = ~np.isnan(columns).any(axis=0)
    kept = [column[whole] for column in columns]
    return (kept[0], kept[1]) if len(kept) == 2 else (kept[0] - kept[1], kept[2] - kept[3])


def _contrast(values: pd.DataFrame, arms: Sequence[str], margin: float, size: int, items: float | None) -> dict[str, Any]:
    a, b = sides(arms)
    first, second = paired(values, arms)
    difference = first - second
    interval = statistics.paired_interval(difference)
    mean_a, mean_b = (float(x.mean()) if x.size else float("nan") for x in (first, second))
    own = values[list(dict.fromkeys(arms))].dropna()
    flags = [flag for arm in own for flag in [_extreme(str(arm), float(own[arm].mean()))] if flag]
    shares = bool(len(own)) and own.to_numpy().min() >= 0 and own.to_numpy().max() <= 1
    logits = pd.DataFrame({arm: statistics.logit(own[arm], items) for arm in own}, columns=own.columns)
    scaled = statistics.paired_interval(np.subtract(*paired(logits, arms)) if flags and shares else [])
    needed = power.seeds_for_effect(margin, interval.sd, size) if interval.n > 1 else None
    return {
        "a": a,
        "b": b,
        "n": interval.n,
        "mean_a": mean_a,
        "mean_b": mean_b,
        "difference": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "p": statistics.sign_flip(difference),
        "p_greater": statistics.probability_greater(first, second),
        "p_tost": statistics.tost(difference, margin),
        "sd": interval.sd,
        "mde": power.minimal_detectable_effect(interval.sd, interval.n, size) if interval.n > 1 else None,
        "seeds_for_margin": needed,
        "flag": "; ".join(flags),
        "logit_difference": scaled.mean,
        "logit_low": scaled.low,
        "logit_high": scaled.high,
    }


def _extreme(arm: str, mean: float) -> str:
    if mean < FLOOR:
        return f"{arm} below {FLOOR:.0%}"
    return f"{arm} above {CEILING:.0%}" if mean > CEILING else ""


def _items(frame: pd.DataFrame, metric: str) -> float | None:
    """Items behind an accuracy, from `n/<family>`, for the logit scale's bounds."""
    column = "n/" + metric.split("/")[1] if "/" in metric else ""
    return float(frame[column].median()) if column in frame and frame[column].notna().any() else None


def p_text(p: float) -> str:
    """A p value for people: three decimals, `< .001` below."""
    if p != p:
        return "-"
    return "< .001" if p < 0.001 else "1" if p >= 0.9995 else f"{p:.3f}".lstrip("0")
