"""The report's figures, one function each, as matplotlib Figures without global state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fila_lab.analysis import frame as frames
from fila_lab.analysis.escape import plot_text
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.searched import plain
from fila_lab.analysis.statistics import paired_interval
from fila_lab.analysis.style import INTERACTION, RC, arm_styles, rows_of, scale_of, si_prefix
from fila_lab.analysis.verdicts import said
from fila_lab.config.cell_checks import VALIDATION_LOSS
from fila_lab.config.data import PLACES
from fila_lab.config.space import Choices, Range

MEAN: dict[str, Any] = {"markersize": 8, "capsize": 0, "elinewidth": 2.2, "markeredgewidth": 1.6, "zorder": 4}


def seeds_plot(found: Findings) -> Figure:
    """Every seed as a dot, the mean with its 95 % t interval; the primary metric, then its places."""
    task = found.tasks[0] if found.tasks else ""
    names = [found.metric, *(f"exact/{task}/{place}" for place in PLACES)]
    names = [name for name in dict.fromkeys(names) if name in found.frame]
    figure, axes = _rows(found, len(names))
    for panel, name in zip(axes, names, strict=True):
        scale = scale_of(name)
        for y, arm, style in _arms(found):
            values = found.frame.loc[found.frame["arm"] == arm, name].dropna().to_numpy() * scale
            spread = np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.zeros(len(values))
            panel.scatter(values, y + spread, s=13, color=style.colour, alpha=0.45, linewidths=0, zorder=3)
            _mean(panel, paired_interval(values), y, style)
        panel.set_title(name if name == found.metric else name.split("/")[-1])
        panel.set_xlabel("percent" if scale == 100 else "")
    return figure


def contrasts_plot(found: Findings) -> Figure:
    """Differences A - B with 95 % intervals, the margin as a band, verdicts at the right."""
    table, scale = found.verdicts, scale_of(found.metric)
    styles = arm_styles(found.folder)
    gaps = table["family"].ne(table["family"].shift()).cumsum() - 1
    ys = np.arange(len(table)) + 0.9 * gaps.to_numpy()
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(8.6, 1.1 + 0.36 * (float(ys[-1]) + 1 if len(ys) else 1)), layout="constrained")
        panel = figure.subplots()
        margin = found.folder.study.margin * scale
        panel.axvspan(-margin, margin, color="#9db7cf", alpha=0.28, lw=0, zorder=0)
        panel.axvline(0, color="#666666", lw=0.9, zorder=1)
        for y, row in zip(ys, rows_of(table), strict=True):
            style = styles.get(row.a, INTERACTION)
            error = [[(row.difference - row.low) * scale], [(row.high - row.difference) * scale]] if row.low == row.low else None
            panel.errorbar(row.difference * scale, y, xerr=error, fmt=style.marker, color=style.colour, mfc=style.face, **MEAN)
            words = said(row.verdict, row.size, row.mark)
            panel.text(1.02, y, words, transform=panel.get_yaxis_transform(), va="center", fontsize=9, color="#222222")
        for family, y in zip(table["family"], ys, strict=True):
            if list(table["family"]).index(family) == list(ys).index(y):
                panel.text(
                    0.01,
                    y - 0.62,
                    plot_text(family),
                    transform=panel.get_yaxis_transform(),
                    fontsize=8,
                    color="#666666",
                    va="center",
                    style="italic",
                )
        panel.set_yticks(ys, [plot_text(f"{row.a} − {row.b}") for row in rows_of(table)])
        if len(ys):
            panel.set_ylim(float(ys[-1]) + 0.6, -0.95)
        panel.grid(axis="y", visible=False)
        judged = "each family's metric" if found.folder.study.own_metrics else found.metric
        panel.set_xlabel(f"difference in {judged}, {'points' if scale == 100 else 'its units'}; band: margin ±{margin:g}")
    return figure


def cost_plot(found: Findings) -> Figure | None:
    """Primary metric against FLOPs and against median latency, with intervals; the Pareto front of the arms that are no controls. None
    before costs are measured."""
    scale = scale_of(found.metric)
    per, prefix = si_prefix(found.costs["flops"].max())
    axes_of = [
        ("flops", 1 / per, f"{prefix}FLOPs a forward pass, largest canvas"),
        ("latency_ms", 1.0, "median latency, ms (bar: interquartile range)"),
    ]
    axes_of = [entry for entry in axes_of if found.costs[entry[0]].notna().any()]
    if not axes_of:
        return None
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(4.3 * len(axes_of) + 2.0, 3.9), layout="constrained")
        panels = np.atleast_1d(figure.subplots(1, len(axes_of), sharey=True))
        for panel, (name, factor, title) in zip(panels, axes_of, strict=True):
            front = []
            for _, arm, style in _arms(found):
                values = paired_interval(found.frame.loc[found.frame["arm"] == arm, found.metric].dropna())
                x = found.costs[name].to_dict()[arm] * factor
                wide = found.costs["latency_iqr_ms"].to_dict()[arm] / 2 if name == "latency_ms" else 0.0
                error = None if values.half != values.half else values.half * scale
                across = wide if wide > 0 else None
                shown = {"fmt": style.marker, "color": style.colour, "mfc": style.face, "label": plot_text(style.label), **MEAN}
                panel.errorbar(x, values.mean * scale, yerr=error, xerr=across, **shown)
                if style.filled and x == x:
                    front.append((x, values.mean * scale))
            xs, tops = _pareto(front)
            panel.plot(xs, tops, color="#999999", lw=1, ls=(0, (4, 3)), zorder=1, drawstyle="steps-post")
            panel.set_xlabel(title)
            panel.margins(x=0.08)
        panels[0].set_ylabel(f"{found.metric}, percent" if scale == 100 else found.metric)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8.5)
    return figure


def gaps_plot(found: Findings) -> Figure | None:
    """Seam gap, sham gap, and fragmentation against its reverse, for the first task that has them; thick: over seeds, thin: over test
    images. None where no task does, as those of benchmarks and files.
    """
    task = next((name for name in found.tasks if f"seam_gap/{name}" in found.frame), None)
    if task is None:
        return None
    figure, panels = _rows(found, 3)
    for panel, kind in zip(panels, ("seam", "sham"), strict=False):
        for y, arm, style in _arms(found):
            own = found.frame.loc[found.frame["arm"] == arm]
            name = f"{kind}_gap/{task}"
            values = paired_interval(own[name].dropna() * 100 if name in own else [])
            gap = found.gaps.get((arm, task, kind))
            if gap is not None:
                panel.plot([gap.low * 100, gap.high * 100], [y, y], color=style.colour, lw=0.9, marker="|", ms=7, zorder=2)
            _mean(panel, values, y, style)
        panel.axvline(0, color="#666666", lw=0.9, zorder=1)
        panel.set_title(f"{kind} gap ({'sham − cut' if kind == 'seam' else 'intact − sham'}), {task}")
        panel.set_xlabel("points")
    for y, arm, style in _arms(found):
        own = found.frame.loc[found.frame["arm"] == arm]
        ends = [
            own[f"{name}/{task}"].mean() * 100 if f"{name}/{task}" in own else np.nan for name in ("fragmentation_reverse", "fragmentation")
        ]
        panels[2].plot(ends, [y, y], color=style.colour, lw=1.2, zorder=2)
        panels[2].plot(ends[:1], [y], "|", color=style.colour, ms=11, mew=1.8, zorder=3, clip_on=False)
        panels[2].plot(ends[1:], [y], style.marker, color=style.colour, mfc=style.face, ms=8, mew=1.6, zorder=4, clip_on=False)
    panels[2].set_xlim(left=0)
    panels[2].set_title("fragmentation errors (bar: reverse)")
    panels[2].set_xlabel("percent of triplets")
    return figure


def curves_plot(found: Findings) -> Figure | None:
    """Training loss, the loss of validation where a run has training stages, and validation metric by step: mean over seeds, band = range
    over seeds. None without curves."""
    curves = found.curves
    if curves.empty:
        return None
    percent = scale_of(found.metric) == 100
    titles = {
        "loss": "training loss",
        VALIDATION_LOSS: "validation loss",
        "validation": "validation items, percent" if percent else "validation items",
    }
    shown = [name for name in titles if name != VALIDATION_LOSS or curves[name].notna().any()]
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(5.3 * len(shown), 3.6), layout="constrained")
        panels = dict(zip(shown, figure.subplots(1, len(shown)), strict=True))
        for name, panel in panels.items():
            scale = scale_of(found.metric) if name == "validation" else 1.0
            for _, arm, style in _arms(found):
                own = curves[(curves["arm"] == arm) & curves[name].notna()]
                by = own.groupby("step")[name].agg(["mean", "min", "max"]) * scale
                few = len(by) < (2 if name == "loss" else 30)  # a line of one point is none
                panel.fill_between(by.index, by["min"], by["max"], color=style.colour, alpha=0.13, lw=0)
                dash: Any = "-" if style.filled else (0, (4, 2))
                marks = {"marker": style.marker, "ms": 5, "mfc": style.face} if few else {}
                panel.plot(by.index, by["mean"], color=style.colour, lw=1.5, ls=dash, label=plot_text(style.label), **marks)
            panel.set_xlabel("step")
            panel.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator("auto", integer=True))
            panel.set_title(titles[name])
            if name != "validation" and curves[name].min() > 0:
                panel.set_yscale("log")
                panel.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
                panel.yaxis.set_minor_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
                panel.yaxis.set_minor_locator(matplotlib.ticker.LogLocator(subs=(2, 5)))
        figure.legend(*panels["loss"].get_legend_handles_labels(), loc="outside right upper", fontsize=8.5)
    return figure


def tuning_plot(found: Findings) -> Figure | None:
    """Validation value of every trial against each searched value; the winner ringed. None without tuning."""
    trials = frames.load_tuning(found.folder)
    trials = trials.dropna(subset=["value"]) if not trials.empty else trials
    searched = found.folder.study.tuning.dimensions if found.folder.study.tuning else {}
    space = [path for path in searched if path in trials]
    if trials.empty or not space:
        return None
    scale, styles = scale_of(found.metric), arm_styles(found.folder)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(5.2 * len(space) + 2, 3.8), layout="constrained")
        panels = np.atleast_1d(figure.subplots(1, len(space), sharey=True))
        for panel, path in zip(panels, space, strict=True):
            one = searched[path]
            known = trials[trials[path].notna()]
            if isinstance(one, Choices):
                places = {str(plain(value)): place for place, value in enumerate(one.values)}
                known = known.assign(**{path: known[path].astype(str).map(places)}).dropna(subset=[path])
                panel.set_xticks(range(len(places)), [plot_text(value) for value in places])
                panel.set_xlim(-0.5, len(places) - 0.5)
            for arm in [name for name in found.folder.study.arms if name in set(known["arm"])]:
                own, style = known[known["arm"] == arm].sort_values(path), styles[arm]
                line: dict[str, Any] = {
                    "ls": "-" if isinstance(one, Range) and len(space) == 1 else "",
                    "lw": 1.2,
                    "label": plot_text(style.label),
                }
                panel.plot(own[path], own["value"] * scale, color=style.colour, marker=style.marker, ms=5.5, mfc=style.face, **line)
                best = own[own["winner"]]
                panel.plot(best[path], best["value"] * scale, "o", ms=13, mfc="none", mec=style.colour, mew=1.3)
            if isinstance(one, Range) and one.log:
                panel.set_xscale("log")
            elif isinstance(one, Range) and one.whole(path):
                panel.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
            panel.set_xlabel(f"{path} (log)" if isinstance(one, Range) and one.log else path)
        panels[0].set_ylabel("validation, percent" if scale == 100 else "validation")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8.5)
    return figure


CAPTIONS: dict[str, tuple[Callable[[Findings], Figure | None], str]] = {
    "contrasts": (contrasts_plot, "Declared contrasts with 95 % t intervals over seeds; the band is the margin."),
    "seeds": (seeds_plot, "Every seed a dot; the mean with its 95 % t interval. Controls are hollow."),
    "gaps": (
        gaps_plot,
        "Price of a seam, price of a mere patch border, and fragmentation errors. Thick: 95 % over seeds; thin: 95 % over test images.",
    ),
    "cost": (cost_plot, "Accuracy against cost on the largest canvas; dashed: Pareto front of the arms that are no controls."),
    "curves": (curves_plot, "Learning curves: mean over seeds, band from the lowest to the highest seed."),
    "tuning": (tuning_plot, "Tuning: every trial, the same trials for every arm; winners ringed."),
}


def _arms(found: Findings) -> list[tuple[int, str, Any]]:
    """(row, arm, style) of the arms that have a finished cell."""
    styles, present = arm_styles(found.folder), set(found.frame["arm"])
    return [(y, arm, styles[arm]) for y, arm in enumerate(arm for arm in found.folder.arms if arm in present)]


def _rows(found: Findings, panels: int) -> tuple[Figure, list[Axes]]:
    """Panels side by side with one row an arm, first arm on top."""
    arms = _arms(found)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(2.0 + 2.75 * panels, 1.0 + 0.42 * len(arms)), layout="constrained")
        axes = list(np.atleast_1d(figure.subplots(1, panels, sharey=True)))
        axes[0].set_yticks([y for y, _, _ in arms], [plot_text(style.label) for _, _, style in arms])
        axes[0].set_ylim(len(arms) - 0.45, -0.55)
        for panel in axes:
            panel.grid(axis="y", visible=False)
            panel.tick_params(axis="y", length=0)
    return figure, axes


def _mean(panel: Axes, interval: Any, y: float, style: Any) -> None:
    error = None if interval.half != interval.half else interval.half
    panel.errorbar(interval.mean, y, xerr=error, fmt=style.marker, color=style.colour, mfc=style.face, **MEAN)


def _pareto(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    kept: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda p: (p[0], -p[1])):
        if not kept or y > kept[-1][1]:
            kept.append((x, y))
    return [x for x, _ in kept], [y for _, y in kept]
