"""Learning and tuning curves, with one axis for all arms."""

from __future__ import annotations

from typing import Any

import matplotlib.ticker
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fila_lab.analysis import frame as frames
from fila_lab.analysis.escape import plot_text
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.picture import Panel, Picture, arms_of
from fila_lab.analysis.searched import plain
from fila_lab.analysis.style import ArmStyle, arm_styles, scale_of
from fila_lab.config.cell_checks import VALIDATION_LOSS
from fila_lab.config.space import Choices, Range

FAINT = "#c3cad1"
"""The other arms, behind the one that a panel shows."""


def curves_plot(findings: Findings) -> Figure | None:
    """As `curves_picture`, drawn whole."""
    picture = curves_picture(findings)
    return None if picture is None else picture.whole()


def curves_picture(findings: Findings) -> Picture | None:
    """Training loss, the loss of validation where a run has training stages, and validation metric by step, all arms together: mean over
    seeds, band = range over seeds. None without curves."""
    curves = findings.curves
    if curves.empty:
        return None
    percent = scale_of(findings.metric) == 100
    titles = {
        "loss": "training loss",
        VALIDATION_LOSS: "validation loss",
        "validation": "validation items, percent" if percent else "validation items",
    }

    def panel_of(name: str) -> Panel:
        def draw(panel: Axes) -> None:
            for _, arm, style in arms_of(findings):
                _curve(panel, _by_step(findings, arm, name), style, name)
            _steps(panel, titles[name])
            if name != "validation" and curves[name].min() > 0:
                panel.set_yscale("log")
                panel.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
                panel.yaxis.set_minor_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
                panel.yaxis.set_minor_locator(matplotlib.ticker.LogLocator(subs=(2, 5)))

        return Panel(f"{titles[name]} by step, a line an arm", draw)

    shown = [name for name in titles if name != VALIDATION_LOSS or curves[name].notna().any()]
    return Picture([panel_of(name) for name in shown], (4.0, 3.4), left=0.0, equal=False, legend=True)


def progress_picture(findings: Findings) -> Picture | None:
    """Validation metric by step, a panel an arm before the others, on one axis. None where there is too little to set apart."""
    if findings.curves.empty:
        return None
    by_arm = {arm: _by_step(findings, arm, "validation") for _, arm, _ in arms_of(findings)}
    if len(by_arm) < 2 or max(len(own) for own in by_arm.values()) < 2:
        return None

    def panel_of(arm: str, style: ArmStyle) -> Panel:
        def draw(panel: Axes) -> None:
            for other, own in by_arm.items():
                if other != arm:
                    panel.plot(own.index, own["mean"], color=FAINT, lw=1)
            _curve(panel, by_arm[arm], style, "validation")
            _steps(panel, plot_text(style.label))

        return Panel(f"{style.label}: validation items by step, the other arms faint behind it", draw)

    def frame(panel: Axes) -> None:
        panel.set_ylabel("validation, percent" if scale_of(findings.metric) == 100 else "validation")

    return Picture([panel_of(arm, style) for _, arm, style in arms_of(findings)], (2.5, 2.1), left=0.5, columns=4, frame=frame)


def tuning_plot(findings: Findings) -> Figure | None:
    """As `tuning_picture`, drawn whole."""
    picture = tuning_picture(findings)
    return None if picture is None else picture.whole()


