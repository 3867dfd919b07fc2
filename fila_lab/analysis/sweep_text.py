"""A sweep in words: values of its objectives, how far it is, what it found. Sentences are made by rule from the data alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fila_lab.analysis.style import number, quantity, rows_of, scale_of
from fila_lab.analysis.sweep import SweepFindings
from fila_lab.config.space import values_text

TITLES = {"flops": "FLOPs", "parameters": "parameters", "latency": "latency, ms", "peak_memory": "memory, MiB"}
"""Cost -> heading of its column."""
UNITS = {"flops": "FLOPs", "parameters": "parameters", "latency": "ms", "peak_memory": "MiB"}
"""Cost -> what stands behind its value."""
UNSAID = "impossible", "pruned", "failed", "running"
MOST = 4
"""Points that a sentence lists."""
DOMINATION = "is dominated by", "dominates", "neither dominates a point nor is dominated"
ORDER = "is behind", "is ahead of", "is equal to it"
"""How a declared arm stands to the points of a front, or to the best trial of one objective."""
POST_HOC = (
    "What stands here was chosen by what the search saw and run again on fresh seeds: estimates of what was chosen, not tests. "
    "Verdicts are given to declared contrasts only."
)


def title_of(name: str) -> str:
    """Heading of an objective."""
    return TITLES.get(name, name)


def value_text(name: str, value: float) -> str:
    """A value of an objective: metrics that are shares in percent, counts with their SI suffix."""
    if name in ("flops", "parameters"):
        return quantity(value)
    return number(value * scale_of(name), 0 if name == "peak_memory" else 2 if name == "latency" else 1)


def interval_text(name: str, row: Mapping[Any, Any], title: str = "", unit: str = "") -> str:
    """`74.7 [69.7, 79.7]` of the columns `title`, `title low`, `title high`, a unit behind the value; without bounds that alone."""
    title = title or name
    text, low, high = value_text(name, row[title]), row.get(f"{title} low", math.nan), row.get(f"{title} high", math.nan)
    text += unit
    return text if not math.isfinite(low) else f"{text} [{value_text(name, low)}, {value_text(name, high)}]"


def point_text(findings: SweepFindings, row: Mapping[Any, Any]) -> str:
    """A point in all objectives: `exact/reading 74.7 % [69.7, 79.7], 376 M FLOPs`."""
    shown = {
        name: interval_text(name, row, unit=" %" * (name in findings.file.metrics and scale_of(name) == 100))
        for name in findings.file.names
    }
    return ", ".join(f"{text} {UNITS[name]}" if name in UNITS else f"{name} {text}" for name, text in shown.items())


def counted(findings: SweepFindings) -> str:
    """`57 complete, 2 impossible, 1 failed`."""
    return ", ".join(f"{findings.counts[state]} {state}" for state in ("complete", *UNSAID) if findings.counts[state]) or "none"


def progress(findings: SweepFindings) -> str:
    """How far an unfinished sweep is; empty where it is complete."""
    if findings.file.complete:
        return ""
    told = len(findings.file.trials) - findings.counts["running"]
    return f"{told} of {findings.file.search.trials} trials are told ({counted(findings)}); the same command goes on"


def objectives_text(findings: SweepFindings) -> str:
    """`exact/reading (maximize) and flops (minimize)`."""
    *most, last = (f"{one.name} ({one.direction})" for one in findings.file.objectives)
    return f"{', '.join(most)} and {last}" if most else last


def sweep_sentences(findings: SweepFindings) -> list[str]:
    """What the sweep found, one sentence a fact, the answer first: the points on fresh seeds, of how many trials they are the front, the
    declared arms beside them, what the search's own values were worth."""
    if going := progress(findings):
        return [f"The sweep goes on: {going}.", *_so_far(findings)]
    kind = f"Front of {len(findings.points)} point{'s' * (len(findings.points) != 1)}" if findings.several else "Best trial"
    head = f"{kind} in {objectives_text(findings)}, of {len(findings.file.trials)} trials ({counted(findings)})"
    points = findings.confirmed.points
    if points.empty:
        return [f"{head}.", *_so_far(findings), "None of them has been run on fresh seeds."]
    seeds = sorted(set(points["seeds"]))
    on = f"{seeds[0]} fresh seed{'s' * (seeds[0] != 1)}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} fresh seeds"
    shown = _ends([f"{row['arm']} ({_values(findings, row['number'])}): {point_text(findings, row)}" for row in points.to_dict("records")])
    sentences = [f"{head}; on {on}{' [95 %]' if seeds[-1] > 1 else ''}: {shown}."]
    if findings.several:
        kept = points["dominated_by"].eq("")
        fallen = "; ".join(f"{row.arm} is dominated by {row.dominated_by}" for row in rows_of(points[~kept]))
        sentences.append(f"On fresh seeds {kept.sum()} of {len(points)} points stay on the front{': ' + fallen if fallen else ''}.")
    return [*sentences, *_declared(findings), *_curse(findings), POST_HOC]


