"""The report's figures: the registry, contrasts, seeds, differences, cost; matplotlib Figures without global state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fila_lab.analysis.answer import control_rows
from fila_lab.analysis.contrasts import paired, sides
from fila_lab.analysis.curve_plots import curves_picture, curves_plot, progress_picture, tuning_picture, tuning_plot
from fila_lab.analysis.escape import plot_text
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.label_places import place_labels
from fila_lab.analysis.picture import MEAN, Panel, Picture, arms_of, mean_mark, row_frame, rows_only
from fila_lab.analysis.seam_plots import gaps_picture, gaps_plot
from fila_lab.analysis.statistics import paired_interval
from fila_lab.analysis.style import INTERACTION, MARKERS, RC, arm_styles, rows_of, scale_of, si_prefix
from fila_lab.analysis.verdicts import said
from fila_lab.config.data import PLACES

__all__ = ["CAPTIONS", "contrasts_plot", "cost_plot", "curves_plot", "gaps_plot", "seeds_plot", "tuning_plot"]


def seeds_plot(findings: Findings) -> Figure:
    """Every seed of every arm as a dot, the mean with its 95 % t interval; the primary metric, then its places.

    Args:
        findings: of `StudyFrames.findings`.

    Example:
        >>> study = load("experiments/results/remove_fusion")
        >>> [axes.get_title(loc="left") for axes in seeds_plot(study.findings).axes]
        ['exact/reading/cut', 'sham', 'intact']
    """
    return seeds_picture(findings).whole()


def seeds_picture(findings: Findings) -> Picture:
    """Every seed as a dot, the mean with its 95 % t interval; the primary metric, then its places."""
    task = findings.tasks[0] if findings.tasks else ""
    names = [findings.metric, *(f"exact/{task}/{place}" for place in PLACES)]

    def panel_of(name: str) -> Panel:
        scale = scale_of(name)

        def draw(panel: Axes) -> None:
            for y, arm, style in arms_of(findings):
                values = findings.frame.loc[findings.frame["arm"] == arm, name].dropna().to_numpy() * scale
                spread = np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.zeros(len(values))
                panel.scatter(values, y + spread, s=13, color=style.colour, alpha=0.45, linewidths=0, zorder=3)
                mean_mark(panel, paired_interval(values), y, style)
            rows_only(panel)
            panel.set_title(name if name == findings.metric else name.split("/")[-1])
            panel.set_xlabel("percent" if scale == 100 else "")

        return Panel(f"{name} of every arm: each seed a dot, the mean with its interval", draw)

    panels = [panel_of(name) for name in dict.fromkeys(names) if name in findings.frame]
    return Picture(panels, (2.2, 1.0 + 0.38 * len(arms_of(findings))), left=1.8, frame=row_frame(findings))


def contrasts_plot(findings: Findings) -> Figure:
    """Differences A - B with 95 % intervals, the margin as a band, verdicts at the right.

    Args:
        findings: of `StudyFrames.findings`.

    Example:
        >>> study = load("experiments/results/remove_fusion")
        >>> contrasts_plot(study.findings).axes[0].get_xlabel()
        'difference in exact/reading/cut, points; band: margin ±2'
    """
    table, scale = findings.verdicts, scale_of(findings.metric)
    styles = arm_styles(findings.folder)
    gaps = table["family"].ne(table["family"].shift()).cumsum() - 1
    ys = np.arange(len(table)) + 0.9 * gaps.to_numpy()
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(8.6, 1.1 + 0.36 * (float(ys[-1]) + 1 if len(ys) else 1)), layout="constrained")
        panel = figure.subplots()
        margin = findings.folder.study.margin * scale
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
        judged = "each family's metric" if findings.folder.study.own_metrics else findings.metric
        panel.set_xlabel(f"difference in {judged}, {'points' if scale == 100 else 'its units'}; band: margin ±{margin:g}")
    return figure


def differences_picture(findings: Findings) -> Picture | None:
    """Every seed's difference in each declared contrast, those of controls last, with the mean and its 95 % t interval; a mark a tower
    pair. None without a contrast."""
    order = control_rows(findings).sort_values(kind="stable").index
    table = findings.verdicts.loc[order].drop_duplicates(["a", "b", "metric"])
    if table.empty or len({scale_of(metric) for metric in table["metric"]}) > 1:
        return None
    scale, styles = scale_of(findings.metric), arm_styles(findings.folder)
    named = {sides(arms): arms for family in findings.folder.study.families.values() for arms in family.comparisons}
    pairs = findings.frame.drop_duplicates("seed").set_index("seed")["pair"] if "pair" in findings.frame else None

    def draw(panel: Axes) -> None:
        panel.axvline(0, color="#666666", lw=0.9, zorder=1)
        for y, row in enumerate(rows_of(table)):
            arms = named[row.a, row.b]
            values = findings.frame.pivot_table(index="seed", columns="arm", values=row.metric)[list(arms)].dropna()
            first, second = paired(values, arms)
            own, style = (first - second) * scale, styles.get(row.a, INTERACTION)
            spread = np.linspace(-0.24, 0.24, len(own)) if len(own) > 1 else np.zeros(len(own))
            of = np.zeros(len(own), int) if pairs is None else pairs.reindex(values.index).to_numpy(int)
            for pair in sorted(set(of)):
                mine = of == pair
                dots: Any = {"s": 20, "color": style.colour, "alpha": 0.55, "linewidths": 0, "marker": MARKERS[pair % len(MARKERS)]}
                panel.scatter(own[mine], (y + spread)[mine], zorder=3, **dots)
            mean_mark(panel, paired_interval(own), y, style)
        rows_only(panel)
        panel.set_xlabel("points" if scale == 100 else "")

    def frame(panel: Axes) -> None:
        several = table["metric"].nunique() > 1
        names = [f"{r.a} − {r.b}" + (f", {r.metric.removeprefix('exact/')}" if several else "") for r in rows_of(table)]
        panel.set_yticks(range(len(names)), [plot_text(name) for name in names])
        panel.set_ylim(len(names) - 0.45, -0.55)

    says = "every seed's difference in each declared contrast, with the mean and its interval"
    return Picture([Panel(says, draw)], (3.6, 0.8 + 0.34 * len(table)), left=2.0, frame=frame)


def cost_plot(findings: Findings) -> Figure | None:
    """Primary metric of every arm against its FLOPs and its median latency, with intervals and the Pareto front; None before costs are
    measured.

    Args:
        findings: of `StudyFrames.findings`.

    Example:
        >>> study = load("experiments/results/remove_fusion")
        >>> [axes.get_xlabel() for axes in cost_plot(study.findings).axes]
        ['MFLOPs a forward pass, largest canvas', 'median latency, ms (bar: interquartile range)']
    """
    picture = cost_picture(findings)
    return None if picture is None else picture.whole()


def cost_picture(findings: Findings) -> Picture | None:
    """Primary metric against FLOPs and against median latency, with intervals, names beside the points; the Pareto front of the arms that
    are no controls. None before costs are measured."""
    scale = scale_of(findings.metric)
    per, prefix = si_prefix(findings.costs["flops"].max())
    axes_of = [
        ("flops", 1 / per, f"{prefix}FLOPs a forward pass, largest canvas"),
        ("latency_ms", 1.0, "median latency, ms (bar: interquartile range)"),
    ]
    axes_of = [entry for entry in axes_of if findings.costs[entry[0]].notna().any()]
    if not axes_of:
        return None

    def panel_of(name: str, factor: float, title: str) -> Panel:
        across = findings.costs[name].astype(float) * factor
        means = {
            arm: paired_interval(findings.frame.loc[findings.frame["arm"] == arm, findings.metric].dropna())
            for _, arm, _ in arms_of(findings)
        }

        def draw(panel: Axes) -> None:
            front = []
            for _, arm, style in arms_of(findings):
                values, x = means[arm], float(across[arm])
                wide = findings.costs["latency_iqr_ms"].to_dict()[arm] / 2 if name == "latency_ms" else 0.0
                error = None if values.half != values.half else values.half * scale
                shown = {"fmt": style.marker, "color": style.colour, "mfc": style.face, **MEAN}
                panel.errorbar(x, values.mean * scale, yerr=error, xerr=wide if wide > 0 else None, **shown)
                if style.filled and x == x:
                    front.append((x, values.mean * scale))
            xs, tops = _pareto(front)
            panel.plot(xs, tops, color="#999999", lw=1, ls=(0, (4, 3)), zorder=1, drawstyle="steps-post")
            panel.set_xlabel(title)
            panel.margins(x=0.18, y=0.14)

        def finish(panel: Axes) -> None:
            there = [
                (arm, style) for _, arm, style in arms_of(findings) if across[arm] == across[arm] and means[arm].mean == means[arm].mean
            ]
            names = [plot_text(style.label) for _, style in there]
            place_labels(
                panel, names, [float(across[arm]) for arm, _ in there], [means[arm].mean * scale for arm, _ in there], fontsize=8.5
            )

        return Panel(f"{findings.metric} of every arm against {title}", draw, finish)

    def frame(panel: Axes) -> None:
        panel.set_ylabel(f"{findings.metric}, percent" if scale == 100 else findings.metric)

    return Picture([panel_of(*entry) for entry in axes_of], (5.2, 4.2), left=0.0, frame=frame)


CAPTIONS: dict[str, tuple[Callable[[Findings], Figure | Picture | None], str]] = {
    "contrasts": (contrasts_plot, "Declared contrasts with 95 % t intervals over seeds; the band is the margin."),
    "differences": (
        differences_picture,
        "Every seed's difference a dot, the mean with its 95 % t interval; where there are tower pairs, each has its mark.",
    ),
    "seeds": (seeds_picture, "Every seed a dot; the mean with its 95 % t interval. Controls are hollow."),
    "gaps": (
        gaps_picture,
        "Each task's seam: accuracy by place, price of a seam, price of a mere patch border, and fragmentation errors. Thick: 95 % over "
        "seeds; thin: 95 % over test images.",
    ),
    "cost": (cost_picture, "Accuracy against cost on the largest canvas; dashed: Pareto front of the arms that are no controls."),
    "curves": (curves_picture, "Learning curves: mean over seeds, band from the lowest to the highest seed."),
    "progress": (progress_picture, "Validation by step, an arm each before the others, on one axis."),
    "tuning": (tuning_picture, "Tuning: every trial on one axis, the same trials for every arm; winners ringed."),
}


def _pareto(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    kept: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda p: (p[0], -p[1])):
        if not kept or y > kept[-1][1]:
            kept.append((x, y))
    return [x for x, _ in kept], [y for _, y in kept]
