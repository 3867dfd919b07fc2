"""Signatures that test: each a function from a study's findings to where it fires, at most LEVEL of the time where it should not."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from fila_lab.analysis.check import listed
from fila_lab.analysis.contrasts import CEILING, FLOOR
from fila_lab.analysis.counterparts import column, control_of, difference, fused, fuses, longer, second_baseline, twin
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.screening import LEAST_SEEDS, LEVEL, screen, usable
from fila_lab.analysis.signs import TOO_FEW, Applied, Sign, compared, reach_text, unit_of
from fila_lab.analysis.statistics import Interval, holm, paired_interval
from fila_lab.analysis.style import number, scale_of, with_bounds
from fila_lab.config.metrics import ACCURACY, COUNT, is_share, parse_metric
from fila_lab.config.power import POWER

COARSE = ("coarse", "presence")
"""Tasks that need no fine detail: a fusion that loses on them has overwritten what the ViT knew (DESIGN.md 2, check C3)."""

MORE_STEPS = 1.25
"""Training this much longer is a small change of budget: if it would move the baseline by more than the margin, the budget decides."""

SPREAD = 2.0
"""Seeds of a stable arm differ about as answers to other items would, or less: they answer the same ones."""

CONTROL_MEANINGS = {
    "foreign": "this much needs nothing of the page: it is capacity",
    "constant": "this much needs no detail of the page: it is capacity, or the page's mean",
    "blank": "this much needs nothing of any page: it is capacity",
    "shifted": "only what a fusion gains beyond this needs every cell in its place",
    "shuffled": "only what a fusion gains beyond this needs every cell in its place",
    "random_window": "only what a fusion gains beyond this needs the right part of the page",
    "random_weights": "this much needs no learned detail features",
}
"""What a control's gain says, by how the control is built."""


def seam_errors(findings: Findings) -> Applied:
    """Arms whose seam gap is wider, or that break more triplets, than the arm without fusion."""
    pairs = list(fused(findings, "fusion", "rival"))
    kinds = {"seam gap": "seam_gap", "fragmentation errors": "fragmentation"}
    keys = [(arm, base, task, what) for arm, base in pairs for task in findings.tasks for what in kinds]
    tried = {key: difference(findings, f"{kinds[key[3]]}/{key[2]}", key[0], key[1]) for key in keys}
    made = screen({key: interval for key, interval in tried.items() if interval.n})
    if not made.tested:
        return Applied(unchecked=TOO_FEW + ", with triplets")
    signs = []
    for (arm, base, task, what), more in made.shown.items():
        signs.append(compared(findings, f"{arm}, {task}", what, f"{kinds[what]}/{task}", arm, base, more, 0.0))
    return Applied(signs, reach_text("a gap or rate of errors larger by", made))


def over_fusion(findings: Findings) -> Applied:
    """Losses beyond the margin on tasks that need no fine detail."""
    tasks = [task for task in findings.tasks if task in COARSE]
    if not tasks:
        return Applied(unchecked=f"no task without fine detail ({', '.join(COARSE)}) was tested")
    if not is_share(findings.metric):
        return Applied(unchecked=f"the margin is in units of {findings.metric}, accuracies are shares")
    margin = findings.folder.study.margin
    keys = [(arm, base, task) for arm, base in fused(findings, "fusion", "rival") if fuses(findings, arm) for task in tasks]
    made = screen({key: difference(findings, f"exact/{key[2]}", key[0], key[1]) for key in keys}, side=-1)
    if not made.tested:
        return Applied(unchecked=TOO_FEW)
    signs = []
    for (arm, base, task), loss in made.shown.items():
        if loss.mean <= -margin:
            signs.append(compared(findings, f"{arm}, {task}", "accuracy", f"exact/{task}", arm, base, loss, -margin))
    return Applied(signs, reach_text("a loss of", made, least=margin))


def gaining_controls(findings: Findings) -> Applied:
    """Controls above the arm without fusion, and what share of their fusion's gain that is; where their fusion's parameters were run with
    nothing to look at (role `capacity`), those above that."""
    controls = [
        (arm, base if control_of(findings, arm) == "blank" else second_baseline(findings, arm) or base)
        for arm, base in fused(findings, "control", "capacity")
        if control_of(findings, arm) != "oracle_map"
    ]
    if not controls:
        return Applied(unchecked="no control was run beside an arm without fusion")
    scale = scale_of(findings.metric)
    made = screen({key: difference(findings, findings.metric, *key) for key in controls})
    if not made.tested:
        return Applied(unchecked=TOO_FEW)
    signs = []
    for (arm, base), gain in made.shown.items():
        text = f"{with_bounds(gain.mean * scale, gain.low * scale, gain.high * scale)} over {base}"
        fusion = twin(findings, arm)
        whole = difference(findings, findings.metric, fusion, base) if fusion else None
        if whole is not None and whole.mean > 0:
            text += f", {gain.mean / whole.mean:.0%} of what {fusion} gains ({number(whole.mean * scale, sign=True)})"
        meaning = CONTROL_MEANINGS.get(control_of(findings, arm) or "", "")
        signs.append(Sign(arm, text, gain.mean * scale, gain.low * scale, gain.high * scale, 0.0, unit_of(findings.metric), meaning))
    return Applied(signs, reach_text("a gain of", made, unit_of(findings.metric), scale))


