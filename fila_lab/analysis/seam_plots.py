"""The anatomy of a seam, task by task: accuracy at the three places, what a seam and a patch border cost, and fragmentation errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fila_lab.analysis.escape import plot_text
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.picture import MEAN, Panel, Picture, arms_of, row_frame, rows_only
from fila_lab.analysis.statistics import paired_interval
from fila_lab.config.data import PLACES

PLACE_MARKS = {"cut": "|", "sham": "d", "intact": "o"}


def gaps_plot(findings: Findings) -> Figure | None:
    """Every task that has gaps, a row of panels each: places, seam gap and sham gap, fragmentation against its reverse. None where no task
    does, as those of benchmarks and files.

    Args:
        findings: of `StudyFrames.findings`.

    Example:
        >>> study = load("experiments/results/remove_fusion")
        >>> len(gaps_plot(study.findings).axes)
        6
    """
    picture = gaps_picture(findings)
    return None if picture is None else picture.whole()


def gaps_picture(findings: Findings) -> Picture | None:
    """A row of three panels a task: places, seam gap and sham gap, fragmentation against its reverse. Of gaps thick: over seeds, thin: over
    test images."""
    tasks = [task for task in findings.tasks if f"seam_gap/{task}" in findings.frame]
    if not tasks:
        return None
    panels = [panel for task in tasks for panel in _of_task(findings, task)]
    height = 1.3 + 0.34 * len(arms_of(findings))
    return Picture(panels, (2.2, height), left=1.8, columns=3, frame=row_frame(findings))


def _of_task(findings: Findings, task: str) -> list[Panel]:
    def places(panel: Axes) -> None:
        for y, arm, style in arms_of(findings):
            own = findings.frame.loc[findings.frame["arm"] == arm]
            known = [place for place in PLACES if f"exact/{task}/{place}" in own]
            means = [own[f"exact/{task}/{place}"].mean() * 100 for place in known]
            panel.plot(means, [y] * len(means), color=style.colour, lw=1.2, zorder=2)
            for place, mean in zip(known, means, strict=True):
                look: dict[str, Any] = {
                    "marker": PLACE_MARKS[place],
                    "ms": 12 if place == "cut" else 6.5,
                    "mew": 1.8 if place == "cut" else 1.2,
                }
                panel.plot(mean, y, color=style.colour, mfc=style.colour if place == "intact" else "white", zorder=4, **look)
        rows_only(panel)
        panel.set_title(f"{plot_text(task)}\ncut | sham ◇ intact ●")
        panel.set_xlabel("percent")

    def gaps(panel: Axes) -> None:
        for y, arm, style in arms_of(findings):
            own = findings.frame.loc[findings.frame["arm"] == arm]
            for kind, at in (("seam", y - 0.16), ("sham", y + 0.16)):
                name = f"{kind}_gap/{task}"
                values = paired_interval(own[name].dropna() * 100 if name in own else [])
                known = findings.gaps.get((arm, task, kind))
                if known is not None:
                    panel.plot([known.low * 100, known.high * 100], [at, at], color=style.colour, lw=0.9, marker="|", ms=6, zorder=2)
                wide = None if values.half != values.half else values.half
                look: dict[str, Any] = {"fmt": "s" if kind == "seam" else "d", "mfc": style.colour if kind == "seam" else "white"}
                panel.errorbar(values.mean, at, xerr=wide, color=style.colour, **(MEAN | {"markersize": 5.5, "elinewidth": 2.0}), **look)
        panel.axvline(0, color="#666666", lw=0.9, zorder=1)
        rows_only(panel)
        panel.set_title(f"{plot_text(task)}\nseam gap ■, sham gap ◇")
        panel.set_xlabel("sham − cut ■,\nintact − sham ◇, points")

    def fragments(panel: Axes) -> None:
        for y, arm, style in arms_of(findings):
            own = findings.frame.loc[findings.frame["arm"] == arm]
            kinds = ("fragmentation_reverse", "fragmentation")
            ends = [own[f"{name}/{task}"].mean() * 100 if f"{name}/{task}" in own else np.nan for name in kinds]
            panel.plot(ends, [y, y], color=style.colour, lw=1.2, zorder=2)
            panel.plot(ends[:1], [y], "|", color=style.colour, ms=11, mew=1.8, zorder=3, clip_on=False)
            panel.plot(ends[1:], [y], style.marker, color=style.colour, mfc=style.face, ms=8, mew=1.6, zorder=4, clip_on=False)
        panel.set_xlim(left=0)
        rows_only(panel)
        panel.set_title(f"{plot_text(task)}\nfragmentation errors")
        panel.set_xlabel("percent of triplets\n(bar: reverse)")

    return [
        Panel(f"{task}: accuracy at the cut, sham and intact place of every arm, percent", places),
        Panel(f"{task}: seam gap and sham gap of every arm, points, with intervals over seeds and over test images", gaps),
        Panel(f"{task}\nfragmentation errors of every arm beside the reverse, percent of triplets", fragments),
    ]
