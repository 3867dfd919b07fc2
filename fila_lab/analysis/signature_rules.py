"""The rules behind the failure signatures: each a function from a study's findings to the places where it fires."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fila_lab.analysis import frame as frames
from fila_lab.analysis.counterparts import column, control_of, difference, fused, twin
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.statistics import Interval, paired_interval
from fila_lab.analysis.style import is_share, number, scale_of, with_bounds
from fila_lab.analysis.verdicts import CEILING, FLOOR

COARSE = ("coarse", "presence")
"""Families that need no fine detail: a fusion that loses on them has overwritten what the ViT knew (DESIGN.md 2, check C3)."""

MORE_STEPS = 1.25
"""Training this much longer is a small change of budget: if it would move the baseline by more than the margin, the budget decides."""

SPREAD = 2.0
"""Seeds of a stable arm differ about as answers to other items would. Twice that comes by chance with p = .018 at 3 seeds and p < .001
at 8 (chi-square), even if an item's three places were answered as one."""

PARTS = (
    (r"convnext", "the ConvNeXt"),
    (r"modeling/fusion/", "a fusion"),
    (r"open_clip/|modeling/vit|modeling/attention", "the ViT"),
    (r"modeling/projector", "the projector"),
    (r"transformers/|modeling/language", "the language model"),
    (r"data/|training/(batches|features)", "data or features"),
    (r"torch/autograd", "the backward pass"),
)
"""Where in a traceback's path a part of the model shows."""

CONTROL_MEANINGS = {
    "foreign": "this much needs nothing of the page: it is capacity",
    "constant": "this much needs nothing of the page: it is capacity",
    "shifted": "only what a fusion gains beyond this needs every cell in its place",
    "shuffled": "only what a fusion gains beyond this needs every cell in its place",
    "random_window": "only what a fusion gains beyond this needs the right part of the page",
    "random_weights": "this much needs no learned detail features",
}
"""What a control's gain says, by how the control is built."""

KILLED = "memory ran out"
"""Part of what the engines record about a worker that died of signal 9."""

NO_PAIRS = "no such arm shares two finished seeds with its counterpart without fusion"


@dataclass(frozen=True)
class Sign:
    """Where a rule fires: arm or family, the numbers as text, and the deciding value with its interval and limit in `unit`."""

    where: str
    numbers: str
    value: float
    low: float = math.nan
    high: float = math.nan
    limit: float = math.nan
    unit: str = "points"
    meaning: str = ""


def seam_errors(found: Findings) -> list[Sign] | str:
    """Fusions that do not shrink the gap, and arms that break more triplets than the arm without fusion."""
    signs, checked = [], False
    for arm, base in fused(found, "fusion", "rival"):
        for family in found.families:
            gap = f"seam_gap/{family}"
            if gap not in found.frame or not paired_interval(column(found, gap, base)).low > 0:
                continue
            checked = True
            fusion = found.folder.study.arms[arm].role == "fusion"
            wider = difference(found, gap, arm, base)
            if fusion and wider.n > 1 and wider.mean >= 0:
                signs.append(_compared(found, f"{arm}, {family}", "seam gap", gap, arm, base, wider, 0.0))
            rate = f"fragmentation/{family}"
            more = difference(found, rate, arm, base)
            if more.low > 0:
                signs.append(_compared(found, f"{arm}, {family}", "fragmentation errors", rate, arm, base, more, 0.0))
    return signs if checked else "no arm without fusion shows a seam gap (95 % interval above zero) beside a fused one"


def out_of_memory(found: Findings) -> list[Sign] | str:
    """Failures by arm: how many cells, at which detail resolution, in which part of the model."""
    signs = []
    for arm in found.folder.arms:
        cells = [cell for cell in found.folder.cells if cell.arm == arm]
        failed = [(cell, (cell.result or {}).get("failure") or {}) for cell in cells if cell.result and not cell.done]
        short = [(cell, cause) for cell, cause in failed if cause.get("kind") == "out_of_memory" or KILLED in str(cause.get("message"))]
        if not short:
            continue
        parts = sorted({part for _, cause in short if (part := _part(str(cause.get("traceback", ""))))})
        sure = sum(cause.get("kind") == "out_of_memory" for _, cause in short)
        config = (short[0][0].result or {}).get("config") or short[0][0].config
        told = f"{sure} of {len(cells)} cells" if sure else ""
        if sure < len(short):
            told += f"{' and ' if told else ''}{len(short) - sure} of {len(cells)} whose worker was killed, by hand or for want of memory"
        told += f", in {' and '.join(parts)}" if parts else ", where in the model is not known"
        signs.append(Sign(arm, f"{told}; {_resolution(config)}", len(short), limit=0, unit="cells"))
    return signs


