"""What was found, in sentences made by rule from the data alone: alarms first, then one sentence a verdict."""

from __future__ import annotations

from fila_lab.analysis.alarms import find_alarms
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.style import number, rows_of, scale_of, with_bounds
from fila_lab.analysis.sweep_text import sweep_sentences
from fila_lab.analysis.verdicts import BEYOND, OPEN, WITHIN, relation

SAID = (*((word, size) for word in ("better", "worse") for size in (BEYOND, OPEN, WITHIN)), ("equivalent", ""), ("inconclusive", ""))
"""Verdicts and sizes in the order in which they are said."""


def headline_of(findings: Findings, committed: Findings | None = None) -> list[str]:
    """Every alarm, then what was found. committed: the results shown beside it, when there are any.

    Example:
        >>> found = Findings.of("experiments/results/remove_fusion")
        >>> print(headline_of(found)[-1])
        Smallest true difference these seeds find with 80 % power: ...
    """
    return [alarm.line() for alarm in find_alarms(findings, committed)] + sentences_of(findings)


def sentences_of(findings: Findings) -> list[str]:
    """What a sweep found, then every verdict; a study that declares no contrast has none."""
    if findings.sweep is None:
        return verdict_sentences(findings)
    return sweep_sentences(findings.sweep) + (verdict_sentences(findings) if findings.folder.study.families else [])


def verdict_sentences(findings: Findings) -> list[str]:
    """What was found, one sentence a verdict, by rule from the data alone."""
    table, scale = findings.verdicts, scale_of(findings.metric)
    unit = "points" if scale == 100 else ""
    if table.empty:
        return ["No declared contrast has both its arms in this folder: there is nothing to judge."]
    sentences = []
    apart = table[table["verdict"] == "not comparable"]
    for cause, own in apart.groupby("reason", sort=False):
        sentences.append(f"Not comparable: {'; '.join(f'{r.a} − {r.b}' for r in rows_of(own))} ({cause}).")
    for word, size in SAID:
        rows = table[(table["verdict"] == word) & (table["size"] == size)]
        parts = []
        for r in rows_of(rows):
            what = f"{r.a} − {r.b}" if r.metric == findings.metric else f"{r.a} − {r.b} in {r.metric}"
            test = f"TOST, Holm p {relation(r.p_tost_holm)}" if word == "equivalent" else f"Holm p {relation(r.p_holm)}"
            mark = f"; {r.mark}" if r.mark else ""
            parts.append(f"{what} {with_bounds(r.difference * scale, r.low * scale, r.high * scale)} ({test}{mark})")
        if parts:
            sentences.append(f"{', '.join(filter(None, (word.capitalize(), size)))}: {'; '.join(parts)}.")
    untested = table[table["verdict"] == "not testable"]
    for (family, reason), rows in untested.groupby(["family", "reason"], sort=False):
        pairs = "; ".join(f"{r.a} − {r.b} {with_bounds(r.difference * scale, r.low * scale, r.high * scale)}" for r in rows_of(rows))
        sentences.append(f"Not testable ({family}): {reason}. Estimates only: {pairs}.")
    judged = table[~table["verdict"].isin(("not testable", "not comparable"))]
    mde = judged["mde"].dropna() * scale
    if len(mde):
        span = number(mde.min()) if mde.max() - mde.min() < 0.05 else f"{number(mde.min())} to {number(mde.max())}"
        margin = number(findings.folder.study.margin * scale)
        sentences.append(f"Smallest true difference these seeds find with 80 % power: {span} {unit}, against a margin of {margin}.")
    return sentences
