"""Contrasts pair by pair, for report, terminal and alarms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from fila_lab.analysis.alarm import Alarm
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.pairs import KEYS
from fila_lab.analysis.style import bounds, number, rows_of, scale_of, with_bounds
from fila_lab.analysis.tables import Table
from fila_lab.analysis.verdicts import p_text


def pair_tables(findings: Findings) -> dict[str, Table]:
    """`pairs`, of a study whose seeds are spread over tower pairs; empty for one that has none."""
    split = findings.pairs
    if split.effects.empty:
        return {}
    rows: list[dict[str, Any]] = []
    whole = {tuple(getattr(r, name) for name in KEYS): r for r in rows_of(findings.verdicts)}
    for r in rows_of(split.effects):
        scale, seeds = scale_of(r.metric), whole[r.family, r.metric, r.a, r.b]
        row = {"family": r.family, "A − B": f"{r.a} − {r.b}"}
        row["all seeds [95 %]"] = with_bounds(seeds.difference * scale, seeds.low * scale, seeds.high * scale)
        for level in rows_of(split.of_effect(r)):
            row[f"pair {level.pair} (seeds)"] = f"{number(level.difference * scale, sign=True)} ({level.n})"
        row["mean of pairs"] = number(r.difference * scale, sign=True)
        row["pairs as blocks [95 %]"] = bounds(r.pairs_low * scale, r.pairs_high * scale)
        row["same sign"] = f"{r.signs} of {r.pairs}"
        row |= {"p": p_text(r.p), "Holm p": p_text(r.p_holm), "do pairs differ?": r.verdict, "detectable sd": number(r.detectable * scale)}
        rows.append(row)
    caption = (
        "Contrasts pair by pair: mean paired difference over each tower pair's seeds, points where a metric is a share. All seeds = the "
        "verdicts' own difference, for other seeds on these pairs; pairs as blocks = 95 % t interval over the pairs' means, for others "
        "pretrained alike. p: exact permutation test that the difference is the same for all pairs, Holm over the family; "
        "detectable sd = the smallest sd between pairs that it finds with 80 % power. "
    )
    data = split.levels.merge(split.effects, on=KEYS, suffixes=("", "_all"))
    return {"pairs": Table("pairs", caption + findings.measured_on, data, pd.DataFrame(rows).fillna("–"))}


def levels_text(levels: pd.DataFrame) -> str:
    """`0 +1.2, 1 +3.4, 2 +0.8` of rows of `PairContrasts.levels`."""
    return ", ".join(f"{level.pair} {number(level.difference * scale_of(level.metric), sign=True)}" for level in rows_of(levels))


def pair_alarms(findings: Findings) -> Iterator[Alarm]:
    """Contrasts that depend on the towers; seeds that are not spread alike over the pairs."""
    split = findings.pairs
    for r in rows_of(split.differing):
        scale = scale_of(r.metric)
        own = "; ".join(
            f"pair {level.pair} {with_bounds(level.difference * scale, level.low * scale, level.high * scale)} ({level.n} seeds)"
            for level in rows_of(split.of_effect(r))
        )
        sign = "" if r.signs == r.pairs else ", and not even in sign"
        text = f"{r.a} − {r.b} on {r.metric} differs between tower pairs more than seeds do{sign}: {own} (Holm p {p_text(r.p_holm)}); "
        yield Alarm("depends on the towers", text + "its mean over pairs is not what any one pair shows", "warning")
    if "pair" in findings.frame and not findings.frame.empty:
        counts = findings.frame.drop_duplicates("seed")["pair"].value_counts().reindex(range(findings.folder.tower_pairs), fill_value=0)
        if counts.nunique() > 1:
            text = f"{', '.join(map(str, counts))} seeds on the {len(counts)} pairs: means over seeds weigh pairs unequally"
            yield Alarm("tower pairs unequal", text, "warning")