def tuning_picture(findings: Findings) -> Picture | None:
    """Validation value of every trial against each searched value, the winner ringed: a panel an arm where one field is searched, else a
    panel a field. None without tuning."""
    trials = frames.load_tuning(findings.folder)
    trials = trials.dropna(subset=["value"]) if not trials.empty else trials
    searched = findings.folder.study.tuning.dimensions if findings.folder.study.tuning else {}
    space = [path for path in searched if path in trials]
    if trials.empty or not space:
        return None
    arms = [arm for arm in findings.folder.study.arms if arm in set(trials["arm"])]
    styles = arm_styles(findings.folder)

    def frame(panel: Axes) -> None:
        panel.set_ylabel("validation, percent" if scale_of(findings.metric) == 100 else "validation")

    if len(space) == 1:
        path, one = space[0], searched[space[0]]

        def panel_of(arm: str) -> Panel:
            def draw(panel: Axes) -> None:
                for other in arms:
                    if other != arm and isinstance(one, Range):
                        _trials(panel, findings, trials[trials["arm"] == other], path, one, None)
                _trials(panel, findings, trials[trials["arm"] == arm], path, one, styles[arm])
                _searched_axis(panel, path, one)
                panel.set_title(plot_text(styles[arm].label))

            return Panel(
                f"{styles[arm].label}: validation of every trial by {path}, the winner ringed, the other arms faint behind it", draw
            )

        return Picture([panel_of(arm) for arm in arms], (2.5, 2.2), left=0.5, columns=4, frame=frame)

    def field_panel(path: str) -> Panel:
        def draw(panel: Axes) -> None:
            for arm in arms:
                _trials(panel, findings, trials[trials["arm"] == arm], path, searched[path], styles[arm], line=False)
            _searched_axis(panel, path, searched[path])

        return Panel(f"validation of every trial by {path}, winners ringed", draw)

    return Picture([field_panel(path) for path in space], (4.3, 3.8), left=0.0, legend=True, frame=frame)


def _by_step(findings: Findings, arm: str, name: str) -> pd.DataFrame:
    """step -> mean, min and max over seeds, as drawn."""
    scale = scale_of(findings.metric) if name == "validation" else 1.0
    own = findings.curves[(findings.curves["arm"] == arm) & findings.curves[name].notna()]
    by: pd.DataFrame = own.groupby("step")[name].agg(["mean", "min", "max"]) * scale
    return by


def _curve(panel: Axes, by: pd.DataFrame, style: ArmStyle, name: str) -> None:
    few = len(by) < (2 if name == "loss" else 30)  # a line of one point is none
    panel.fill_between(by.index, by["min"], by["max"], color=style.colour, alpha=0.13, lw=0)
    dash: Any = "-" if style.filled else (0, (4, 2))
    marks: dict[str, Any] = {"marker": style.marker, "ms": 5, "mfc": style.face} if few else {}
    panel.plot(by.index, by["mean"], color=style.colour, lw=1.5, ls=dash, label=plot_text(style.label), **marks)


def _steps(panel: Axes, title: str) -> None:
    panel.set_xlabel("step")
    panel.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator("auto", integer=True))
    panel.set_title(title)


def _trials(
    panel: Axes, findings: Findings, own: pd.DataFrame, path: str, one: Choices | Range, style: ArmStyle | None, line: bool = True
) -> None:
    """One arm's trials; faint without a style."""
    own, scale = own[own[path].notna()], scale_of(findings.metric)
    if isinstance(one, Choices):
        places = {str(plain(value)): place for place, value in enumerate(one.values)}
        own = own.assign(**{path: own[path].astype(str).map(places)}).dropna(subset=[path])
    own = own.sort_values(path)
    joined = "-" if isinstance(one, Range) and line else ""
    if style is None:
        panel.plot(own[path], own["value"] * scale, color=FAINT, lw=1, ls=joined)
        return
    label, ring = plot_text(style.label), own[own["winner"]]
    panel.plot(
        own[path], own["value"] * scale, color=style.colour, marker=style.marker, ms=5.5, mfc=style.face, ls=joined, lw=1.2, label=label
    )
    panel.plot(ring[path], ring["value"] * scale, "o", ms=13, mfc="none", mec=style.colour, mew=1.3)


def _searched_axis(panel: Axes, path: str, one: Choices | Range) -> None:
    if isinstance(one, Choices):
        panel.set_xticks(range(len(one.values)), [plot_text(str(plain(value))) for value in one.values])
        panel.set_xlim(-0.5, len(one.values) - 0.5)
    elif one.log:
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1.0, 3.0), numticks=4))
        panel.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        panel.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    elif one.whole(path):
        panel.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    panel.set_xlabel(f"{path} (log)" if isinstance(one, Range) and one.log else path)
