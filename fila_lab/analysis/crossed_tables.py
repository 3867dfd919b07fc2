"""The tables of crossed factors, for report and terminal."""

from __future__ import annotations

import pandas as pd

from fila_lab.analysis.crossed import crossed_contrasts, crossed_effects, too_few_seeds
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.style import number, rows_of, scale_of, with_bounds
from fila_lab.analysis.tables import Table
from fila_lab.analysis.verdicts import p_text


def crossed_tables(findings: Findings) -> dict[str, Table]:
    """`effects` and `effect_contrasts` of a study that declares factors; empty for one that does not."""
    factors = findings.folder.study.factors
    contrasts = crossed_contrasts(findings.frame, factors, findings.metric)
    tables = (_effects(findings, crossed_effects(findings.frame, factors, findings.metric), contrasts), _contrasts(findings, contrasts))
    return {table.name: table for table in tables if len(table.data)}


def _effects(findings: Findings, data: pd.DataFrame, contrasts: pd.DataFrame) -> Table:
    scale, rows = scale_of(findings.metric), []
    for r in rows_of(data):
        own = contrasts[contrasts["effect"] == r.effect]
        largest = own.loc[own["difference"].abs().idxmax()]
        ends = with_bounds(largest["difference"] * scale, largest["low"] * scale, largest["high"] * scale)
        row = {
            "effect": r.effect,
            "seeds": str(r.n),
            "F": f"{number(r.f, 2)} ({r.d1}, {r.d2})",
            "p": p_text(r.p),
            "Holm p": p_text(r.p_holm),
        }
        rows.append(row | {"largest contrast [95 %]": f"{largest['contrast']}: {ends}"})
    caption = (
        f"Main effects and two-way interactions on {findings.metric}, crossed, paired by seed. F: repeated-measures analysis of variance; "
    )
    caption += "p: exact sign-flip of each seed's contrasts together, which needs no sphericity; Holm over the effects. "
    return Table("effects", _completed(caption, data, "effects", findings), data, pd.DataFrame(rows))


def _contrasts(findings: Findings, data: pd.DataFrame) -> Table:
    scale, rows = scale_of(findings.metric), []
    for r in rows_of(data):
        ends = with_bounds(r.difference * scale, r.low * scale, r.high * scale)
        row = {"effect": r.effect, "contrast": r.contrast, "seeds": str(r.n), "difference [95 %]": ends}
        rows.append(row | {"p": p_text(r.p), "Holm p": p_text(r.p_holm)})
    caption = (
        f"Contrasts of levels on {findings.metric}, points, means over the other factors' combinations at which all levels in question "
    )
    caption += "were run; (B − A) x (D − C): by how much B − A is larger at D than at C. Holm within an effect. "
    return Table("effect_contrasts", _completed(caption, data, "contrasts", findings), data, pd.DataFrame(rows))


def _completed(caption: str, data: pd.DataFrame, size: str, findings: Findings) -> str:
    short = too_few_seeds(data, size)
    return caption + (f"{short}. " if short else "") + findings.measured_on
