"""Figures of a sweep: the front against each other objective, hypervolume by trials, importance of the fields."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import matplotlib
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from fila_lab.analysis.escape import plot_text
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.front import non_dominated
from fila_lab.analysis.label_places import place_labels
from fila_lab.analysis.style import BASELINE, COLOURS, RC, rows_of, scale_of, si_prefix
from fila_lab.analysis.sweep import SweepFindings

FRONT_COLOUR, DECLARED_COLOUR, FAINT = COLOURS[0], COLOURS[1], "#b9c0c8"
NAMED = 12
"""Most points that are named in a panel."""
WIDE = 30.0
"""Ratio of the largest to the smallest cost from which on it is drawn on a log scale."""
UNITS = {"latency": "ms an image", "peak_memory": "MiB"}


def front_plot(findings: Findings) -> Figure | None:
    """The first metric against each other objective. None without several objectives or a complete trial."""
    sweep = findings.sweep
    if sweep is None or not sweep.several or not sweep.file.finished:
        return None
    up, across = sweep.axes
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(5.4 * len(across) + 1.6, 4.4), layout="constrained")
        panels = list(np.atleast_1d(figure.subplots(1, len(across), sharey=True)))
        for panel, name in zip(panels, across, strict=True):
            _front_panel(panel, sweep, up, name)
        panels[0].set_ylabel(_axis(up, scale_of(up)))
        handles = {label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, fontsize=8.5)
        for panel, name in zip(panels, across, strict=True):
            _name_points(panel, sweep, up, name)
    return figure


def _front_panel(panel: Axes, sweep: SweepFindings, up: str, across: str) -> None:
    trials, points, declared = sweep.trials, sweep.confirmed.points, sweep.confirmed.declared
    per, scale = _unit(sweep, across)[0], scale_of(up)
    held = points["dominated_by"] == ""
    for standing, face in (("dominated", FAINT), ("front", "none")):
        own = trials[trials["standing"] == standing]
        look: dict[str, Any] = {
            "s": 20,
            "facecolors": face,
            "edgecolors": FAINT if standing == "dominated" else FRONT_COLOUR,
            "linewidths": 0.9,
        }
        label = f"{'dominated' if standing == 'dominated' else 'front'}, as the search saw it"
        panel.scatter(own[across] / per, own[up] * scale, label=label, alpha=0.6, zorder=2, **look)
    xs, ys = _steps(sweep, up, across)
    panel.plot(xs, ys, color=FRONT_COLOUR, lw=1.1, alpha=0.7, zorder=1)
    bars: dict[str, Any] = {"ls": "", "capsize": 0}
    for own, face, label in ((points[held], FRONT_COLOUR, ""), (points[~held], "white", ", dominated there")):
        if len(own):
            y, x = _bars(own, up, scale), _bars(own, across, 1 / per)
            colour: Any = {"color": FRONT_COLOUR, "ecolor": "#7fb2d6", "mfc": face, "label": f"front, on fresh seeds [95 %]{label}"}
            panel.errorbar(own[across] / per, own[up] * scale, yerr=y, xerr=x, marker="o", ms=7, elinewidth=2.6, zorder=4, **colour, **bars)
    shown = declared.dropna(subset=[up, across])
    if len(shown):
        y = _bars(shown, up, scale)
        colour = {"color": DECLARED_COLOUR, "mfc": "white", "label": "declared arms, on the same seeds"}
        panel.errorbar(shown[across] / per, shown[up] * scale, yerr=y, marker="D", ms=6, elinewidth=1.0, zorder=5, **colour, **bars)
    drawn = pd.concat([trials[across], points[across], shown[across]]).astype(float).dropna()
    if drawn.min() > 0 and drawn.max() / drawn.min() > WIDE:
        panel.set_xscale("log")
    panel.margins(x=0.09, y=0.09)
    panel.set_xlabel(_unit(sweep, across)[1])


def _steps(sweep: SweepFindings, up: str, across: str) -> tuple[list[float], list[float]]:
    """Corners, as drawn, of the line that bounds what is reached in two objectives: on fresh seeds, before that by the trials."""
    points = sweep.confirmed.points
    line = points if len(points) else sweep.trials[sweep.trials["standing"] == "front"]
    values = line[[up, across]].to_numpy(dtype=float)
    kept = values[non_dominated(values, (sweep.direction(up), sweep.direction(across)))]
    kept = kept[np.argsort(kept[:, 1])] * (scale_of(up), 1 / _unit(sweep, across)[0])
    xs, ys = kept[:1, 1].tolist(), kept[:1, 0].tolist()
    for (y0, x0), (y1, x1) in itertools.pairwise(kept):
        corner = (x1, y0) if sweep.direction(across) == "minimize" else (x0, y1)
        xs += [corner[0], x1]
        ys += [corner[1], y1]
    return xs, ys


def _name_points(panel: Axes, sweep: SweepFindings, up: str, across: str) -> None:
    """Names beside points, once the figure's layout stands."""
    points, declared = sweep.confirmed.points, sweep.confirmed.declared
    per, scale = _unit(sweep, across)[0], scale_of(up)
    if points.empty:
        points = sweep.trials[sweep.trials["number"].isin([trial.number for trial in sweep.points])]
        points = points.assign(arm=lambda own: "trial " + own["number"].astype(str))
    whole = pd.concat([points, declared.assign(arm=[sweep.folder.label(arm) for arm in declared["arm"]])], ignore_index=True)
    whole = whole.dropna(subset=[up, across])
    names = [plot_text(str(arm)) if index < NAMED else "" for index, arm in enumerate(whole["arm"])]
    xs, ys = (whole[across] / per).astype(float).tolist(), (whole[up] * scale).astype(float).tolist()
    panel.figure.draw_without_rendering()  # type: ignore[union-attr]
    taken = []
    for index, (x, y) in enumerate(zip(xs, ys, strict=True)):
        for name, flat in ((up, False), (across, True)):
            bounds = whole.reindex(columns=[f"{name} low", f"{name} high"]).to_numpy(dtype=float)[index]
            if np.isfinite(bounds).all():
                ends = [(bound / per, y) if flat else (x, bound * scale) for bound in bounds]
                (x0, y0), (x1, y1) = panel.transData.transform(ends)
                taken.append(Bbox.from_extents(x0 - 1, y0 - 1, x1 + 1, y1 + 1))
    corners = panel.transData.transform(np.column_stack(_steps(sweep, up, across)))
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        taken.append(Bbox.from_extents(min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1))
    place_labels(panel, names, xs, ys, taken, fontsize=8, color="#333333", zorder=6)


