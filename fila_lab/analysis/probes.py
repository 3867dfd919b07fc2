"""Tables and figures of a probe: where fusion acts, whether tokens find their own cells, which fusion point carries the gain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fila_lab.analysis.position_maps import map_figure, position_map
from fila_lab.analysis.statistics import Interval, paired_interval
from fila_lab.analysis.style import BASELINE, COLOURS, MARKERS, RC
from fila_lab.config.base import FilaError
from fila_lab.config.renamed import present_columns

FRAMES = ("tokens", "alignment", "attribution")
POSITIONS = "positions"
"""A frame that probes of before there were position maps lack."""
PAIR = ["stage", "layer"]
FAR = 8
"""Distances in patches are binned up to here; the last bin holds all beyond."""


def load_probe(folder: Path) -> dict[str, pd.DataFrame]:
    """The frames `fila-lab probe` left in a folder. FilaError where one is missing.

    Example:
        >>> from pathlib import Path
        >>> load_probe(Path("experiments"))  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        FilaError: experiments: no tokens.parquet; make it with `fila-lab probe ... --out experiments`
    """
    missing = [name for name in FRAMES if not (folder / f"{name}.parquet").is_file()]
    if missing:
        raise FilaError(f"{folder}: no {missing[0]}.parquet; make it with `fila-lab probe ... --out {folder}`")
    there = [*FRAMES, *([POSITIONS] if (folder / f"{POSITIONS}.parquet").is_file() else ())]
    frames = {name: pd.read_parquet(folder / f"{name}.parquet") for name in there}
    return {name: frame.rename(columns=present_columns(frame)) for name, frame in frames.items()}


def over_items(rows: pd.DataFrame, column: str) -> Interval:
    """Mean over items of their own means, with a 95 % t interval: tokens of one page are not independent."""
    return paired_interval(rows.groupby(["item_id", "place"], observed=True)[column].mean().dropna())


def acting_table(tokens: pd.DataFrame, by: str = "seam") -> pd.DataFrame:
    """Injection ratio and gate by fusion point and by distance to the nearest seam or to the target, in patches: `distance` is a bin's
    upper end (0: inside the target, inf: beyond FAR); columns stage, layer, distance, injection, low, high, gate, tokens."""
    if by not in ("seam", "target"):
        raise FilaError(f"by={by!r} is no distance; choose seam or target")
    distance = np.ceil(tokens[f"{by}_patches"])
    binned = tokens.assign(distance=distance.where(distance <= FAR, np.inf)).dropna(subset=[f"{by}_patches"])
    rows = []
    for (stage, layer, upper), own in binned.groupby([*PAIR, "distance"]):
        ratio = over_items(own, "injection")
        row = {"stage": stage, "layer": layer, "distance": upper, "injection": ratio.mean, "low": ratio.low, "high": ratio.high}
        rows.append(row | {"gate": own["gate"].mean(), "tokens": len(own)})
    return pd.DataFrame(rows, columns=["stage", "layer", "distance", "injection", "low", "high", "gate", "tokens"])


def alignment_table(alignment: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Share of tokens that find their own cells within their tile and within the canvas, each beside its chance.

    By fusion point, `tokens` (before or after it), `features` (the cells the fusion is handed, or a random ConvNeXt's) and further columns,
    such as canvas or content.
    """
    rows = []
    keys = [*PAIR, "tokens", "features", *by]
    for key, own in alignment.groupby(keys) if len(alignment) else ():
        row = dict(zip(keys, key, strict=True))
        for among in ("tile", "canvas"):
            hit = over_items(own, f"hit_{among}")
            row |= {among: hit.mean, f"{among}_low": hit.low, f"{among}_high": hit.high, f"{among}_chance": own[f"chance_{among}"].mean()}
        rows.append(row | {"n": len(own), "items": own["item_id"].nunique()})
    return pd.DataFrame(rows)


