"""How steady answers are over resolutions: Res-Bench's three numbers (arXiv 2510.16926), as plain functions, and as report columns where
`data.seam.page_scale` varies."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
from scipy import stats

from fila_lab.analysis.findings import Findings
from fila_lab.analysis.statistics import paired_interval
from fila_lab.analysis.style import number, scale_of
from fila_lab.analysis.tables import Table


def rho(resolutions: Sequence[float], scores: Sequence[float]) -> float:
    """Spearman's rank correlation of score and resolution, -1 to 1; NaN where either does not vary, or there are fewer than two."""
    if len(set(scores)) < 2 or len(set(resolutions)) < 2:
        return math.nan
    return float(stats.spearmanr(resolutions, scores).statistic)


def ace(scores: Sequence[float]) -> float:
    """Absolute continuous error: the sum (not the mean) over neighbouring resolutions of |difference of scores|; scores by ascending
    resolution.

    It counts a monotone rise as instability: scores that go from 0.3 to 0.8 have at least 0.5, as those that fall so. Beside it stands
    `falls`.
    """
    return math.fsum(abs(after - before) for before, after in pairwise(scores))


def rce(scores: Sequence[float]) -> float:
    """Relative continuous error: `ace` over the mean score; NaN where that is 0. It counts a rise as `ace` does."""
    mean = math.fsum(scores) / len(scores)
    return ace(scores) / mean if mean else math.nan


def falls(scores: Sequence[float]) -> float:
    """The part of `ace` that is lost: the sum over neighbouring resolutions of what the higher one is worse by; 0 for a monotone rise.
    Ours, not Res-Bench's."""
    return math.fsum(max(before - after, 0.0) for before, after in pairwise(scores))


def resolution_tables(findings: Findings) -> dict[str, Table]:
    """`resolutions`: a row for arms that differ in `data.seam.page_scale` alone; empty where none do."""
    data: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for arms in _alike(findings):
        seeds = findings.frame[findings.frame["arm"].isin(arms.values())].pivot(index="seed", columns="arm", values=findings.metric)
        seeds = seeds.reindex(columns=list(arms.values())).dropna()
        if seeds.empty:
            continue
        scales = [float(scale) for scale in arms]
        each = pd.DataFrame(
            [{"rho": rho(scales, row), "ace": ace(row), "rce": rce(row), "falls": falls(row)} for row in seeds.to_numpy().tolist()]
        )
        label, scale = " / ".join(findings.folder.label(arm) for arm in arms.values()), scale_of(findings.metric)
        means = {str(name): paired_interval(each[name].dropna()) for name in each}
        data.append({"arms": label, "scales": " ".join(map(str, arms)), **{name: interval.mean for name, interval in means.items()}})
        row = {"arms": label, "page scales": ", ".join(map(str, arms))}
        row |= {f"at {one}": number(float(seeds[arm].mean()) * scale) for one, arm in arms.items()}
        row |= {"rho": number(means["rho"].mean, 2), "ACE": number(means["ace"].mean * scale), "falls": number(means["falls"].mean * scale)}
        rows.append(row | {"RCE": number(means["rce"].mean, 3)})
    if not rows:
        return {}
    caption = (
        f"{findings.metric} over page resolutions, means over seeds. rho: Spearman's, of resolution and score; ACE: the sum of absolute "
    )
    caption += "differences between neighbouring resolutions, RCE: that over the mean (Res-Bench). ACE and RCE count a monotone rise as "
    caption += f"instability; falls, the part of ACE that is lost, do not. {findings.measured_on}"
    return {"resolutions": Table("resolutions", caption, pd.DataFrame(data), pd.DataFrame(rows).fillna("–"))}


def _alike(findings: Findings) -> list[dict[int, str]]:
    """Groups of arms whose runs differ in the page scale alone (canvases, tiles and tokens stay): scale -> arm, ascending."""
    groups: dict[str, dict[int, str]] = {}
    seen: set[str] = set()
    for cell in findings.folder.main:
        if cell.arm in seen:
            continue
        seen.add(cell.arm)
        config = copy.deepcopy(dict((cell.result or {}).get("config") or cell.config))
        seam = config.get("data", {}).get("seam", {})
        scale = seam.pop("page_scale", None)
        if scale is not None:
            config.pop("seed", None)
            groups.setdefault(json.dumps(config, sort_keys=True), {}).setdefault(int(scale), cell.arm)
    return [dict(sorted(group.items())) for group in groups.values() if len(group) > 1]
