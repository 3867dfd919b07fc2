"""The signature of arms that change places between kinds of items: which is better then depends on what is asked."""

from __future__ import annotations

import math

from fila_lab.analysis.findings import Findings
from fila_lab.analysis.screening import smallest_effect
from fila_lab.analysis.signs import Applied, Sign, unit_of
from fila_lab.analysis.style import number, rows_of, scale_of
from fila_lab.config.power import ALPHA


def reversals(findings: Findings) -> Applied:
    """Where A is ahead of B in one level of a declared column and behind in another."""
    split = findings.subgroups
    if split.effects.empty:
        return Applied(unchecked="; ".join(split.notes) or "no family declares `by`, so no contrast was split by kinds of items")
    signs = []
    for effect, text in split.reversals():
        level = next(row for row in rows_of(split.of_effect(effect)) if row.level == effect.down)
        scale = scale_of(effect.metric)
        ends = (level.difference * scale, level.low * scale, level.high * scale)
        meaning = "which arm is better depends on the items: its mean over them says little"
        signs.append(Sign(effect.family, text, *ends, 0.0, unit_of(effect.metric), meaning))
    reached = []
    for effect in rows_of(split.effects):
        spreads = [row.sd for row in rows_of(split.of_effect(effect)) if row.n > 2 and row.sd > 1e-9]
        alpha = ALPHA / (effect.levels * effect.contrasts)
        reached += [scale_of(effect.metric) * smallest_effect(sd, effect.n, alpha) for sd in spreads]
    if not reached:
        return Applied(signs, unchecked="needs three finished seeds of both arms that do not all give the same difference")
    tests = f"over {len(split.effects)} contrast{'' if len(split.effects) == 1 else 's'} and column{'' if len(split.effects) == 1 else 's'}"
    return Applied(signs, f"differences of {number(max(reached, default=math.nan))} points both ways, {tests}")
