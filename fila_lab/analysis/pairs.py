"""Contrasts pair by pair, where seeds are spread over tower pairs: each pair's own difference, and whether pairs differ more than seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fila_lab.analysis import statistics
from fila_lab.analysis.check import Check
from fila_lab.analysis.contrasts import family_title, paired, sides
from fila_lab.analysis.permutation import between_groups, detectable_spread, least_p
from fila_lab.config import power
from fila_lab.config.study import Family

DIFFER, ALIKE = "pairs differ", "no difference shown"

KEYS = ["family", "metric", "a", "b"]
LEVELS = [*KEYS, "pair", "n", "difference", "low", "high", "sd"]
EFFECTS = [*KEYS, "n", "pairs", "difference", "pairs_low", "pairs_high", "p", "p_holm", "verdict", "reason"]
EFFECTS += ["signs", "detectable", "contrasts"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairContrasts:
    """`levels`: one row a contrast and tower pair; `effects`: one row a contrast. Units are the metric's.

    Of a level: mean paired difference over the pair's seeds, with its 95 % t interval. Of an effect: `difference`, the mean of the pairs'
    means, and in `pairs_low`, `pairs_high` its 95 % t interval with pairs as blocks: for other pairs pretrained alike, where the interval
    over seeds is for other seeds on these pairs. p: exact permutation test that pairs do not differ, Holm over the family's contrasts;
    `signs`: how many of the pairs have the mean's sign; `detectable`: the sd between pairs found with 80 % power, at this scatter of seeds.
    """

    levels: pd.DataFrame
    effects: pd.DataFrame

    @staticmethod
    def of(frame: pd.DataFrame, families: Mapping[str, Family], metric: str, checks: Iterable[Check] = ()) -> PairContrasts:
        """Of every comparison whose arms were run. frame: of `load_study_frame`; without its column `pair`, nothing."""
        failed = [check for check in checks if check.passed is False]
        levels: list[dict[str, Any]] = []
        effects: list[dict[str, Any]] = []
        for family, declared in families.items() if "pair" in frame else ():
            judged = declared.metric or metric
            if judged not in frame:
                continue
            values = frame.pivot_table(index="seed", columns="arm", values=judged, observed=True)
            pairs = frame.drop_duplicates("seed").set_index("seed")["pair"]
            own = []
            for arms in declared.comparisons:
                if not set(arms) <= set(values):
                    continue
                whole = values[list(arms)].dropna()
                a, b = sides(arms)
                head = {"family": family_title(family, judged, metric), "metric": judged, "a": a, "b": b}
                first, second = paired(whole, arms)
                on = [int(pairs[seed]) for seed in whole.index]
                spoilt = "; ".join(f"{check.name}: {check.text}" for check in failed if check.spoils(arms))
                levels += [head | level for level in _by_pair(first - second, on)]
                own.append(head | _effect(first - second, on, len(declared.comparisons), spoilt))
            for row, p in zip(own, statistics.holm([row["p"] for row in own], len(declared.comparisons)), strict=True):
                row["p_holm"] = p
                row["verdict"] = row["verdict"] or (DIFFER if p < power.ALPHA else ALIKE)
            effects += own
        return PairContrasts(pd.DataFrame(levels, columns=LEVELS), pd.DataFrame(effects, columns=EFFECTS))

    def of_effect(self, effect: Any) -> pd.DataFrame:
        """The rows of `levels` behind a row of `effects`, or behind any row that names family, metric, a and b."""
        same = [self.levels[name] == getattr(effect, name) for name in KEYS]
        return self.levels[np.logical_and.reduce(same)]

    @property
    def differing(self) -> pd.DataFrame:
        """The effects in which pairs differ more than seeds explain."""
        return self.effects[self.effects["verdict"] == DIFFER]


def _by_pair(differences: Floats, pairs: list[int]) -> list[dict[str, Any]]:
    rows = []
    for pair in sorted(set(pairs)):
        over = statistics.paired_interval(differences[[one == pair for one in pairs]])
        rows.append({"pair": pair, "n": over.n, "difference": over.mean, "low": over.low, "high": over.high, "sd": over.sd})
    return rows


def _effect(differences: Floats, pairs: list[int], contrasts: int, spoilt: str) -> dict[str, Any]:
    own = [differences[[one == pair for one in pairs]] for pair in sorted(set(pairs))]
    sizes = [len(each) for each in own]
    means = np.array([each.mean() for each in own])
    blocks = statistics.paired_interval(means)
    freedom = sum(sizes) - len(sizes)
    within = (sum(float(((each - each.mean()) ** 2).sum()) for each in own) / freedom) ** 0.5 if freedom else math.nan
    row = {
        "n": len(differences),
        "pairs": len(own),
        "difference": blocks.mean,
        "pairs_low": blocks.low,
        "pairs_high": blocks.high,
        "p": math.nan if spoilt else between_groups(differences, pairs),
        "signs": int((np.sign(means) == np.sign(blocks.mean)).sum()) if len(means) else 0,
        "detectable": within * detectable_spread(sizes, contrasts),
        "contrasts": contrasts,
    }
    word, reason = _untested(sizes, contrasts, spoilt)
    return row | {"verdict": word, "reason": reason} | ({"detectable": math.nan} if word else {})


def _untested(sizes: list[int], contrasts: int, spoilt: str) -> tuple[str, str]:
    """The word where nothing is tested, and why; empty where something is."""
    if spoilt:
        return "not comparable", spoilt
    if len(sizes) < 2:
        return "not testable", "the seeds fall on one pair"
    if least_p(sizes) * contrasts >= power.ALPHA:
        return "not testable", f"{' + '.join(map(str, sizes))} seeds cannot reach p < {power.ALPHA:g} over {contrasts}"
    return "", ""
