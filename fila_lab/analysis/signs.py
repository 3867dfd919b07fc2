"""What a signature's rule hands back: where it fires, or what it could have found, or why it could not look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fila_lab.analysis.counterparts import column
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.screening import LEAST_SEEDS, Screen
from fila_lab.analysis.statistics import Interval
from fila_lab.analysis.stride_phases import arms_apart
from fila_lab.analysis.style import number, scale_of, with_bounds
from fila_lab.config.metrics import is_share, parse_metric


@dataclass(frozen=True)
class Sign:
    """Where a rule fires: arm or task, the numbers as text, and the deciding value with its interval and limit in `unit`."""

    where: str
    numbers: str
    value: float
    low: float = math.nan
    high: float = math.nan
    limit: float = math.nan
    unit: str = "points"
    meaning: str = ""


@dataclass(frozen=True)
class Applied:
    """A rule applied to one study. `reach`: the smallest effect it could have found; `unchecked`: why it could not look, or not tell."""

    signs: Sequence[Sign] = ()
    reach: str = ""
    unchecked: str = ""


TOO_FEW = f"needs {LEAST_SEEDS} finished seeds, not all with the same value, of an arm and its counterpart without fusion"


def reach_text(what: str, screen: Screen, unit: str = "points", scale: float = 100.0, least: float = 0.0) -> str:
    """`a loss of 1.3 points, over 6 comparisons`. least: what a rule asks for besides, in the units of the screen's values."""
    over = f"over {screen.tested} comparison{'' if screen.tested == 1 else 's'}"
    left = f"; {len(screen.untested)} not looked at, for want of seeds or scatter" if screen.untested else ""
    return f"{what} {number(max(screen.reach, least) * scale, 1 if scale > 1 else 3)} {unit}, {over}{left}"


def compared(findings: Findings, where: str, what: str, metric: str, arm: str, base: str, gap: Interval, limit: float) -> Sign:
    """The sign of an arm beside its counterpart."""
    scale = scale_of(metric)
    a, b = (number(column(findings, metric, name).mean() * scale) for name in (arm, base))
    text = f"{what} {a} against {b} of {base}: {with_bounds(gap.mean * scale, gap.low * scale, gap.high * scale)}"
    kind, task, _ = parse_metric(metric)
    if kind == "fragmentation" and (sham := f"exact/{task}/sham") in findings.frame:
        a, b = (number(column(findings, sham, name).mean() * 100) for name in (arm, base))
        text += f" (right at the sham place, so able to break: {a} against {b})"
    if kind in ("seam_gap", "fragmentation") and arm in arms_apart(findings):
        text += "; its cut and sham places do not always share the phase of the ConvNeXt's stride, so the seam need not be the cause"
    return Sign(where, text, gap.mean * scale, gap.low * scale, gap.high * scale, limit * scale, unit_of(metric))


def unit_of(metric: str) -> str:
    return "points" if is_share(metric) else metric
