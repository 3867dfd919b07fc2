"""Figures of measured costs: what a fusion adds, where the time goes, how it grows with FLOPs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fila_lab.analysis.escape import plot_text
from fila_lab.analysis.style import BASELINE, COLOURS, MARKERS, RC, rows_of
from fila_lab.config.fusion_points import COMPONENT

PARTS = ("vit", "convnext", "fusion points", "projector", "other")
PART_COLOURS = dict(zip(PARTS, (BASELINE, COLOURS[0], COLOURS[1], COLOURS[2], "#bbbbbb"), strict=True))


def write_figures(frame: pd.DataFrame, fitted: pd.DataFrame, folder: Path) -> list[Path]:
    """Every figure that `frame` (a cost table) has figures for, as PNG and SVG; returns the paths."""
    makers: dict[str, Callable[[], Figure | None]] = {
        "components": lambda: components_plot(frame),
        "fusions": lambda: fusions_plot(frame),
        "scaling": lambda: scaling_plot(frame, fitted),
    }
    written = []
    for name, make in makers.items():
        figure = make()
        if figure is None:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for kind, options in (("png", {"dpi": 160}), ("svg", {"metadata": {"Date": None}})):
            path = folder / f"{name}.{kind}"
            figure.savefig(path, **options)
            written.append(path)
    return written


def components_plot(frame: pd.DataFrame) -> Figure | None:
    """Median latency of the encoder and projector stacked by component, a bar an arm and size, a panel a precision."""
    settings = _settings(frame[frame["latency_ms"].notna()])
    if not settings:
        return None
    longest = max(len(_cases(rows)) for _, rows in settings)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(4.6 * len(settings) + 1.8, 1.5 + 0.33 * longest), layout="constrained")
        for panel, (title, rows) in zip(np.atleast_1d(figure.subplots(1, len(settings))), settings, strict=True):
            cases = _cases(rows)
            for y, (_, case) in enumerate(cases):
                left = 0.0
                for part in PARTS:
                    length = _of_part(case, part)["latency_ms"].sum() / 1000
                    panel.barh(y, length, left=left, color=PART_COLOURS[part], height=0.7, label=part if y == 0 else None)
                    left += length
                panel.text(left, y, f" {left:.2f}", va="center", fontsize=8)
            panel.set_yticks(range(len(cases)), [plot_text(name) for name, _ in cases], fontsize=8)
            panel.set_ylim(len(cases) - 0.4, -0.6)
            panel.margins(x=0.12)
            panel.grid(axis="y", visible=False)
            panel.set_title(title)
            panel.set_xlabel("seconds an image, medians of the components")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(PARTS), fontsize=8.5)
    return figure


def fusions_plot(frame: pd.DataFrame) -> Figure | None:
    """What each fusion adds to ViT and ConvNeXt at its size: FLOPs and time in percent; activations it keeps; the encoder's peak memory.
    A panel for what was measured: without rounds there is none for time."""
    settings = _settings(frame[frame["latency_ms"].notna() | frame["peak_memory_mib"].notna()])
    fused = [(title, [(name, case) for name, case in _cases(own) if len(_of_part(case, "fusion points"))]) for title, own in settings]
    fused = [(title, cases) for title, cases in fused if cases]
    shown = [added for added in ADDED if any(np.isfinite(added[1](case)) for _, cases in fused for _, case in cases)]
    if not shown:
        return None
    names = list(dict.fromkeys(name for _, cases in fused for name, _ in cases))
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(1.8 + 2.9 * len(shown), 1.3 + 0.36 * len(names)), layout="constrained")
        panels = list(np.atleast_1d(figure.subplots(1, len(shown), sharey=True)))
        for place, (title, cases) in enumerate(fused):
            ys = [names.index(name) + 0.22 * (place - (len(fused) - 1) / 2) for name, _ in cases]
            look: Any = {"color": COLOURS[place], "ls": "", "ms": 7, "label": title}
            for panel, (_, value) in zip(panels, shown, strict=True):
                panel.plot([value(case) for _, case in cases], ys, MARKERS[place], **look)
        panels[0].set_yticks(range(len(names)), [plot_text(name) for name in names], fontsize=8)
        panels[0].set_ylim(len(names) - 0.5, -0.5)
        for panel, (label, _) in zip(panels, shown, strict=True):
            panel.set_xlabel(label)
            panel.set_xlim(left=0)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(fused), fontsize=8.5)
    return figure


def _added(case: pd.DataFrame, column: str) -> float:
    """The fusion points' share of ViT and ConvNeXt, percent; NaN where one was not measured."""
    towers = case[case["component"].isin(("vit", "convnext"))]
    return 100 * float(_of_part(case, "fusion points")[column].sum(skipna=False) / towers[column].sum(skipna=False))


