"""Accuracy by task and arm as coloured cells with a number in each: the picture of a study with many tasks."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from fila_lab.analysis.findings import Findings
from fila_lab.analysis.schemes import ink_on, mixed
from fila_lab.analysis.statistics import paired_interval
from fila_lab.analysis.style import number, rows_of, scale_of
from fila_lab.analysis.tables import Table
from fila_lab.config.data import FURTHER_PLACES, PLACES
from fila_lab.config.metrics import is_share
from fila_lab.config.score_names import SCORES

PALE, DEEP = "#eef4fa", "#08306b"
"""0 and 100 %: one hue that darkens evenly, so that it reads the same under every colour-vision deficiency."""


@dataclass(frozen=True)
class Square:
    """A cell of the picture: its number, what a pointer at it says, its ground and ink."""

    text: str
    hint: str
    ground: str
    ink: str


@dataclass(frozen=True)
class HeatMap:
    """`rows`: (heading, squares, one a column). What is more numerous, tasks or arms, stands in rows; `corner` says which."""

    corner: str
    columns: list[str]
    rows: list[tuple[str, list[Square]]]


def task_table(findings: Findings) -> Table:
    """Every task's accuracy of every arm, with its 95 % t interval over seeds; numbers in long form."""
    records = []
    for arm in [arm for arm in findings.folder.arms if (findings.frame["arm"] == arm).any()]:
        own = findings.frame[findings.frame["arm"] == arm]
        for metric in _metrics(findings):
            over = paired_interval(own[metric].dropna())
            record = {"arm": arm, "metric": metric, "seeds": over.n, "mean": over.mean, "low": over.low, "high": over.high}
            places = {place: own[f"{metric}/{place}"].mean() for place in (*PLACES, *FURTHER_PLACES) if f"{metric}/{place}" in own}
            records.append(record | places)
    data = pd.DataFrame(records)
    caption = f"Every task by arm, percent, mean over seeds; 95 % t intervals and places stand in tasks.csv. {findings.measured_on}"
    if data.empty:
        return Table("tasks", caption, data, data)
    wide = data.assign(text=[number(value * 100) for value in data["mean"]]).pivot(index="arm", columns="metric", values="text")
    wide = wide.loc[list(dict.fromkeys(data["arm"])), list(dict.fromkeys(data["metric"]))].fillna("–")
    shown = wide.rename(index=findings.folder.label, columns=_title).rename_axis(columns=None).reset_index()
    return Table("tasks", caption, data, shown)


def heat_map(findings: Findings, table: Table) -> HeatMap | None:
    """The picture of `task_table`; None where it is empty."""
    data = table.data
    if data.empty:
        return None
    cells = {(r.arm, r.metric): _square(findings, r) for r in rows_of(data)}
    none = Square("–", "not measured", "transparent", "inherit")
    arms, metrics = list(dict.fromkeys(data["arm"])), list(dict.fromkeys(data["metric"]))
    labels, titles = {arm: findings.folder.label(arm) for arm in arms}, {metric: _title(metric) for metric in metrics}
    if len(arms) >= len(metrics):
        rows = [(labels[arm], [cells.get((arm, metric), none) for metric in metrics]) for arm in arms]
        return HeatMap("arm", list(titles.values()), rows)
    rows = [(titles[metric], [cells.get((arm, metric), none) for arm in arms]) for metric in metrics]
    return HeatMap("task", list(labels.values()), rows)


def _metrics(findings: Findings) -> list[str]:
    """What has one value a task and is a share: the primary metric first."""
    scored = [f"{score}/" for score in SCORES]
    tasks = [f"exact/{task}" for task in findings.tasks]
    others = [name for name in map(str, findings.frame) if name.count("/") == 1 and name.startswith(tuple(scored)) and name != "exact/mean"]
    names = dict.fromkeys([findings.metric, *tasks, *others])
    return [name for name in names if name in findings.frame and is_share(name) and findings.frame[name].notna().any()]


def _title(metric: str) -> str:
    return metric.removeprefix("exact/")


def _square(findings: Findings, r: object) -> Square:
    row = r._asdict()  # type: ignore[attr-defined]
    scale = scale_of(row["metric"])
    value = row["mean"]
    if value != value:
        return Square("–", "not measured", "transparent", "inherit")
    ground = mixed(PALE, DEEP, min(max(value, 0.0), 1.0))
    interval = f" [{number(row['low'] * scale)}, {number(row['high'] * scale)}]" if row["low"] == row["low"] else ""
    places = ", ".join(f"{place} {number(row[place] * scale)}" for place in (*PLACES, *FURTHER_PLACES) if row.get(place, float("nan")) >= 0)
    hint = f"{findings.folder.label(row['arm'])}, {_title(row['metric'])}: {number(value * scale)} %{interval}, {row['seeds']} seeds"
    return Square(number(value * scale), hint + (f"; {places}" if places else ""), ground, ink_on(ground))
