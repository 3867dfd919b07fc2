"""Doses of a seam: accuracy over none, one and two seams beside what a shift of less than a patch does, and signed errors of counts."""

from __future__ import annotations

from typing import Any

import pandas as pd

from fila_lab.analysis.findings import Findings
from fila_lab.analysis.statistics import Interval, paired_interval
from fila_lab.analysis.style import number, with_bounds, with_half
from fila_lab.analysis.tables import Table
from fila_lab.config.data import COUNT_TASKS, FURTHER_PLACES, PLACES

DOSES = {"sham": "no seam", "cut": "one", "cross": "two"}
"""Place -> its dose, in words; all three in one phase towards patches, overview and stride."""


def dose_tables(findings: Findings) -> dict[str, Table]:
    """`doses`, where test items have further places; `count_errors`, where counts are asked for. Each only where there is something."""
    return {table.name: table for table in (_doses(findings), _counts(findings)) if not table.shown.empty}


def _doses(findings: Findings) -> Table:
    data, rows = [], []
    tasks = [task for task in findings.tasks if any(f"exact/{task}/{place}" in findings.frame for place in FURTHER_PLACES)]
    for task, arm in ((task, arm) for task in tasks for arm in findings.folder.arms):
        own = findings.frame[findings.frame["arm"] == arm]
        kinds = {
            **{DOSES[place]: (f"exact/{task}/{place}",) for place in DOSES},
            "seam gap": (f"seam_gap/{task}",),
            "second seam": (f"cross_gap/{task}", f"seam_gap/{task}"),
            "shift gap": (f"shift_gap/{task}",),
            "fragm.": (f"fragmentation/{task}",),
            "shift error": (f"shift_error/{task}",),
        }
        kinds = {title: names for title, names in kinds.items() if set(names) <= set(own)}
        intervals = {title: _over_seeds(own, names) for title, names in kinds.items()}
        record: dict[str, Any] = {"task": task, "arm": arm, "n": len(own)}
        for title, interval in intervals.items():
            record |= {title: interval.mean, f"{title} low": interval.low, f"{title} high": interval.high}
        data.append(record)
        row = {"task": task, "arm": findings.folder.label(arm)}
        for title, interval in intervals.items():
            ends = interval.mean * 100, interval.low * 100, interval.high * 100
            share = title in DOSES.values()
            row[title] = with_half(ends[0], interval.half * 100) if share else with_bounds(*ends)
        rows.append(row)
    caption = "Accuracy over none, one and two seams through the target, percent ± half of the 95 % t interval over seeds; the three "
    caption += (
        "places share the phase towards ViT patches, overview and native stride along both axes. In points, 95 % t intervals in brackets: "
    )
    caption += "seam gap = sham − cut; second seam = cut − cross"
    if any("shift gap" in record for record in data):
        caption += "; their noise floor is the shift gap, sham − sham moved by less than a patch, as the shift error (right at the sham "
        caption += "place, wrong when shifted) is that of fragmentation"
    caption += f". {findings.measured_on}"
    return Table("doses", caption, pd.DataFrame(data), pd.DataFrame(rows).fillna("–"))


def _over_seeds(own: pd.DataFrame, names: tuple[str, ...]) -> Interval:
    """Of a metric, or of the first less the second, over an arm's cells."""
    values = own[names[0]] - (own[names[1]] if len(names) > 1 else 0.0)
    return paired_interval(values.dropna())


def count_errors(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row an arm, seed, task and place: `over` and `under`, shares of counts that are too great and too small; `error`, the mean of
    counted less true; `no_number`, the share of answers that are no whole number, which are left out of the others.

    predictions: frame of `load_predictions`, of tasks that count.
    """
    said = predictions["prediction"].astype(str)
    counted = pd.to_numeric(said.where(said.str.fullmatch(r"\s*\d{1,9}\s*")))
    off = counted - pd.to_numeric(predictions["answer"].astype(str), errors="coerce")
    signs = pd.DataFrame({"over": off > 0, "under": off < 0}).astype(float).where(off.notna())
    keys = ["arm", "seed", "task", "place"]
    frame = predictions[keys].assign(**signs, error=off, no_number=counted.isna().astype(float))
    return frame.groupby(keys, observed=True)[["over", "under", "error", "no_number"]].mean().reset_index()


def _counts(findings: Findings) -> Table:
    caption = "Counts that are too great and too small, percent of answers that are a number, and the mean of counted − true with its "
    caption += "95 % t interval over seeds. What is seen in two tiles and counted twice makes counts too great where it is cut, and not at "
    caption += "the sham place: the "
    caption += f"signature of overlapping tiles. {findings.measured_on}"
    own = pd.DataFrame() if findings.predictions is None else findings.predictions[findings.predictions["task"].isin(COUNT_TASKS)]
    if own.empty or "answer" not in own:
        return Table("count_errors", caption, pd.DataFrame(), pd.DataFrame())
    cells = count_errors(own)
    data, rows = [], []
    order = {place: at for at, place in enumerate((*PLACES, *FURTHER_PLACES))}
    places = sorted(map(str, cells["place"].unique()), key=lambda place: order.get(place, len(order)))
    for task in dict.fromkeys(map(str, cells["task"])):
        for arm in findings.folder.arms:
            for place in places:
                at = cells[(cells["task"] == task) & (cells["arm"] == arm) & (cells["place"] == place)]
                if at.empty:
                    continue
                error = paired_interval(at["error"].dropna())
                means = {name: float(at[name].mean()) for name in ("over", "under", "no_number")}
                data.append({"task": task, "arm": arm, "place": place, **means, "error": error.mean, "low": error.low, "high": error.high})
                row = {"task": task, "arm": findings.folder.label(arm), "place": place or "–", "too many": number(means["over"] * 100)}
                row |= {"too few": number(means["under"] * 100), "no number": number(means["no_number"] * 100)}
                rows.append(row | {"counted − true": with_bounds(error.mean, error.low, error.high, 2)})
    return Table("count_errors", caption, pd.DataFrame(data), pd.DataFrame(rows))