def attribution_table(attribution: pd.DataFrame) -> pd.DataFrame:
    """What switching fusion points off costs, by task and place (and `all` places): accuracy, and the loss against `nothing` off with its
    95 % t interval over items, paired; switches in the order they were made."""
    switches = list(dict.fromkeys(attribution["off"]))
    rows = []
    for task, own in attribution.groupby("task"):
        for place in [*dict.fromkeys(own["place"]), "all"]:
            here = own if place == "all" else own[own["place"] == place]
            right = here.pivot_table(index="item_id", columns="off", values="correct", aggfunc="mean")
            for off in switches:
                loss = paired_interval(right["nothing"] - right[off])
                row = {"task": task, "place": place, "off": off, "accuracy": right[off].mean(), "loss": loss.mean}
                rows.append(row | {"low": loss.low, "high": loss.high, "items": loss.n})
    return pd.DataFrame(rows)


def probed_map(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Frame of `position_map` of a probe's test answers."""
    answers = frames[POSITIONS]
    return position_map(answers, *(int(answers[name].iloc[0]) for name in ("tile_px", "patch_px")))


def write_probe_figures(frames: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """PNG of every figure the frames have data for; returns the paths."""
    makers: dict[str, Callable[[], Figure | None]] = {
        "distance": lambda: distance_plot(frames["tokens"]),
        "page": lambda: page_plot(frames["tokens"]),
        "alignment": lambda: alignment_plot(frames["alignment"]),
        "attribution": lambda: attribution_plot(frames["attribution"]),
        "positions": lambda: map_figure({"whole model": probed_map(frames)}) if POSITIONS in frames else None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, make in makers.items():
        figure = make()
        if figure is not None:
            written.append(folder / f"{name}.png")
            figure.savefig(written[-1], dpi=160)
    return written


def distance_plot(tokens: pd.DataFrame) -> Figure:
    """Injection ratio, and the gate where there is one, against the distance to seam and target; a curve a fusion point."""
    gated = bool(tokens["gate"].notna().any())
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(9.4, 3.1 * (1 + gated)), layout="constrained")
        panels = np.atleast_2d(figure.subplots(1 + gated, 2, sharey="row"))
        for column, by in enumerate(("seam", "target")):
            table = acting_table(tokens, by)
            steps = sorted(table["distance"].unique())
            names = [_bin_name(upper, by) for upper in steps]
            for number, ((stage, layer), own) in enumerate(table.groupby(PAIR)):
                at = [steps.index(upper) for upper in own["distance"]]
                look = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "label": _name(stage, layer)}
                spread = np.abs(own[["low", "high"]].to_numpy().T - own["injection"].to_numpy())
                panels[0, column].errorbar(at, own["injection"], yerr=spread, lw=1.4, ms=5, **look)
                if gated:
                    panels[1, column].plot(at, own["gate"], lw=1.4, ms=5, **look)
            for panel in panels[:, column]:
                panel.set_xticks(range(len(steps)), names)
            panels[-1, column].set_xlabel(f"patches to the {'nearest seam' if by == 'seam' else 'target'}")
        panels[0, 0].set_ylabel("norm of change / norm of token")
        if gated:
            panels[1, 0].set_ylabel("gate, mean over channels")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right upper", fontsize=8.5)
    return figure


def page_plot(tokens: pd.DataFrame) -> Figure:
    """Mean injection ratio over the page, a panel a canvas and fusion point; seams in red."""
    canvases, pairs = sorted(tokens["canvas"].unique()), sorted(set(zip(tokens["stage"], tokens["layer"], strict=True)))
    with matplotlib.rc_context(RC | {"axes.grid": False}):
        figure = Figure(figsize=(1.7 * len(pairs) + 1.6, 1.7 * len(canvases) + 0.4), layout="constrained")
        panels = figure.subplots(len(canvases), len(pairs), squeeze=False)
        for column, pair in enumerate(pairs):
            own = tokens[(tokens["stage"] == pair[0]) & (tokens["layer"] == pair[1])]
            top = own.groupby(["canvas", "row", "col"])["injection"].mean().max()
            for row, canvas in enumerate(canvases):
                here, panel = own[own["canvas"] == canvas], panels[row, column]
                image = panel.imshow(here.pivot_table(index="row", columns="col", values="injection"), cmap="viridis", vmin=0, vmax=top)
                for x, y in _seams(here):
                    panel.plot(x, y, color="#d01e1e", lw=1.4)
                panel.set_xticks([])
                panel.set_yticks([])
                panel.set_title(_name(*pair) if row == 0 else "")
                if column == 0:
                    panel.set_ylabel(canvas)
            figure.colorbar(image, ax=list(panels[:, column]), location="bottom", shrink=0.8)
        figure.suptitle("mean over pages of norm of change / norm of token", fontsize=10)
    return figure


def alignment_plot(alignment: pd.DataFrame) -> Figure | None:
    """Share of tokens that find their own cells within their tile, before and after each fusion point; None where no map is read."""
    table = alignment_table(alignment)
    if table.empty:
        return None
    pairs = sorted(set(zip(table["stage"], table["layer"], strict=True)))
    kinds = [(moment, features) for moment in ("before", "after") for features in ("trained", "random")]
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(1.6 * len(pairs) + 3.4, 3.4), layout="constrained")
        panel = figure.subplots()
        for number, (moment, features) in enumerate(kinds):
            own = table[(table["tokens"] == moment) & (table["features"] == features)].set_index(PAIR).loc[pairs]
            at = np.arange(len(pairs)) + 0.2 * (number - 1.5)
            half = (own["tile_high"] - own["tile"]).to_numpy() * 100
            label = f"{moment}, {'cells it is handed' if features == 'trained' else 'random ConvNeXt'}"
            panel.bar(
                at, own["tile"] * 100, 0.18, yerr=half, color=COLOURS[number // 2], alpha=1 if features == "trained" else 0.4, label=label
            )
        panel.axhline(float(table["tile_chance"].mean()) * 100, color=BASELINE, lw=1, ls=(0, (4, 3)), label="chance")
        panel.set_xticks(range(len(pairs)), [_name(*pair) for pair in pairs])
        panel.set_ylabel("own cells found in the tile, percent")
        figure.legend(*panel.get_legend_handles_labels(), loc="outside right upper", fontsize=8.5)
    return figure


def attribution_plot(attribution: pd.DataFrame) -> Figure:
    """Accuracy lost by switching a fusion point off, a panel a task, bars by place."""
    table = attribution_table(attribution)
    table = table[table["off"] != "nothing"]
    tasks, offs = list(dict.fromkeys(table["task"])), list(dict.fromkeys(table["off"]))
    places = [place for place in dict.fromkeys(table["place"]) if place != "all"]
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(4.4 * len(tasks) + 1.4, 3.4), layout="constrained")
        for panel, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
            for number, place in enumerate(places):
                own = table[(table["task"] == task) & (table["place"] == place)].set_index("off").loc[offs]
                at = np.arange(len(offs)) + 0.25 * (number - (len(places) - 1) / 2)
                half = (own["high"] - own["loss"]).to_numpy() * 100
                panel.bar(at, own["loss"] * 100, 0.23, yerr=half, color=COLOURS[number], label=place)
            panel.axhline(0, color=BASELINE, lw=0.9)
            panel.set_xticks(range(len(offs)), [off.replace("->", "→") for off in offs])
            panel.set_title(task)
            panel.set_xlabel("switched off")
        figure.axes[0].set_ylabel("accuracy lost, points")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8.5)
    return figure


def _name(stage: object, layer: object) -> str:
    return f"{stage}→{layer}"


def _bin_name(upper: float, by: str) -> str:
    if upper == 0:
        return "inside"
    return f"> {FAR}" if upper == np.inf else f"{upper - (0.5 if by == 'seam' else 1):g}" + ("" if by == "seam" else f"–{upper:g}")


def _seams(tokens: pd.DataFrame) -> list[tuple[list[float], list[float]]]:
    """Lines between tokens of different tiles, as (x, y) in token units of a heat map."""
    tile = tokens.pivot_table(index="row", columns="col", values="tile").to_numpy()
    height, width = tile.shape
    across = [([x + 0.5] * 2, [-0.5, height - 0.5]) for x in range(width - 1) if tile[0, x] != tile[0, x + 1]]
    return across + [([-0.5, width - 0.5], [y + 0.5] * 2) for y in range(height - 1) if tile[y, 0] != tile[y + 1, 0]]