def _values(findings: SweepFindings, number: int) -> str:
    """What a trial is."""
    return values_text(next(trial.parameters for trial in findings.file.trials if trial.number == number))


def _so_far(findings: SweepFindings) -> list[str]:
    entries = findings.points
    if not entries:
        return []
    rows = [dict(zip(findings.file.names, entry.values or (), strict=True)) for entry in entries]
    shown = _ends(
        [
            f"trial {entry.number} ({values_text(entry.parameters)}): {point_text(findings, row)}"
            for entry, row in zip(entries, rows, strict=True)
        ]
    )
    return [f"As the search saw them{'' if findings.file.complete else ' so far'} (validation items): {shown}."]


def _ends(points: list[str]) -> str:
    """Few points all, of many the first and the last: the others stand in the table."""
    return "; ".join(points) if len(points) <= MOST else f"from {points[0]} to {points[-1]}"


def _declared(findings: SweepFindings) -> list[str]:
    """Where the declared arms lie."""
    said = []
    for row in findings.confirmed.declared.to_dict("records"):
        if not all(math.isfinite(row[name]) for name in findings.file.names):
            continue
        below, above, equal = DOMINATION if findings.several else ORDER
        parts = [f"{below} {row['dominated_by']}"] if row["dominated_by"] else []
        parts += [f"{above} {row['dominates']}"] if row["dominates"] else []
        where = " and ".join(parts) or equal
        said.append(f"{findings.folder.label(row['arm'])} ({point_text(findings, row)}) {where}")
    return [f"Declared arms on the same seeds: {'; '.join(said)}."] if said else []


def _curse(findings: SweepFindings) -> list[str]:
    """By how much the chosen points looked better to the search than they are on fresh seeds and items of the same kind."""
    points, said, lucky = findings.confirmed.points, [], False
    for name in findings.file.metrics:
        better = (points[f"{name} search"] - points[f"{name} fresh"]).dropna() * scale_of(name)
        better = better if findings.direction(name) == "maximize" else -better
        if len(better):
            unit = " points" if scale_of(name) == 100 else ""
            span = f" on average ({_better(better.min())} to {_better(better.max())})" if len(better) > 1 else ""
            said.append(f"{_better(better.mean(), unit)} in {name}{span}")
            lucky |= better.mean() > 0
    if not said:
        return []
    why = "a search picks what was lucky too, so the fresh value is the estimate" if lucky else "here its luck does not show"
    subject, are = ("points", "they are") if len(points) > 1 else ("point", "it is")
    shown = f"to the search the chosen {subject} looked {'; '.join(said)} than {are} on fresh seeds (validation items both)"
    return [f"Winner's curse: {shown}; {why}{_overrides(findings)}."]


def _better(difference: float, unit: str = "") -> str:
    """`1.4 points better`, `0.3 worse`."""
    return f"{number(abs(difference))}{unit} {'worse' if difference < 0 else 'better'}"


def _overrides(findings: SweepFindings) -> str:
    """What the trials ran with and the confirmed cells did not."""
    given = ", ".join(f"{path} = {value}" for path, value in findings.confirmed.trials_alone.items())
    return f" (and the trials ran with {given}, the confirmed cells without)" if given else ""
