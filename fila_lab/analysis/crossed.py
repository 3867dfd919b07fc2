"""Crossed factors: main effects and two-way interactions, paired by seed, as whole effects and as contrasts of levels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fila_lab.analysis import statistics
from fila_lab.config import power
from fila_lab.config.grid import Factors

Weights = dict[str, float]
"""Arm -> weight; a seed's score is the weighted sum of its arms' values."""


@dataclass(frozen=True)
class Crossing:
    """Arms by their levels. `levels`: factor -> its levels in the study's order; `arms`: levels, in the order of the factors -> arm."""

    levels: dict[str, list[str]]
    arms: dict[tuple[str, ...], str]

    @staticmethod
    def of(factors: Factors, present: Mapping[str, object] | list[str]) -> Crossing:
        """The crossing of those arms that are present; a factor of which one level is left drops out."""
        own = {arm: levels for arm, levels in factors.items() if arm in present}
        names = list(next(iter(own.values()), {}))
        levels = {name: list(dict.fromkeys(chosen[name] for chosen in own.values())) for name in names}
        return Crossing(levels, {tuple(chosen[name] for name in names): arm for arm, chosen in own.items()})

    @property
    def effects(self) -> list[tuple[str, ...]]:
        """Factors with at least two levels, then their pairs."""
        names = [name for name, levels in self.levels.items() if len(levels) > 1]
        return [(name,) for name in names] + list(itertools.combinations(names, 2))

    @property
    def complete(self) -> bool:
        return len(self.arms) == np.prod([len(levels) for levels in self.levels.values()])

    def contrasts(self, effect: tuple[str, ...]) -> Iterator[tuple[str, Weights]]:
        """Every pair of levels of a factor, or pair of pairs of two factors: its name and weights.

        The mean is over the combinations of the other factors at which all levels in question were run, so that a combination that is
        left out never stands on one side only.
        """
        pairs = [list(itertools.combinations(self.levels[name], 2)) for name in effect]
        others = [name for name in self.levels if name not in effect]
        for chosen in itertools.product(*pairs):
            blocks = []
            for rest in itertools.product(*(self.levels[name] for name in others)):
                block = [self._arm(effect, corner, others, rest) for corner in itertools.product(*chosen)]
                if None not in block:
                    blocks.append(block)
            # Corners run low-low, low-high, high-low, high-high: the sign is minus for every low level.
            signs = [1.0]
            for _ in chosen:
                signs = [side * sign for side in (-1.0, 1.0) for sign in signs]
            weights: Weights = {}
            for block in blocks:
                weights |= {str(arm): sign / len(blocks) for arm, sign in zip(block, signs, strict=True)}
            if weights:
                yield " x ".join(f"({b} − {a})" if len(chosen) > 1 else f"{b} − {a}" for a, b in chosen), weights

    def _arm(self, effect: tuple[str, ...], corner: tuple[str, ...], others: list[str], rest: tuple[str, ...]) -> str | None:
        at = dict(zip((*effect, *others), (*corner, *rest), strict=True))
        return self.arms.get(tuple(at[name] for name in self.levels))


CONTRAST_COLUMNS = ["effect", "contrast", "n", "difference", "low", "high", "p", "p_holm", "contrasts"]
EFFECT_COLUMNS = ["effect", "n", "f", "d1", "d2", "p", "p_holm", "effects"]


def crossed_contrasts(frame: pd.DataFrame, factors: Factors, metric: str) -> pd.DataFrame:
    """One row a contrast, columns CONTRAST_COLUMNS in the metric's units: 95 % t interval over seeds, sign-flip p, Holm within its effect.

    frame: rows of `load_study_frame`. n: seeds that finished every arm with a weight. Empty without crossed arms.
    """
    values = _by_seed(frame, metric)
    crossing = Crossing.of(factors, list(values.columns))
    rows = []
    for effect in crossing.effects:
        own: list[dict[str, Any]] = []
        for name, weights in crossing.contrasts(effect):
            scores = values[list(weights)].dropna().to_numpy() @ np.array(list(weights.values()))
            interval = statistics.paired_interval(scores)
            row = {"effect": " x ".join(effect), "contrast": name, "n": interval.n, "difference": interval.mean}
            own.append(row | {"low": interval.low, "high": interval.high, "p": statistics.sign_flip(scores)})
        adjusted = statistics.holm([row["p"] for row in own])
        rows += [row | {"p_holm": p, "contrasts": len(own)} for row, p in zip(own, adjusted, strict=True)]
    return pd.DataFrame(rows, columns=CONTRAST_COLUMNS)


def crossed_effects(frame: pd.DataFrame, factors: Factors, metric: str) -> pd.DataFrame:
    """One row an effect, columns EFFECT_COLUMNS: repeated-measures F (d1, d2), the seed as subject; joint sign-flip p, Holm over effects.

    Only for a complete crossing and seeds that finished all of it; empty otherwise.
    """
    values = _by_seed(frame, metric)
    crossing = Crossing.of(factors, list(values.columns))
    if not crossing.effects or not crossing.complete:
        return pd.DataFrame(columns=EFFECT_COLUMNS)
    shape = [len(levels) for levels in crossing.levels.values()]
    ordered = [crossing.arms[at] for at in itertools.product(*crossing.levels.values())]
    table = values[ordered].dropna().to_numpy().reshape(-1, *shape)  # [seeds, levels of each factor]
    rows = []
    for effect in crossing.effects:
        scores = _scores(table, [list(crossing.levels).index(name) for name in effect])
        n, d = scores.shape
        mean = scores.mean(axis=0)
        scatter = float(((scores - mean) ** 2).sum())
        f = n * (n - 1) * float(mean @ mean) / scatter if n > 1 and scatter > 0 else float("nan")
        rows.append({"effect": " x ".join(effect), "n": n, "f": f, "d1": d, "d2": d * (n - 1), "p": statistics.joint_sign_flip(scores)})
    adjusted = statistics.holm([float(row["p"]) for row in rows])
    return pd.DataFrame([row | {"p_holm": p, "effects": len(rows)} for row, p in zip(rows, adjusted, strict=True)], columns=EFFECT_COLUMNS)


def too_few_seeds(table: pd.DataFrame, size: str) -> str:
    """What the seeds of a table of effects or contrasts cannot show; empty where they suffice. size: the column of family sizes."""
    short = table[[not power.can_test(int(m), int(n)) for m, n in zip(table[size], table["n"], strict=True)]]
    if short.empty:
        return ""
    most = int(short[size].max())
    return (
        f"{int(short['n'].min())} seeds cannot reach p < {power.ALPHA:g} over {most}: {power.seeds_needed(most)} are needed; estimates only"
    )


def _by_seed(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows seeds, columns arms."""
    return frame.dropna(subset=[metric]).pivot_table(index="seed", columns="arm", values=metric)


def _scores(table: NDArray[np.float64], axes: list[int]) -> NDArray[np.float64]:
    """[n, L1, L2, ...] -> [n, d]: each seed's marginal means over the named axes on orthonormal contrasts, d = product of (L - 1)."""
    rest = tuple(axis + 1 for axis in range(table.ndim - 1) if axis not in axes)
    means = table.mean(axis=rest)
    for place in range(1, means.ndim):
        means = np.moveaxis(np.tensordot(means, statistics.helmert(means.shape[place]), axes=(place, 1)), -1, place)
    return means.reshape(len(table), -1)
