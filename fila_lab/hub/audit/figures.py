"""What the answers say: accuracies by place, seam gap, sham gap, fragmentation error, each with an interval over images."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from scipy.stats import binomtest

from fila_lab.analysis.bootstrap import clustered_gap, triplet_table
from fila_lab.analysis.statistics import CONFIDENCE
from fila_lab.config.data import PLACES
from fila_lab.evaluation.seam import summarise

NOTHING, FRAGMENTED, REVERSED = "nothing", "fragmented", "reversed"


@dataclass(frozen=True)
class Figure:
    """A share, or a difference of two, with its 95 % interval."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Figures:
    """All figures of an audit by name, over so many triplets on so many images."""

    by_name: dict[str, Figure]
    triplets: int
    images: int

    def __getitem__(self, name: str) -> Figure:
        return self.by_name[name]


def figures_of(answers: pd.DataFrame) -> Figures:
    """Figures of one task's answers: columns item_id, task, place, correct, image_id.

    Intervals are percentiles of a bootstrap over images (`fila_lab.analysis.clustered_gap`). Where all triplets agree, a bootstrap knows no
    scatter: then the bound is that of a share of 0 among so many images (Wilson).
    """
    table = triplet_table(answers.assign(arm="model", seed=0))
    table[NOTHING] = False
    table[FRAGMENTED] = table["sham"] & ~table["cut"]
    table[REVERSED] = ~table["sham"] & table["cut"]
    pairs = {f"accuracy/{place}": (place, NOTHING) for place in PLACES}
    pairs |= {"seam_gap": ("sham", "cut"), "sham_gap": ("intact", "sham")}
    pairs |= {"fragmentation": (FRAGMENTED, NOTHING), "fragmentation_reverse": (REVERSED, NOTHING)}
    values = summarise(answers)
    (task,) = answers["task"].unique()
    found = {name: _figure(name, table, high, low) for name, (high, low) in pairs.items()}
    for name in ("seam_gap", "sham_gap", "fragmentation", "fragmentation_reverse"):
        assert abs(found[name].value - values[f"{name}/{task}"]) < 1e-12  # the cells' own definition
    return Figures(found, len(table), int(table["image_id"].nunique()))


def beats_chance(right: int, asked: int, chance: float, level: float = 0.01) -> bool:
    """Whether so many right answers are more than guessing gives (one-sided exact binomial test)."""
    return bool(binomtest(right, asked, chance, alternative="greater").pvalue < level)


def _figure(name: str, table: pd.DataFrame, high: str, low: str) -> Figure:
    found = clustered_gap(table, high, low)
    differences = table[high].astype(int) - table[low].astype(int)
    bounds = found.low, found.high
    if differences.nunique() == 1:
        reach = float(binomtest(0, found.images).proportion_ci(CONFIDENCE, method="wilson").high)
        least = 0.0 if low == NOTHING else -1.0
        bounds = max(least, found.gap - reach), min(1.0, found.gap + reach)
    return Figure(name, found.gap, *bounds)