def hypervolume_plot(findings: Findings) -> Figure | None:
    """Hypervolume by complete trials; of one objective the best value so far. None without a complete trial."""
    sweep = findings.sweep
    if sweep is None or not sweep.file.finished:
        return None
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        panel = figure.subplots()
        numbers = [trial.number for trial in sweep.file.finished]
        if sweep.several:
            ys = sweep.hypervolume["share"].to_numpy(dtype=float) * 100
            panel.set_ylabel("hypervolume, percent of the box")
        else:
            name = sweep.file.names[0]
            values = sweep.file.values(sweep.file.finished)[:, 0] * scale_of(name)
            ys = (np.maximum if sweep.direction(name) == "maximize" else np.minimum).accumulate(values)
            panel.plot(numbers, values, "o", color=FAINT, ms=4, zorder=1)
            panel.set_ylabel(f"best so far: {_axis(name, scale_of(name))}")
        panel.step([*numbers, len(sweep.file.trials) - 1], [*ys, ys[-1]], where="post", color=FRONT_COLOUR, lw=1.6)
        grown = np.flatnonzero(np.diff(ys, prepend=np.nan) != 0)
        panel.plot(np.array(numbers)[grown], ys[grown], "o", color=FRONT_COLOUR, ms=4)
        panel.set_xlabel("trial")
        panel.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator("auto", integer=True))
    return figure


