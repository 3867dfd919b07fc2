"""How numbers and arms look everywhere: one colour and marker per arm, percent and p formats, matplotlib settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fila_lab.analysis.folder import StudyFolder
from fila_lab.config.metrics import AVERAGES, is_share

if TYPE_CHECKING:
    import pandas as pd

BASELINE = "#4d4d4d"
# Okabe and Ito's colours (without yellow and black), then Tol's muted ones: told apart under the common colour-vision deficiencies.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#882255", "#999933", "#332288", "#AA4499", "#44AA99", "#661100"),
)
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "p", "h", "d")

RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "fila_lab",
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class ArmStyle:
    """Colour, marker and label of an arm; controls and a second baseline are drawn hollow."""

    label: str
    colour: str
    marker: str
    filled: bool

    @property
    def face(self) -> str:
        return self.colour if self.filled else "white"


INTERACTION = ArmStyle("interaction", BASELINE, "D", filled=True)
"""A difference of differences belongs to no arm."""


def arm_styles(folder: StudyFolder) -> dict[str, ArmStyle]:
    """Styles by arm in the study file's order: an arm keeps its colour in every plot and under every budget."""
    styles, place = {}, 0
    for arm, declared in folder.study.arms.items():
        if declared.role == "baseline":
            colour, marker = BASELINE, "o"
        else:
            turn = place // len(COLOURS)  # where colours begin anew, markers are one further
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[(place + 1 + turn) % len(MARKERS)]
            place += 1
        styles[arm] = ArmStyle(folder.label(arm), colour, marker, declared.role not in ("control", "capacity"))
    return styles


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """Rows as named tuples, untyped: columns are known by name only."""
    return frame.itertuples(index=False)


def scale_of(metric: str) -> float:
    """Factor from a metric's units to those shown: shares are shown in percent."""
    return 100.0 if is_share(metric) else 1.0


def number(value: float, digits: int = 1, sign: bool = False) -> str:
    """A number with a real minus sign; `-` where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def with_half(mean: float, half: float) -> str:
    return number(mean) if not math.isfinite(half) else f"{number(mean)} ± {number(half)}"


def with_bounds(mean: float, low: float, high: float, digits: int = 1) -> str:
    """`+3.1 [+1.0, +5.2]`."""
    shown = number(mean, digits, sign=True)
    return shown if not math.isfinite(low) else f"{shown} {bounds(low, high, digits)}"


def bounds(low: float, high: float, digits: int = 1) -> str:
    """`[+1.0, +5.2]`; a dash where there is no interval."""
    return f"[{number(low, digits, True)}, {number(high, digits, True)}]" if math.isfinite(low) else "–"


def quantity(value: float) -> str:
    """A count with its SI suffix and three significant digits: 1.04 M."""
    if value is None or not math.isfinite(value):
        return "–"
    size, prefix = si_prefix(value)
    return f"{value / size:.3g} {prefix}".rstrip()


def si_prefix(largest: float) -> tuple[float, str]:
    """What counts up to this one are divided by, and the SI prefix that says so: (1e6, "M")."""
    sizes = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
    return next(((size, prefix) for size, prefix in sizes if abs(largest) >= size), (1.0, ""))


def tasks_of(columns: Sequence[str], primary: str) -> list[str]:
    """Tasks that have accuracies, the primary metric's first."""
    found = [name.split("/")[1] for name in columns if name.startswith("exact/") and name.count("/") == 1]
    found = [task for task in found if task not in AVERAGES]
    first = primary.split("/")[1] if primary.count("/") else ""
    return sorted(dict.fromkeys(found), key=lambda task: (task != first, task != "reading", task))


def unique_text(values: Mapping[str, int]) -> str:
    """`abc` when all agree, else every value with its count."""
    return next(iter(values), "–") if len(values) < 2 else ", ".join(f"{value} ({count} cells)" for value, count in values.items())