def blind_instrument(findings: Findings) -> Applied:
    """The ceiling must gain: an alarm where its gain is shown to be smaller than the margin, and a word where that stays open."""
    ceilings = [(arm, base) for arm, base in fused(findings, "control") if control_of(findings, arm) == "oracle_map"]
    if not ceilings:
        return Applied(unchecked="no arm `oracle_map` was run beside an arm without fusion that is otherwise alike (steps included)")
    gains = {key: difference(findings, findings.metric, *key) for key in ceilings}
    margin, scale = findings.folder.study.margin, scale_of(findings.metric)
    small, there = screen(gains, limit=margin, side=-1), screen(gains)
    if not small.tested:
        return Applied(unchecked=TOO_FEW)
    signs = [
        compared(findings, arm, findings.metric, findings.metric, arm, base, gain, margin) for (arm, base), gain in small.shown.items()
    ]
    open_ = [key for key in gains if key not in small.shown and key not in there.shown]
    if open_ and not signs:
        shown = {arm: gains[arm, base] for arm, base in open_}
        said = "; ".join(f"{arm} {with_bounds(own.mean * scale, own.low * scale, own.high * scale)}" for arm, own in shown.items())
        return Applied(unchecked=f"these seeds show neither that the truth gains nor that it does not: {said}")
    return Applied(signs, reach_text("a gain short of the margin by", small, unit_of(findings.metric), scale))


def undertrained_baseline(findings: Findings) -> Applied:
    """More steps would add more than the margin: shown by an arm without fusion that was trained longer, or, at a steady learning rate, by
    the rise between the last two validations. Where the rate falls, a rise tells nothing: it comes from the fall, too."""
    margin, scale = findings.folder.study.margin, scale_of(findings.metric)
    made = screen({pair: difference(findings, findings.metric, *pair) for pair in longer(findings)})
    if made.tested:
        signs = [
            compared(findings, base, f"{arm}, trained longer, has {findings.metric}", findings.metric, arm, base, gain, margin)
            for (arm, base), gain in made.shown.items()
            if gain.mean > margin
        ]
        return Applied(signs, reach_text("a gain from longer training of", made, unit_of(findings.metric), scale, margin))
    rises = last_rises(findings)
    bases = dict.fromkeys([*filter(None, [findings.folder.baseline]), *(base for _, base in fused(findings, "fusion", "rival"))])
    rises = rises[rises["arm"].isin(bases)]
    if rises.empty:
        return Applied(unchecked="needs an arm without fusion at two lengths of training, or validated twice at a steady learning rate")
    falling = rises[~rises["steady"]]
    if len(falling):
        first, last, before, after = (falling[name].median() for name in ("first", "last", "rate", "final"))
        return Applied(
            unchecked=f"one length of training cannot tell: from step {first:.0f} to {last:.0f} validation accuracy rose by "
            f"{number(100 * falling['rise'].mean(), sign=True)} points, but the learning rate fell from {before:.2g} to {after:.2g} "
            "meanwhile, which raises accuracy by itself; run the arm with more `train.steps` beside it"
        )
    if not is_share(findings.metric):
        return Applied(unchecked=f"the margin is in units of {findings.metric}, validation in shares")
    steady = screen({base: paired_interval(rises.loc[rises["arm"] == base, "more"]) for base in bases})
    if not steady.tested:
        return Applied(unchecked=f"needs {LEAST_SEEDS} seeds of an arm without fusion, not all with the same rise")
    signs = [_rising(findings, base, rises) for base, gain in steady.shown.items() if gain.mean > margin]
    return Applied(signs, reach_text(f"a gain from {MORE_STEPS - 1:.0%} more steps of", steady, least=margin))


