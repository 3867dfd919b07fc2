"""The answer to a study's question, in two sentences made by rule from its verdicts: one on what it compares, one on its controls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from fila_lab.analysis.contrasts import sides
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.style import number, rows_of, scale_of, with_bounds
from fila_lab.analysis.sweep_text import sweep_sentences
from fila_lab.analysis.verdicts import BEYOND

MOST = 6
"""What a clause lists; the rest is counted, and stands in the table of contrasts."""
MOST_REVERSALS = 3
SAID = {
    "better": "better than {b}",
    "worse": "worse than {b}",
    "equivalent": "equivalent to {b}",
    "inconclusive": "inconclusive against {b}",
    "not testable": "not judged against {b}",
    "not comparable": "not comparable with {b}",
}
"""Verdict -> how a clause ends, in the order in which clauses stand."""


def answer_of(findings: Findings) -> list[str]:
    """Two sentences at most: what the verdicts say of the arms that are no controls, with reversals between kinds of items, and what they
    say of the controls. Of a sweep: its points, and what became of them on fresh seeds.

    Args:
        findings: of `StudyFrames.findings`.

    Example:
        >>> study = load("experiments/results/remove_fusion")
        >>> answer_of(study.findings)
        ['On exact/reading/cut, in points, beyond the margin of 2.0 unless said: concat is better than none (+13.3 [+12.2, +14.4]).']
    """
    if findings.sweep is not None:
        return sweep_sentences(findings.sweep)[:2]
    table = findings.verdicts
    if table.empty:
        return ["No declared contrast has both its arms in this folder: there is nothing to judge."]
    controls = control_rows(findings)
    sentences = [
        sentence
        for head, rows in (("", table[~controls]), ("Controls: " if len(table[~controls]) else "", table[controls]))
        if (sentence := _sentence(findings, head, rows))
    ]
    if untested := sorted(set(table.loc[table["verdict"] == "not testable", "reason"])):
        sentences[-1] = sentences[-1].removesuffix(".") + f"; no verdict can be given, as {'; '.join(untested)}."
    return sentences


def control_rows(findings: Findings) -> pd.Series:
    """Which rows of the verdicts compare a control: one flag a row."""
    study = findings.folder.study
    named = {sides(arms): arms for family in study.families.values() for arms in family.comparisons}
    flags = [any(study.arms[arm].role == "control" for arm in named[r.a, r.b]) for r in rows_of(findings.verdicts)]
    return pd.Series(flags, index=findings.verdicts.index, dtype=bool)


def control_families(findings: Findings) -> list[str]:
    """Families, as the verdicts name them, in which every contrast compares a control."""
    flags = control_rows(findings).groupby(findings.verdicts["family"], sort=False).all()
    return [str(name) for name, all_of_it in flags.items() if all_of_it]


def _sentence(findings: Findings, head: str, rows: pd.DataFrame) -> str:
    several = len(set(findings.verdicts["metric"])) > 1
    clauses = _clauses(rows, several)
    if not clauses:
        return ""
    text = "; ".join(clauses)
    if turned := _reversals(findings, rows):
        text += f"; but which is ahead depends on the items, for {turned}"
    return f"{head or _opening(findings, several)}{text}."


def _opening(findings: Findings, several: bool) -> str:
    scale = scale_of(findings.metric)
    unit = ", in points" if scale == 100 else ""
    sized = findings.verdicts["size"].ne("").any()
    margin = f", beyond the margin of {number(findings.folder.study.margin * scale)} unless said" if sized else ""
    return f"{'By the metric of each family' if several else f'On {findings.metric}'}{unit}{margin}: "


def _clauses(rows: pd.DataFrame, several: bool) -> list[str]:
    """One a verdict and second side, arms listed, where that stands in several contrasts, else one a first side; where families have
    metrics of their own, one a verdict and contrast, metrics listed."""
    made = []
    for word, ending in SAID.items():
        own = rows[rows["verdict"] == word].drop_duplicates(["a", "b", "metric"])
        if several:
            for (a, b), group in own.groupby(["a", "b"], sort=False):
                made.append(f"{a} is {ending.format(b=b)} in {_listed(_entry(r.metric.removeprefix('exact/'), r) for r in rows_of(group))}")
            continue
        shared = own.groupby("b")["a"].transform("size") > 1
        for b, group in own[shared].groupby("b", sort=False):
            made.append(f"{_listed(_entry(r.a, r) for r in rows_of(group))} are {ending.format(b=str(b))}")
        for name, group in own[~shared].groupby("a", sort=False):
            a = str(name)
            made.append(f"{a} is {ending.format(b=_listed(_entry(r.b, r) for r in rows_of(group)))}")
    return made


def _entry(name: str, r: Any) -> str:
    """`concat (+10.4 [+9.6, +11.2])`, with the size where it is not beyond the margin, and the mark."""
    scale = scale_of(r.metric)
    more = [text for text in (r.size if r.size != BEYOND else "", r.mark) if text]
    return f"{name} ({'; '.join([with_bounds(r.difference * scale, r.low * scale, r.high * scale), *more])})"


def _reversals(findings: Findings, rows: pd.DataFrame) -> str:
    """Which of these contrasts change sign between kinds of items, with the two levels: `A − B by place (intact +1.8, cut −5.0)`."""
    split = findings.subgroups
    said: dict[str, list[str]] = {}
    for effect, _ in split.reversals():
        if not ((rows["a"] == effect.a) & (rows["b"] == effect.b) & (rows["metric"] == effect.metric)).any():
            continue
        levels = {level.level: number(level.difference * scale_of(effect.metric), sign=True) for level in rows_of(split.of_effect(effect))}
        where = (
            f"{effect.by} ({effect.up} {levels[effect.up]}, {effect.down} {levels[effect.down]}{f'; {effect.mark}' if effect.mark else ''})"
        )
        said.setdefault(f"{effect.a} − {effect.b}", []).append(where)
    return _listed((f"{contrast} by {_listed(dict.fromkeys(where))}" for contrast, where in said.items()), MOST_REVERSALS)


def _listed(parts: Iterable[str], most: int = MOST) -> str:
    kept = list(parts)
    if len(kept) > most + 1:  # one more is as short as its count
        kept = [*kept[:most], f"{len(kept) - most} more"]
    if not kept:
        return ""
    return " and ".join(filter(None, (", ".join(kept[:-1]), kept[-1])))
