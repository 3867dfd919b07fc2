"""Figures of `aggregates`: intervals, performance profiles, probabilities of improvement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fila_lab.analysis.aggregates import AGGREGATES, aggregate_intervals, improvement_probabilities, performance_profiles
from fila_lab.analysis.escape import plot_text
from fila_lab.analysis.style import COLOURS, MARKERS, RC, ArmStyle, rows_of

Styles = Mapping[str, ArmStyle]
TITLES = {"mean": "mean", "median": "median of tasks", "iqm": "interquartile mean"}


def interval_plot(scores: pd.DataFrame, styles: Styles | None = None, place: str = "") -> Figure:
    """Mean, median and interquartile mean over tasks and seeds, a row an arm, with 95 % bootstrap intervals over seeds.

    Args:
        scores: of `StudyFrames.scores`, or rows of it.
        styles: of `StudyFrames.styles`; None gives colours in the order of arms.
        place: "" for accuracies over all places, else one place.

    Raises:
        ValueError: as of `aggregate_intervals`.

    Example:
        >>> study = load("experiments/results/remove_fusion")
        >>> [axes.get_title(loc="left") for axes in interval_plot(study.scores, study.styles).axes]
        ['mean', 'median of tasks', 'interquartile mean']
    """
    table = aggregate_intervals(scores, place)
    arms = list(dict.fromkeys(table["arm"]))
    known = _known(styles, arms)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(2.0 + 2.6 * len(AGGREGATES), 1.0 + 0.36 * len(arms)), layout="constrained")
        panels = figure.subplots(1, len(AGGREGATES), sharey=True)
        for panel, name in zip(panels, AGGREGATES, strict=True):
            for y, row in enumerate(rows_of(table[table["aggregate"] == name])):
                style = known[row.arm]
                panel.barh(y, (row.high - row.low) * 100, left=row.low * 100, height=0.5, color=style.colour, alpha=0.35, lw=0)
                panel.plot([row.value * 100] * 2, [y - 0.25, y + 0.25], color=style.colour, lw=2.2)
            panel.set_title(TITLES[name])
            panel.grid(axis="y", visible=False)
            panel.tick_params(axis="y", length=0)
            panel.use_sticky_edges = False
            panel.margins(x=0.08)
        panels[0].set_yticks(range(len(arms)), [plot_text(known[arm].label) for arm in arms])
        panels[0].invert_yaxis()
        seeds, tasks = int(table["seeds"].min()), int(table["tasks"].iloc[0])
        figure.supxlabel(f"percent{f', {place}' if place else ''}; {_many(tasks, 'task')}, {_many(seeds, 'seed')}", fontsize=9)
    return figure


def profile_plot(scores: pd.DataFrame, styles: Styles | None = None, place: str = "") -> Figure:
    """Share of runs (a seed and task each) that score above each threshold, a line an arm, with 95 % bands over seeds: higher is better,
    and lines that cross say that no arm is better everywhere. Arguments and errors as of `interval_plot`.

    Example:
        >>> study = load("experiments/results/remove_fusion")
        >>> profile_plot(study.scores, study.styles).axes[0].get_ylabel()
        'share of runs above it, percent'
    """
    table = performance_profiles(scores, place)
    arms = list(dict.fromkeys(table["arm"]))
    known = _known(styles, arms)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(7.4, 3.6), layout="constrained")
        panel = figure.subplots()
        for arm in arms:
            own, style = table[table["arm"] == arm], known[arm]
            line: Any = "-" if style.filled else (0, (4, 2))
            panel.fill_between(
                own["threshold"] * 100, own["low"] * 100, own["high"] * 100, color=style.colour, alpha=0.15, lw=0, step="post"
            )
            panel.step(own["threshold"] * 100, own["share"] * 100, where="post", color=style.colour, ls=line, label=plot_text(style.label))
        panel.set_xlabel(f"accuracy{f' at {place}' if place else ''}, percent")
        panel.set_ylabel("share of runs above it, percent")
        figure.legend(*panel.get_legend_handles_labels(), loc="outside right upper", fontsize=8.5)
    return figure


def improvement_plot(
    scores: pd.DataFrame, pairs: Sequence[tuple[str, str]] | None = None, styles: Styles | None = None, place: str = ""
) -> Figure:
    """Probability that A scores above B at a seed and task drawn at random, a row a pair, with 95 % bootstrap intervals over seeds.

    Args:
        pairs: (A, B); None compares every arm with the first.
        scores, styles, place: as of `interval_plot`.

    Raises:
        ValueError: as of `improvement_probabilities`.

    Example:
        >>> study = load("experiments/results/remove_fusion")
        >>> improvement_plot(study.scores, styles=study.styles).axes[0].get_xlabel()
        'probability that A scores higher, percent; line: neither'
    """
    table = improvement_probabilities(scores, pairs, place)
    known = _known(styles, [*table["a"], *table["b"]])
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(7.4, 1.1 + 0.36 * len(table)), layout="constrained")
        panel = figure.subplots()
        panel.axvline(50, color="#666666", lw=0.9, zorder=1)
        for y, row in enumerate(rows_of(table)):
            error = np.clip([[row.probability - row.low], [row.high - row.probability]], 0, None) * 100
            style = known[row.a]
            mark: dict[str, Any] = {"fmt": style.marker, "color": style.colour, "mfc": style.face, "ms": 8, "elinewidth": 2.2, "mew": 1.6}
            panel.errorbar(row.probability * 100, y, xerr=error, clip_on=False, zorder=4, **mark)
        panel.set_yticks(range(len(table)), [plot_text(f"{known[row.a].label} > {known[row.b].label}") for row in rows_of(table)])
        panel.set_xlim(-2, 102)
        panel.set_ylim(len(table) - 0.5, -0.5)
        panel.grid(axis="y", visible=False)
        panel.set_xlabel(f"probability that A scores higher{f' at {place}' if place else ''}, percent; line: neither")
    return figure


def _known(styles: Styles | None, arms: Sequence[str]) -> dict[str, ArmStyle]:
    """Arm -> style; colours in the order of arms where none is given."""
    given = styles or {}
    found = {}
    for place, arm in enumerate(dict.fromkeys(arms)):
        own = ArmStyle(arm, COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)], filled=True)
        found[arm] = given.get(arm, own)
    return found


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
