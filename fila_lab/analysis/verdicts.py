"""The verdict on each declared contrast: not comparable, not testable, better or worse with its size, equivalent, inconclusive."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from fila_lab.analysis import statistics
from fila_lab.analysis.check import Check
from fila_lab.analysis.contrasts import Contrast, family_title
from fila_lab.analysis.new_items import NewItems
from fila_lab.config import power
from fila_lab.config.base import FilaError
from fila_lab.config.study import Family

BEYOND, WITHIN, OPEN = "beyond the margin", "within the margin", "size open"
POOL, POOL_SIZE, UNKNOWN = "this pool only", "size: this pool only", "new items not known"

COLUMNS = [
    *("family", "a", "b", "n", "mean_a", "mean_b", "difference", "low", "high", "low90", "high90", "items_low", "items_high"),
    *("p", "p_holm", "p_holm_study", "p_greater", "p_tost", "p_tost_holm", "p_size_holm", "p_items_holm"),
    *("verdict", "size", "mark", "reason", "metric", "sd", "mde", "seeds_for_margin"),
    *("flag", "logit_difference", "logit_low", "logit_high", "logit_margin", "contrasts"),
]


class Verdict(NamedTuple):
    """The word, and the reason as a sentence with its number."""

    verdict: str
    reason: str


def decide(mean: float, n: int, contrasts: int, p_holm: float, p_tost: float, incomparable: str = "") -> Verdict:
    """DESIGN order: direction first. n = paired seeds, contrasts = size of the declared family; both p are Holm-adjusted within it.

    incomparable: what makes the two sides incomparable, else empty.
    """
    if incomparable:
        return Verdict("not comparable", incomparable)
    if not power.can_test(contrasts, n):
        seeds, over = f"{n} seed{'' if n == 1 else 's'}", f"{contrasts} contrast{'' if contrasts == 1 else 's'}"
        needed = power.seeds_needed(contrasts)
        return Verdict("not testable", f"{seeds} cannot reach p < {power.ALPHA:g} over {over}; {needed} seeds are needed")
    if p_holm < power.ALPHA:
        return Verdict("better" if mean > 0 else "worse", f"sign-flip, Holm p = {p_text(p_holm)}")
    if p_tost < power.ALPHA:
        return Verdict("equivalent", f"within the margin, TOST, Holm p = {p_text(p_tost)}")
    return Verdict("inconclusive", f"neither a difference (Holm p = {p_text(p_holm)}) nor equivalence (TOST p = {p_text(p_tost)}) is shown")


def size_word(p_within: float, p_beyond: float, p_size_holm: float) -> str:
    """Size beside `better` and `worse`. p_size_holm: Holm-adjusted min(1, 2 min(p_within, p_beyond)), the two-sided p of a difference that
    is exactly the margin. So both words together are wrong with at most 5 % over the family: `beyond` needs more than the contrast's own
    95 % interval clear of the margin, `within` more than its own TOST."""
    if not p_size_holm < power.ALPHA:
        return OPEN
    return BEYOND if p_beyond < p_within else WITHIN


def judge(
    frame: pd.DataFrame,
    families: Mapping[str, Family],
    metric: str,
    margin: float,
    predictions: pd.DataFrame | None = None,
    checks: Iterable[Check] = (),
) -> pd.DataFrame:
    """One row per declared contrast whose arms are in `frame` (of `load_study_frame`), per family; columns COLUMNS, units the metric's.

    An interaction (A - B) - (C - D) is a contrast of its two differences: a is `(A − B)`, b `(C − D)`, paired by seed all the same.
    n: paired seeds; low, high: 95 % Student-t, low90 and high90 the 90 % one; items_low, items_high: 95 % for new items of the same kind,
    from `predictions` (of `load_predictions`); *_holm within the declared family, p_holm_study over all families; mde: minimal detectable
    effect at 80 % power; contrasts: the declared family's size. mark: what is shown for this test pool only.
    A contrast that a failed one of `checks` spoils is `not comparable`, and gets no adjusted p.
    A family with a metric of its own is judged by that, and named with it.
    Contrasts of arms that were not run stay in the family's size. Errors: FilaError when the metric is unknown.

    Example:
        >>> found = Findings.of("experiments/results/remove_fusion")
        >>> study = found.folder.study
        >>> judge(found.frame, study.families, study.metric, study.margin)[["family", "a", "b"]].values.tolist()
        [['fusion', 'concat', 'none']]
    """
    for name in (metric, *(declared.metric for declared in families.values() if declared.metric)):
        if name not in frame:
            known = ", ".join(sorted(name for name in frame.columns if "/" in name and not name.startswith("timing/")))
            raise FilaError(f"metric={name!r}: no finished cell has it; known metrics are {known}")
    failed = [check for check in checks if check.passed is False]
    items = {own: NewItems.of(predictions, own) for own in _metrics(families, metric)} if predictions is not None else {}
    rows = []
    for family, declared in families.items():
        judged = declared.metric or metric
        values = frame.dropna(subset=[judged]).pivot_table(index="seed", columns="arm", values=judged)
        own = contrasts_of(values, declared.comparisons, judged, margin, _items(frame, judged))
        name, size = family_title(family, judged, metric), len(declared.comparisons)
        verdicts = judge_family(own, size, items.get(judged), failed)
        rows += [{"family": name, "metric": judged, **row, **c.reach(size)} for c, row in zip(own, verdicts, strict=True)]
    declared_in_all = sum(len(declared.comparisons) for declared in families.values())
    over_study = statistics.holm([math.nan if row["verdict"] == "not comparable" else row["p"] for row in rows], declared_in_all)
    table = pd.DataFrame([row | {"p_holm_study": p} for row, p in zip(rows, over_study, strict=True)], columns=COLUMNS)
    return table.astype({"mde": float, "seeds_for_margin": float})


def contrasts_of(
    values: pd.DataFrame, comparisons: Sequence[Sequence[str]], metric: str, margin: float, items: float | None = None
) -> list[Contrast]:
    """Those of a family's comparisons whose arms were run; values: a row a seed, a column an arm, NaN where a cell did not finish."""
    return [Contrast.of(values, arms, metric, margin, items) for arms in comparisons if set(arms) <= set(values)]


