"""Contrasts split by kinds of items, for report, terminal, headline and signatures."""

from __future__ import annotations

from typing import Any

import pandas as pd

from fila_lab.analysis.findings import Findings
from fila_lab.analysis.style import rows_of
from fila_lab.analysis.subgroups import KEYS, level_text
from fila_lab.analysis.tables import Table
from fila_lab.analysis.verdicts import p_text


def subgroup_tables(findings: Findings) -> dict[str, Table]:
    """`subgroups`, of a study whose families declare `by`; empty for one that does not, or without predictions."""
    split = findings.subgroups
    if split.effects.empty:
        return {}
    rows: list[dict[str, Any]] = []
    for r in rows_of(split.effects):
        levels = "; ".join(level_text(level) for level in rows_of(split.of_effect(r)))
        row = {"by": r.by, "A − B": f"{r.a} − {r.b}", "seeds": str(r.n), "difference by level [95 %]": levels}
        said = f"{r.up} against {r.down}" + (f" ({r.mark})" if r.mark else "") if r.reversal else ""
        rows.append(row | {"p": p_text(r.p), "Holm p": p_text(r.p_holm), "verdict": r.verdict, "reversal": said})
    caption = (
        "Contrasts by kinds of items, points, 95 % t intervals over seeds. p: exact sign-flip of the differences between levels, each "
        "seed's together; Holm over the family's contrasts for that column. Reversal: A is ahead in one level and behind in another, "
        "one-sided t tests, Holm over levels and contrasts. Near floor or ceiling differences are compressed, so that levels differ for "
        "that alone. "
    )
    caption += findings.measured_on
    data = split.levels.merge(split.effects, on=[*KEYS, "n"])
    shown = pd.DataFrame(rows)
    return {"subgroups": Table("subgroups", caption, data, shown if shown["reversal"].any() else shown.drop(columns="reversal"))}