def over_fusion(found: Findings) -> list[Sign] | str:
    """Losses beyond the margin on families that need no fine detail."""
    families = [family for family in found.families if family in COARSE]
    if not families:
        return f"no family without fine detail ({', '.join(COARSE)}) was tested"
    if not is_share(found.metric):
        return f"the margin is in units of {found.metric}, accuracies are shares"
    margin = found.folder.study.margin
    signs, checked = [], False
    for arm, base in fused(found, "fusion", "rival"):
        for family in families:
            loss = difference(found, f"exact/{family}", arm, base)
            checked = checked or loss.n > 1
            if loss.mean <= -margin and loss.high < 0:
                signs.append(_compared(found, f"{arm}, {family}", "accuracy", f"exact/{family}", arm, base, loss, -margin))
    return signs if checked else NO_PAIRS


def gaining_controls(found: Findings) -> list[Sign] | str:
    """Controls above the arm without fusion, and what share of their fusion's gain that is."""
    controls = [(arm, base) for arm, base in fused(found, "control") if control_of(found, arm) != "oracle_map"]
    if not controls:
        return "no control was run beside an arm without fusion"
    signs, checked, scale = [], False, scale_of(found.metric)
    for arm, base in controls:
        gain = difference(found, found.metric, arm, base)
        checked = checked or gain.n > 1
        if gain.low > 0:
            text = f"{with_bounds(gain.mean * scale, gain.low * scale, gain.high * scale)} over {base}"
            fusion = twin(found, arm)
            whole = difference(found, found.metric, fusion, base) if fusion else None
            if whole is not None and whole.mean > 0:
                text += f", {gain.mean / whole.mean:.0%} of what {fusion} gains ({number(whole.mean * scale, sign=True)})"
            meaning = CONTROL_MEANINGS.get(control_of(found, arm) or "", "")
            signs.append(Sign(arm, text, gain.mean * scale, gain.low * scale, gain.high * scale, 0.0, _unit(found.metric), meaning))
    return signs if checked else NO_PAIRS


def blind_instrument(found: Findings) -> list[Sign] | str:
    """The ceiling must gain."""
    ceilings = [(arm, base) for arm, base in fused(found, "control") if control_of(found, arm) == "oracle_map"]
    if not ceilings:
        return "no arm `oracle_map` was run beside an arm without fusion that is otherwise alike (steps included)"
    signs, checked = [], False
    for arm, base in ceilings:
        gain = difference(found, found.metric, arm, base)
        checked = checked or gain.n > 1
        if gain.n > 1 and not gain.low > 0:
            signs.append(_compared(found, arm, found.metric, found.metric, arm, base, gain, 0.0))
    return signs if checked else NO_PAIRS


def undertrained_baseline(found: Findings) -> list[Sign] | str:
    """The rise between the last two validations, a doubling's worth, carried on to MORE_STEPS times the steps."""
    if not is_share(found.metric):
        return f"the margin is in units of {found.metric}, validation in shares"
    rises = _last_rises(found)
    signs, checked = [], False
    for base in dict.fromkeys([*filter(None, [found.folder.baseline]), *(base for _, base in fused(found, "fusion", "rival"))]):
        own = rises[rises["arm"] == base]
        gain = paired_interval(own["more"])
        checked = checked or gain.n > 1
        if not (gain.mean > found.folder.study.margin and gain.low > 0):
            continue
        first, last = (own[name].to_numpy() for name in ("first", "last"))
        rise, margin = number(100 * own["rise"].mean(), sign=True), number(100 * found.folder.study.margin)
        ends = with_bounds(100 * gain.mean, 100 * gain.low, 100 * gain.high)
        text = (
            f"{rise} points from step {_span(first)} to {_span(last)}; at that rate per doubling {MORE_STEPS - 1:.0%} more steps add about "
        )
        text += f"{ends}, against a margin of {margin}"
        others = [arm for arm, other in fused(found, "fusion", "rival") if other == base]
        theirs = 100 * rises[rises["arm"].isin(others)].groupby("arm")["rise"].mean()
        if len(theirs):
            text += f"; the arms compared with it rose by {_range(theirs)}"
        signs.append(Sign(base, text, 100 * gain.mean, 100 * gain.low, 100 * gain.high, 100 * found.folder.study.margin))
    return signs if checked else "needs two seeds of an arm without fusion with at least two validations each"


def tuned_edges(found: Findings) -> list[Sign] | str:
    """Values that main cells ran with, at the end of what was searched: true under every budget, whether it searched or not."""
    tuning = found.folder.study.tuning
    if tuning is None:
        return "the study declares no search"
    trials = frames.load_tuning(found.folder)
    same: dict[tuple[str, float], list[str]] = {}
    for arm, values in found.searched_values.items():
        own = trials[(trials["arm"] == arm) & trials["value"].notna()] if len(trials) else trials
        for path, bounds in tuning.space.items():
            tried = own[path] if path in own else pd.Series(dtype=float)
            if math.isfinite(values[path]) and (edge := frames.edge(path, values[path], tried, bounds)):
                same.setdefault((edge, values[path]), []).append(arm)
    signs = []
    for (edge, value), arms in same.items():
        low, high = tuning.space[edge.split()[0]]
        text = f"{edge}: {value:.4g}, searched from {low:g} to {high:g}"
        signs.append(Sign(", ".join(arms), text, value, limit=low if value * value < low * high else high, unit=edge.split()[0]))
    return signs


