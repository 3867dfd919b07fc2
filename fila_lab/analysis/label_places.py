"""Where names of points stand in a figure, so that none lies on another name, on a point, or on its bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

DISTANCES = (7, 16, 28, 44)
"""Points (1/72 inch) between a point and its name, tried in this order."""
ANGLES = (45, 135, 315, 225, 0, 180, 90, 270)
CLEAR = 4.0
"""Half the side, in points, of the square that a point keeps to itself."""


def place_labels(
    panel: Axes, names: Sequence[str], xs: Sequence[float], ys: Sequence[float], taken: Sequence[Bbox] = (), **text: Any
) -> None:
    """Write each name (as `plot_text` gives it) beside its point, at the first place that is free, else where it covers least; a thin line
    leads to a name that is far. The figure's limits and scales must be final.

    Args:
        panel: the axes.
        names: one a point; points without a name ("") keep their place free.
        xs: in data coordinates.
        ys: in data coordinates.
        taken: further boxes that are not to be covered, in pixels.
        text: how the names look, as of `Axes.annotate`.
    """
    figure: Any = panel.figure
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    scale, inside = figure.dpi / 72, panel.get_window_extent()
    pixels = panel.transData.transform(np.column_stack([xs, ys])) if len(names) else np.empty((0, 2))
    boxes = [Bbox.from_extents(x - CLEAR * scale, y - CLEAR * scale, x + CLEAR * scale, y + CLEAR * scale) for x, y in pixels] + list(taken)
    for name, (x, y), at in zip(names, pixels, zip(xs, ys, strict=True), strict=True):
        if not name:
            continue
        label = panel.annotate(name, at, xytext=(0, 0), textcoords="offset points", ha="center", va="center", **text)
        label.set_in_layout(False)
        size = label.get_window_extent(canvas.get_renderer())
        best: tuple[float, float, tuple[float, float], Bbox] | None = None
        for distance in DISTANCES:
            for angle in ANGLES:
                cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
                dx = cosine * distance * scale + np.sign(round(cosine, 6)) * size.width / 2
                dy = sine * distance * scale + np.sign(round(sine, 6)) * size.height / 2
                box = Bbox.from_bounds(x + dx - size.width / 2, y + dy - size.height / 2, size.width, size.height)
                covered = sum(_area(box, other) for other in boxes) + 4 * (box.width * box.height - _area(box, inside))
                if best is None or covered < best[0] - 1e-9:
                    best = (covered, distance, (dx / scale, dy / scale), box)
            if best is not None and best[0] <= 0:
                break
        assert best is not None
        label.set_position(best[2])
        boxes.append(best[3])
        if best[1] > DISTANCES[0]:
            line = panel.annotate(
                "", at, xytext=best[2], textcoords="offset points", arrowprops={"arrowstyle": "-", "lw": 0.5, "color": "#999999"}
            )
            line.set_in_layout(False)


def _area(a: Bbox, b: Bbox) -> float:
    """What two boxes have in common, in square pixels."""
    return max(0.0, min(a.x1, b.x1) - max(a.x0, b.x0)) * max(0.0, min(a.y1, b.y1) - max(a.y0, b.y0))