ADDED: tuple[tuple[str, Callable[[pd.DataFrame], float]], ...] = (
    ("fusion's FLOPs, % of ViT + ConvNeXt", lambda case: _added(case, "flops")),
    ("fusion's time, % of ViT + ConvNeXt", lambda case: _added(case, "latency_ms")),
    ("kept by the fusion in training, MiB", lambda case: float(_of_part(case, "fusion points")["kept_bytes"].sum()) / 2**20),
    ("encoder's peak above weights, MiB", lambda case: float(case.loc[case["component"] == "encoder", "peak_memory_mib"].iloc[0])),
)


def scaling_plot(frame: pd.DataFrame, fitted: pd.DataFrame) -> Figure | None:
    """Median latency against FLOPs over sizes with the fitted line, a panel a precision: ViT, ConvNeXt and encoder."""
    shown = ("vit", "convnext", "encoder", "projector")
    lines = fitted[fitted["component"].isin(shown)] if len(fitted) else fitted
    if not len(lines):
        return None
    settings = [(title, rows) for title, rows in _settings(frame[frame["latency_ms"].notna()]) if _fits_of(lines, rows).size]
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(4.4 * len(settings) + 0.8, 3.6), layout="constrained")
        for panel, (title, rows) in zip(np.atleast_1d(figure.subplots(1, len(settings))), settings, strict=True):
            for line in rows_of(_fits_of(lines, rows)):
                place = shown.index(line.component)
                own = rows[(rows["component"] == line.component) & ((rows["arm"] == line.arm) | (line.arm == "all"))]
                ends = np.array([own["flops"].min(), own["flops"].max()])
                name = line.component if line.arm == "all" else f"{line.component} of {line.arm}"
                label = f"{plot_text(name)}: {line.flops_per_second / 1e9:.0f} GFLOP/s, R² {line.r_squared:.3f}"
                panel.plot(ends / 1e12, (line.a_ms + line.b_ms_per_flop * ends) / 1000, color=COLOURS[place], lw=1.2, zorder=1)
                panel.plot(
                    own["flops"] / 1e12, own["latency_ms"] / 1000, MARKERS[place], color=COLOURS[place], ms=6, label=label, alpha=0.8
                )
            panel.set_title(title)
            panel.set_xlabel("TFLOPs an image")
            panel.set_xlim(left=0)
            panel.set_ylim(bottom=0)
            panel.legend(fontsize=8)
        figure.axes[0].set_ylabel("seconds an image, median")
    return figure


def _settings(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(title, rows) of each device, precision and thread count."""
    grouped = frame.groupby(["device", "precision", "threads"], sort=False)
    return [(f"{precision}, {threads} threads", rows) for (_, precision, threads), rows in grouped]


def _cases(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(label, rows) of each arm at each size."""
    grouped = rows.groupby(["arm", "canvas", "detail_cells"], sort=False)
    return [(f"{arm}, {canvas}" + ("" if arm == "none" else f", k = {cells}"), own) for (arm, canvas, cells), own in grouped]


def _of_part(case: pd.DataFrame, part: str) -> pd.DataFrame:
    return case[case["component"].str.startswith(COMPONENT) if part == "fusion points" else case["component"] == part]


def _fits_of(lines: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    setting = rows[["device", "precision", "threads"]].drop_duplicates()
    return lines.merge(setting, on=["device", "precision", "threads"])