def extremes(found: Findings) -> list[Sign] | str:
    """Families on which arms stand near the floor or the ceiling."""
    signs = []
    arms = [arm for arm in found.folder.arms if control_of(found, arm) != "oracle_map"]
    for family in found.families:
        means = {arm: float(own.mean()) for arm in arms if len(own := column(found, f"exact/{family}", arm))}
        low, high = ({arm: p for arm, p in means.items() if outside(p)} for outside in (FLOOR.__gt__, CEILING.__lt__))
        for side, limit, out in (("below", FLOOR, low), ("above", CEILING, high)):
            if out:
                least, most = min(out, key=out.__getitem__), max(out, key=out.__getitem__)
                text = f"{len(out)} of {len(means)} arms {side} {limit:.0%}: {number(100 * out[least])} % ({least})"
                text += f" to {number(100 * out[most])} % ({most})" if len(out) > 1 else ""
                signs.append(Sign(family, text, 100 * out[least if side == "below" else most], limit=100 * limit, unit="percent"))
    return signs


def unstable_seeds(found: Findings) -> list[Sign] | str:
    """Arms whose seeds differ more than their test items explain."""
    items = "n/" + found.metric.partition("/")[2]
    if not found.metric.startswith("exact/") or items not in found.frame:
        return f"the test items behind {found.metric} are not known"
    signs, checked = [], False
    for arm in found.folder.arms:
        own = found.frame.loc[found.frame["arm"] == arm, [found.metric, items]].dropna()
        if len(own) < 2:
            continue
        checked = True
        p, n = float(own[found.metric].mean()), float(own[items].mean())
        expected, sd = (p * (1 - p) / n) ** 0.5, float(own[found.metric].std(ddof=1))
        if sd > SPREAD * expected:
            times = number(sd / expected) if expected else "infinitely many"
            text = f"seeds spread by {number(100 * sd)} points (sd of {len(own)}), {times} times the {number(100 * expected)} of "
            text += f"{n:.0f} independent items"
            signs.append(Sign(arm, text, 100 * sd, limit=100 * SPREAD * expected))
    return signs if checked else "needs two finished seeds of an arm"


def _compared(found: Findings, where: str, what: str, metric: str, arm: str, base: str, gap: Interval, limit: float) -> Sign:
    scale = scale_of(metric)
    a, b = (number(column(found, metric, name).mean() * scale) for name in (arm, base))
    ends = with_bounds(gap.mean * scale, gap.low * scale, gap.high * scale)
    family = metric.partition("/")[2]
    text = f"{what} {a} against {b} of {base}: {ends}"
    if metric.startswith("fragmentation/") and (sham := f"exact/{family}/sham") in found.frame:
        a, b = (number(column(found, sham, name).mean() * 100) for name in (arm, base))
        text += f" (right at the sham place, so able to break: {a} against {b})"
    return Sign(where, text, gap.mean * scale, gap.low * scale, gap.high * scale, limit * scale, _unit(metric))


def _last_rises(found: Findings) -> pd.DataFrame:
    """Per cell: steps of its last two validations, the rise between them, and what MORE_STEPS times the steps would add at that rate."""
    rows = []
    for (arm, _), curve in frames.load_curves(found.folder).dropna(subset=["validation"]).groupby(["arm", "id"], sort=False):
        points = curve.sort_values("step")[["step", "validation"]].to_numpy(dtype=float)
        if len(points) > 1:
            (first, before), (last, after) = points[-2:]
            more = (after - before) * math.log(MORE_STEPS) / math.log(last / first)
            rows.append({"arm": arm, "first": int(first), "last": int(last), "rise": after - before, "more": more})
    return pd.DataFrame(rows, columns=["arm", "first", "last", "rise", "more"])


def _part(traceback: str) -> str | None:
    """The part of the model in the deepest frame that names one."""
    for line in reversed([line for line in traceback.splitlines() if line.lstrip().startswith("File ")]):
        for pattern, part in PARTS:
            if re.search(pattern, line):
                return part
    return None


def _resolution(config: Mapping[str, Any]) -> str:
    geometry, train = config.get("geometry") or {}, config.get("train") or {}
    side, cells = geometry.get("whole_image"), geometry.get("detail_cells")
    detail = f"a detail input of {side} px" if side else f"detail_cells = {cells} ({32 * cells if cells else '?'} px a tile)"
    return f"{detail}, batch {train.get('batch_size', '?')}"


def _unit(metric: str) -> str:
    return "points" if is_share(metric) else metric


def _span(values: np.ndarray) -> str:
    return str(values[0]) if min(values) == max(values) else f"{min(values)}-{max(values)}"


def _range(values: pd.Series) -> str:
    least, most = number(values.min(), sign=True), number(values.max(), sign=True)
    return least if least == most else f"{least} to {most}"