def judge_family(
    contrasts: Sequence[Contrast], size: int, found: NewItems | None = None, failed: Sequence[Check] = ()
) -> list[dict[str, Any]]:
    """The rows of one family, without its name. size: as declared, contrasts that were not run included; failed: checks that did."""
    rows = []
    for contrast in contrasts:
        spoilt = [f"{check.name}: {check.text}" for check in failed if check.spoils(contrast.arms)]
        rows.append(contrast.numbers() | contrast.for_new_items(found) | {"incomparable": "; ".join(spoilt)})
    _adjust(rows, size)
    for row in rows:
        verdict = decide(row["difference"], row["n"], size, row["p_holm"], row["p_tost_holm"], row["incomparable"])
        directed = verdict.verdict in ("better", "worse")
        word = size_word(row["p_tost"], row["p_beyond"], row["p_size_holm"]) if directed else ""
        row |= {**verdict._asdict(), "size": word, "mark": _mark(row, verdict.verdict, word), "contrasts": size}
    return rows


def _adjust(rows: list[dict[str, Any]], size: int) -> None:
    """Holm within the family of every p, those for new items beside those for this pool."""
    for row in rows:
        for end in ("", "_items"):
            both = [row.get(f"p_tost{end}", math.nan), row.get(f"p_beyond{end}", math.nan)]
            row[f"p_size{end}"] = min(1.0, 2 * min(both))
    for name in ("p", "p_tost", "p_size", "p_items", "p_tost_items", "p_size_items"):
        own = [math.nan if row["incomparable"] else row.get(name, math.nan) for row in rows]
        for row, adjusted in zip(rows, statistics.holm(own, size), strict=True):
            row[f"{name}_holm"] = adjusted


def _mark(row: Mapping[str, Any], verdict: str, size: str) -> str:
    """What of a verdict is not shown for new items of the same kind."""
    if verdict not in ("better", "worse", "equivalent"):
        return ""
    decisive = row["p_tost_items_holm" if verdict == "equivalent" else "p_items_holm"]
    if math.isnan(decisive):
        return UNKNOWN
    if not decisive < power.ALPHA:
        return POOL
    if size in (BEYOND, WITHIN):
        there = size_word(row["p_tost_items"], row["p_beyond_items"], row["p_size_items_holm"])
        return "" if there == size else POOL_SIZE
    return ""


def _metrics(families: Mapping[str, Family], metric: str) -> dict[str, None]:
    return dict.fromkeys(declared.metric or metric for declared in families.values())


def _items(frame: pd.DataFrame, metric: str) -> float | None:
    """Items behind an accuracy, from `n/<family>`, for the logit scale's bounds."""
    column = "n/" + metric.split("/")[1] if "/" in metric else ""
    return float(frame[column].median()) if column in frame and frame[column].notna().any() else None


def said(verdict: str, size: str = "", mark: str = "") -> str:
    """`better, beyond the margin (this pool only)`."""
    return ", ".join(filter(None, (verdict, size))) + (f" ({mark})" if mark else "")


def p_text(p: float) -> str:
    """A p value for people: three decimals, `< .001` below."""
    if p != p:
        return "-"
    return "< .001" if p < 0.001 else "1" if p >= 0.9995 else f"{p:.3f}".lstrip("0")


def relation(p: float) -> str:
    """`= .047`, or `< .001`: what follows the letter p."""
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"