def extremes(findings: Findings) -> Applied:
    """Tasks on which arms stand below the floor or above the ceiling, shown over seeds."""
    arms = [arm for arm in findings.folder.arms if control_of(findings, arm) != "oracle_map"]
    means = {(task, arm): paired_interval(column(findings, f"exact/{task}", arm)) for task in findings.tasks for arm in arms}
    means = {key: own for key, own in means.items() if own.n}
    # How far beyond the nearer border: one test for each mean, one Holm for all.
    beyond = {key: FLOOR - own.mean if own.mean < 0.5 else own.mean - CEILING for key, own in means.items()}
    made = screen({key: Interval(beyond[key], math.nan, math.nan, own.n, own.sd) for key, own in means.items()})
    if not made.tested:
        return Applied(unchecked=f"needs {LEAST_SEEDS} finished seeds of an arm, not all with the same value")
    signs = []
    for task in findings.tasks:
        shown = {arm: means[where, arm].mean for where, arm in made.shown if where == task}
        count = sum(where == task for where, _ in means)
        for side, limit in (("below", FLOOR), ("above", CEILING)):
            out = {arm: mean for arm, mean in shown.items() if (mean < 0.5) == (side == "below")}
            if out:
                least, most = min(out, key=out.__getitem__), max(out, key=out.__getitem__)
                text = f"{len(out)} of {count} arms {side} {limit:.0%}: {number(100 * out[least])} % ({least})"
                text += f" to {number(100 * out[most])} % ({most})" if len(out) > 1 else ""
                signs.append(Sign(task, text, 100 * out[least if side == "below" else most], limit=100 * limit, unit="percent"))
    still = [f"{arm} on {task}, {number(100 * means[task, arm].mean)} %" for task, arm in made.untested]
    left = f"; not tested, as seeds are too few or equal: {listed(still)}" if still else ""
    return Applied(signs, f"a mean {number(100 * made.reach)} points beyond, over {made.tested} means{left}")


def unstable_seeds(findings: Findings) -> Applied:
    """Arms whose seeds differ more than their test items explain."""
    kind, task, _ = parse_metric(findings.metric)
    items = f"{COUNT}/{task}"
    if kind != ACCURACY or items not in findings.frame:
        return Applied(unchecked=f"the test items behind {findings.metric} are not known")
    rows = []
    for arm in findings.folder.arms:
        own = findings.frame.loc[findings.frame["arm"] == arm, [findings.metric, items]].dropna()
        p, n = float(own[findings.metric].mean()), float(own[items].mean())
        expected = (p * (1 - p) / n) ** 0.5 if len(own) and 0 < p < 1 and n > 0 else 0.0
        interval = paired_interval(own[findings.metric])
        if usable(interval) and expected:
            chance = float(stats.chi2.sf((interval.n - 1) * (interval.sd / expected) ** 2, interval.n - 1))
            rows.append((arm, interval, expected, n, chance))
    if not rows:
        return Applied(unchecked=f"needs {LEAST_SEEDS} finished seeds of an arm, not all with the same value")
    signs, reach = [], 0.0
    for (arm, interval, expected, n, _), p_holm in zip(rows, holm([row[4] for row in rows]), strict=True):
        degrees = interval.n - 1
        found_from = math.sqrt(stats.chi2.isf(LEVEL / len(rows), degrees) / stats.chi2.isf(POWER, degrees))
        reach = max(reach, expected * max(SPREAD, found_from))
        if p_holm < LEVEL and interval.sd > SPREAD * expected:
            text = f"seeds spread by {number(100 * interval.sd)} points (sd of {interval.n}), {number(interval.sd / expected)} times the "
            text += f"{number(100 * expected)} of {n:.0f} independent items"
            signs.append(Sign(arm, text, 100 * interval.sd, limit=100 * SPREAD * expected))
    return Applied(signs, f"a spread of {number(100 * reach)} points, over {len(rows)} arms")


def last_rises(findings: Findings) -> pd.DataFrame:
    """Per cell: steps of its last two validations, the rise between them, what MORE_STEPS times the steps would add at that rate per
    doubling, the learning rates at both, and whether the rate was steady between them."""
    curves = findings.curves.dropna(subset=["validation"])
    cells = curves[["arm", "id"]].drop_duplicates().set_index("id")["arm"]
    points = curves.sort_values("step", kind="stable").set_index("id")[["step", "validation", "learning_rate"]].groupby("id")
    before, after = (points.nth(place).reindex(cells.index) for place in (-2, -1))
    there = (before["step"] > 0).to_numpy()
    arms, before, after = cells[there], before[there], after[there]
    rise = after["validation"] - before["validation"]
    doublings = np.log(after["step"] / before["step"]) / math.log(MORE_STEPS)
    columns = {
        "arm": arms,
        "first": before["step"].astype(int),
        "last": after["step"].astype(int),
        "rise": rise,
        "more": (rise / doublings).where(after["step"] > before["step"]),
        "rate": before["learning_rate"],
        "final": after["learning_rate"],
        "steady": (after["learning_rate"] - before["learning_rate"]).abs() <= 0.1 * before["learning_rate"],
    }
    return pd.DataFrame(columns).reset_index(drop=True)


def _rising(findings: Findings, base: str, rises: pd.DataFrame) -> Sign:
    own = rises[rises["arm"] == base]
    gain, margin = paired_interval(own["more"]), 100 * findings.folder.study.margin
    rise = number(100 * own["rise"].mean(), sign=True)
    text = f"{rise} points from step {own['first'].median():.0f} to {own['last'].median():.0f}; at that rate per doubling "
    text += (
        f"{MORE_STEPS - 1:.0%} more steps add about {with_bounds(100 * gain.mean, 100 * gain.low, 100 * gain.high)}, against a margin of "
    )
    return Sign(base, text + number(margin), 100 * gain.mean, 100 * gain.low, 100 * gain.high, margin)
