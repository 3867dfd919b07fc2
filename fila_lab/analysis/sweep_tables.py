"""Tables of a sweep: its front on fresh seeds, what the search saw of it, the dominated trials, all trials, hypervolume, importance."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from fila_lab.analysis.findings import Findings
from fila_lab.analysis.front import REFERENCE_RULE
from fila_lab.analysis.importance import FEWEST, MOST, SHUFFLES
from fila_lab.analysis.searched import shown
from fila_lab.analysis.style import number, quantity, rows_of, scale_of, with_half
from fila_lab.analysis.sweep import SweepFindings
from fila_lab.analysis.sweep_text import interval_text, objectives_text, title_of, value_text
from fila_lab.analysis.tables import Table

OTHER_COSTS = {"parameters": "parameters", "flops": "flops", "latency": "latency_ms", "peak_memory": "peak_memory_mib"}
"""Cost -> its column in `load_costs`."""

FRESH = (
    "The rest is of fresh seeds: metrics in percent on test items, mean with its 95 % t interval over seeds; latency the median "
    "with its 95 % bootstrap interval over rounds, ± half the interquartile range where it is no objective"
)
ON_THE_FRONT = (
    "; on the front = share of bootstrap draws (the same seeds and rounds for every point) in which no other point dominates it, which "
    "few seeds make too sure"
)
IMPORTANCE = (
    "Share of the values' spread over complete trials that each field explains alone (fANOVA). Read it with care: a sampler looks "
    "more often where it found good values, so fields go together and no share is an effect; few trials tell little; a field under "
    "a condition is judged on the trials in which it is active, and its share is of their spread. Noise: the same with the values "
    f"shuffled among the trials, {SHUFFLES} times, and a column of random numbers. Not told: fewer than {FEWEST} trials, or one "
    "value."
)


def sweep_tables(findings: Findings) -> dict[str, Table]:
    """By name; empty where no sweep has begun."""
    sweep = findings.sweep
    if sweep is None:
        return {}
    made = [make(sweep, findings.measured_on) for make in (_front, _fresh_seeds, _dominated, _trials, _hypervolume, _importance)]
    return {table.name: table for table in made if not table.shown.empty}


def _front(sweep: SweepFindings, measured_on: str) -> Table:
    """A row a point: what it is, what it is worth, what it costs, how sure it is."""
    confirmed = {row["number"]: row for row in sweep.confirmed.points.to_dict("records")}
    data, rows = [], []
    for trial, values in zip(sweep.points, sweep.file.values(sweep.points), strict=True):
        seen = dict(zip(sweep.file.names, values, strict=True))
        own: dict[Any, Any] = confirmed.get(trial.number, {})
        record: dict[str, Any] = {"arm": own.get("arm", ""), "number": trial.number}
        row = {"point": own.get("arm") or f"trial {trial.number}"}
        for path in sweep.file.search.space:
            value = sweep.parameters[trial.number][path]
            record[path], row[path] = value, shown(value)
        record["seeds"] = own.get("seeds", 0)
        row["seeds"] = str(record["seeds"])
        for name in sweep.file.names:
            record[f"{name} search"] = seen[name]
            if name in sweep.file.metrics:
                row[f"{name}, search"] = value_text(name, seen[name])
            record |= {f"{name}{end}": own.get(f"{name}{end}", math.nan) for end in ("", " low", " high")}
            row[f"{title_of(name)} [95 %]" if name in (*sweep.file.metrics, "latency") else title_of(name)] = (
                interval_text(name, own) if own else value_text(name, seen[name]) if name not in sweep.file.metrics else "–"
            )
        for cost, column in OTHER_COSTS.items():
            if cost not in sweep.file.names:
                costs = sweep.confirmed.costs
                record[column] = float(costs[column].get(record["arm"], math.nan))
                row[title_of(cost)] = _cost(cost, record[column], costs["latency_iqr_ms"].get(record["arm"], math.nan))
        record |= {"share": own.get("share", math.nan), "dominated_by": own.get("dominated_by", "")}
        row["on the front"] = f"{record['share']:.0%}" if math.isfinite(record["share"]) else "–"
        data.append(record)
        rows.append(row | {"dominated by": record["dominated_by"]})
    shown_rows = pd.DataFrame(rows)
    drop = [name for name in ("dominated by",) if rows and not shown_rows[name].any()] + (
        [] if sweep.several else ["on the front"] if rows else []
    )
    drop += [title for cost in OTHER_COSTS if (title := title_of(cost)) in shown_rows and shown_rows[title].eq("–").all()]
    which = "The front" if sweep.several else "The best trial"
    seeds = ", ".join(map(str, sweep.file.search.run_seeds)) or "–"
    caption = f"{which} of {objectives_text(sweep)}; search = what the search saw (validation items, seed {seeds}). {FRESH}"
    caption += f"{ON_THE_FRONT if sweep.several else ''}. Chosen after the fact: no verdicts. "
    if "flops" in sweep.file.names:
        caption += "FLOPs are the mean over the study's pages, in closed form; in the table of arms they are of the largest canvas. "
    caption += measured_on
    return Table("front", caption, pd.DataFrame(data), shown_rows.drop(columns=drop))


def _cost(cost: str, value: float, spread: float) -> str:
    return with_half(value, spread / 2) if cost == "latency" else number(value, 0) if cost == "peak_memory" else quantity(value)


def _fresh_seeds(sweep: SweepFindings, measured_on: str) -> Table:
    """What the search saw of the chosen points beside what fresh seeds give: the winner's curse."""
    data, rows = [], []
    for own in sweep.confirmed.points.to_dict("records"):
        for name in sweep.file.metrics:
            searched, scale = own[f"{name} search"], scale_of(name)
            record = {"arm": own["arm"], "metric": name, "search": searched}
            for title, column in (("fresh", f"{name} fresh"), ("test", name)):
                record |= {f"{title}{end}": own[f"{column}{end}"] for end in ("", " low", " high")}
            record["difference"] = searched - own[f"{name} fresh"]
            data.append(record)
            row = {"point": own["arm"], "metric": name, "search": value_text(name, searched)}
            row |= {"fresh seeds, validation items [95 %]": interval_text(name, own, f"{name} fresh")}
            row |= {"search − fresh": number(record["difference"] * scale, sign=True)}
            rows.append(row | {"fresh seeds, test items [95 %]": interval_text(name, own)})
    caption = "What the search saw of the points it chose, and what the same configurations give on fresh seeds: on items of the same kind "
    caption += "(validation) the difference is the winner's curse, as a search picks what was lucky too; test items may be harder or easier"
    if given := ", ".join(f"{path} = {value}" for path, value in sweep.confirmed.trials_alone.items()):
        caption += f"; the trials ran with {given}, the confirmed cells without, and that is in the difference too"
    return Table(
        "fresh_seeds", f"{caption}. Percent and points where a metric is a share. {measured_on}", pd.DataFrame(data), pd.DataFrame(rows)
    )