def importance_plot(findings: Findings) -> Figure | None:
    """What each field explains of each objective's spread, over a band of what shuffled values give. None where nothing can be told."""
    sweep = findings.sweep
    if sweep is None or not sweep.file.finished or not sweep.importance["importance"].notna().any():
        return None
    table = sweep.importance
    fields = list(sweep.file.search.space)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(2.6 + 3.0 * len(sweep.file.names), 1.5 + 0.36 * len(fields)), layout="constrained")
        panels = list(np.atleast_1d(figure.subplots(1, len(sweep.file.names), sharey=True, sharex=True)))
        for panel, name in zip(panels, sweep.file.names, strict=True):
            for y, row in enumerate(rows_of(table[table["objective"] == name])):
                if not np.isfinite(row.importance):
                    panel.text(1, y, "not told", va="center", fontsize=8, color="#777777")
                    continue
                panel.barh(y, row.shuffled_most * 100, height=0.78, color="#e3e6ea", zorder=2, label="values shuffled, the largest")
                colour = FRONT_COLOUR if row.above_noise else BASELINE
                panel.barh(y, row.importance * 100, height=0.4, color=colour, alpha=1 if row.above_noise else 0.55, zorder=3)
                panel.plot([row.random * 100] * 2, [y - 0.39, y + 0.39], color=COLOURS[1], lw=1.4, zorder=4, label="random numbers")
            panel.set_title(plot_text(name))
            panel.set_xlabel("percent of the spread")
            panel.grid(axis="y", visible=False)
        active = table.drop_duplicates("parameter")
        panels[0].set_yticks(range(len(fields)), [plot_text(f"{row.parameter} ({row.trials} trials)") for row in rows_of(active)])
        panels[0].set_ylim(len(fields) - 0.4, -0.6)
        handles = dict(reversed(pair) for panel in panels for pair in zip(*panel.get_legend_handles_labels(), strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, fontsize=8.5)
    return figure


SWEEP_CAPTIONS: dict[str, tuple[Callable[[Findings], Figure | None], str]] = {
    "front": (
        front_plot,
        "Front of the sweep: large, on fresh seeds and test items with 95 % intervals; small, as the search saw it on validation items. "
        "The line bounds what is reached in the two objectives of a panel.",
    ),
    "hypervolume": (
        hypervolume_plot,
        "What the sweep had reached after each trial: the best value; of several objectives the share that the front dominates of the box "
        "between reference point and best values.",
    ),
    "importance": (
        importance_plot,
        "What each searched field explains of the spread over trials; grey: what noise explains, so a bar within it says nothing.",
    ),
}


def _bars(rows: pd.DataFrame, name: str, factor: float) -> np.ndarray | None:
    """Distances [2, points] to the bounds; None where there are none."""
    if f"{name} low" not in rows or rows[f"{name} low"].isna().all():
        return None
    return np.abs(np.stack([rows[name] - rows[f"{name} low"], rows[f"{name} high"] - rows[name]]).astype(float)) * factor


def _axis(name: str, scale: float) -> str:
    return plot_text(f"{name}, percent" if scale == 100 else name)


def _unit(sweep: SweepFindings, name: str) -> tuple[float, str]:
    """What values are divided by, and the label of their axis."""
    if name in sweep.file.metrics:
        return 1 / scale_of(name), _axis(name, scale_of(name))
    if name in UNITS:
        return 1.0, f"{name.replace('_', ' ')}, {UNITS[name]}"
    per, prefix = si_prefix(float(np.nanmax(sweep.trials[name])))
    return per, f"{prefix}FLOPs a page" if name == "flops" else f"{prefix} parameters".strip()
