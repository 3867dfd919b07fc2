"""A figure made of panels: drawn whole for a file, or panel by panel, so that a page lets them flow at any width."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fila_lab.analysis.escape import plot_text
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.statistics import Interval
from fila_lab.analysis.style import RC, ArmStyle, arm_styles

MEAN: dict[str, Any] = {"markersize": 8, "capsize": 0, "elinewidth": 2.2, "markeredgewidth": 1.6, "zorder": 4}


@dataclass(frozen=True)
class Panel:
    """One pair of axes. says: what a reader who does not see it is told; finish: what is drawn once layout and limits stand."""

    says: str
    draw: Callable[[Axes], None]
    finish: Callable[[Axes], None] | None = None


@dataclass(frozen=True)
class Picture:
    """Panels of one size (inches), with `left` inches before the first for what `frame` writes there; the y axis is the same in all where
    `equal` says so. legend: whether arms are named below."""

    panels: Sequence[Panel]
    size: tuple[float, float]
    left: float = 0.7
    columns: int = 6
    equal: bool = True
    legend: bool = False
    frame: Callable[[Axes], None] = lambda panel: None

    def whole(self) -> Figure:
        """All panels, in rows of at most `columns`."""
        figure = self._figure(self.panels)
        for panel, axes in zip(self.panels, figure.axes, strict=True):
            if panel.finish is not None:
                panel.finish(axes)
        return figure

    def separate(self, whole: Figure) -> list[tuple[str, Figure]]:
        """(what it says, figure) of each panel, with the limits that it has in the whole."""
        made = []
        for panel, beside in zip(self.panels, whole.axes, strict=True):
            figure = self._figure([panel])
            if self.equal:
                figure.axes[0].set_ylim(beside.get_ylim())
            if panel.finish is not None:
                panel.finish(figure.axes[0])
            made.append((panel.says, figure))
        return made

    def _figure(self, panels: Sequence[Panel]) -> Figure:
        columns = min(self.columns, len(panels))
        rows = math.ceil(len(panels) / columns)
        with matplotlib.rc_context(RC):
            figure = Figure(figsize=(self.left + self.size[0] * columns, self.size[1] * rows), layout="constrained")
            grid = np.atleast_1d(figure.subplots(rows, columns, sharey=self.equal)).ravel()
            for panel, axes in zip(panels, grid, strict=False):
                panel.draw(axes)
            for axes in grid[len(panels) :]:
                axes.remove()
            for axes in grid[: len(panels) : columns]:
                self.frame(axes)
            if self.legend:
                named = dict(zip(*reversed(grid[0].get_legend_handles_labels()), strict=True))
                wide = figure.get_size_inches()[0]
                most = max((len(name) for name in named), default=1)
                ncols = max(1, min(len(named), int(wide / (0.45 + 0.085 * most))))
                figure.legend(named.values(), named.keys(), loc="outside lower left", fontsize=8.5, ncols=ncols)
        return figure


def arms_of(findings: Findings) -> list[tuple[int, str, ArmStyle]]:
    """(row, arm, style) of the arms that have a finished cell."""
    styles, present = arm_styles(findings.folder), set(findings.frame["arm"])
    return [(y, arm, styles[arm]) for y, arm in enumerate(arm for arm in findings.folder.arms if arm in present)]


def row_frame(findings: Findings) -> Callable[[Axes], None]:
    """Labels of one row an arm, the first arm on top."""
    arms = arms_of(findings)

    def frame(panel: Axes) -> None:
        panel.set_yticks([y for y, _, _ in arms], [plot_text(style.label) for _, _, style in arms])
        panel.set_ylim(len(arms) - 0.45, -0.55)

    return frame


def rows_only(panel: Axes) -> None:
    """No lines or marks along rows."""
    panel.grid(axis="y", visible=False)
    panel.tick_params(axis="y", length=0)


def mean_mark(panel: Axes, interval: Interval, y: float, style: ArmStyle) -> None:
    """The mean with its interval, where there is one."""
    error = None if interval.half != interval.half else interval.half
    panel.errorbar(interval.mean, y, xerr=error, fmt=style.marker, color=style.colour, mfc=style.face, **MEAN)