def _dominated(sweep: SweepFindings, measured_on: str) -> Table:
    data, first = sweep.dominated, sweep.file.names[0]
    rows = []
    for own in data.to_dict("records") if sweep.several else ():
        row = {"trial": str(own["number"])} | {path: shown(sweep.parameters[own["number"]][path]) for path in sweep.file.search.space}
        row |= {title_of(name): value_text(name, own[name]) for name in sweep.file.names} | {"dominated by trial": own["dominated_by"]}
        rows.append(row | {"short by": value_text(first, own["shortfall"])})
    caption = "Complete trials that others dominate, as the search saw them (validation items); short by = how much better in "
    return Table("dominated", f"{caption}{first} each would have to be to stand on the front. {measured_on}", data, pd.DataFrame(rows))


def _trials(sweep: SweepFindings, measured_on: str) -> Table:
    rows = []
    for own in sweep.trials.to_dict("records"):
        row = {"trial": str(own["number"]), "state": own["state"]} | {path: shown(own[path]) for path in sweep.file.search.space}
        row |= {title_of(name): value_text(name, own[name]) for name in sweep.file.names}
        rows.append(row | {"standing": own["standing"], "reason": own["reason"]})
    caption = f"Every trial of the sweep (sampler {sweep.file.search.sampler or '–'}), with what the search saw (validation items)."
    return Table("trials", f"{caption} {measured_on}", sweep.trials, pd.DataFrame(rows))


def _hypervolume(sweep: SweepFindings, measured_on: str) -> Table:
    """Shown where it grew; the numbers hold every complete trial."""
    data = sweep.hypervolume if sweep.several else pd.DataFrame()
    if data.empty:
        return Table("hypervolume", "", data, data)
    grown = data[data["hypervolume"].diff().fillna(1.0) > 0]
    rows = [
        {"after trial": str(r.number), "hypervolume": f"{r.hypervolume:.4g}", "share of the box": f"{r.share:.1%}"} for r in rows_of(grown)
    ]
    named = zip(sweep.file.names, sweep.reference, strict=True)
    point = ", ".join(f"{name} {value_text(name, value)}" for name, value in named)
    data = data.assign(**{f"reference {name}": value for name, value in zip(sweep.file.names, sweep.reference, strict=True)})
    caption = (
        f"Hypervolume of the front by trials, where it grew, in the product of the objectives' units; reference point: {REFERENCE_RULE} "
    )
    caption += f"({point}); box = between it and the best value in every objective. {measured_on}"
    return Table("hypervolume", caption, data, pd.DataFrame(rows))


def _importance(sweep: SweepFindings, measured_on: str) -> Table:
    data, rows = sweep.importance, []
    for r in rows_of(data) if data["importance"].notna().any() else ():
        row = {"objective": r.objective, "field": r.parameter, "trials": str(r.trials), "share of the spread": _share(r.importance)}
        row |= {"shuffled, mean": _share(r.shuffled_mean), "shuffled, most": _share(r.shuffled_most), "random numbers": _share(r.random)}
        said = "above noise" if r.above_noise else "not told from noise" if math.isfinite(r.importance) else "not told"
        rows.append(row | {"reading": said})
    drawn = f" ({MOST} of them drawn)" if sweep.counts["complete"] > MOST else ""
    caption = f"{IMPORTANCE} Here: {sweep.counts['complete']} complete trials{drawn}, Optuna {sweep.file.search.optuna or '–'}."
    return Table("importance", f"{caption} {measured_on}", data, pd.DataFrame(rows))


def _share(value: float) -> str:
    return f"{value:.0%}" if math.isfinite(value) else "–"
