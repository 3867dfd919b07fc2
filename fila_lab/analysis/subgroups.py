"""Is a contrast the same for all kinds of items? Its difference by place, task, length, ..., whether it depends on them, and reversals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fila_lab.analysis import statistics
from fila_lab.analysis.check import Check, listed
from fila_lab.analysis.contrasts import CEILING, FLOOR, sides, signs
from fila_lab.analysis.new_items import ItemError, NewItems
from fila_lab.analysis.style import rows_of, scale_of, with_bounds
from fila_lab.analysis.verdicts import relation
from fila_lab.config import power
from fila_lab.config.data import FURTHER_PLACES, PLACES
from fila_lab.config.metrics import ACCURACY, AVERAGES, averaged, parse_metric
from fila_lab.config.study import Family

MOST_LEVELS = 12
BANDS = 3
"""A number with more values than MOST_LEVELS is split into so many bands of equally many items."""
LEAST_SEEDS = 3
DEPENDS, ALIKE = "depends on it", "no dependence shown"
SAYS_NOTHING = {"length": ("", "0")}
"""Column -> what it says of an item to which it does not apply, such as an answer that is no code; "" in every other column."""
Floats = NDArray[np.float64]

KEYS = ["family", "metric", "by", "a", "b"]
LEVELS = [*KEYS, "level", "items", "n", "difference", "low", "high", "sd", "items_low", "items_high", "flag"]
EFFECTS = [*KEYS, "n", "levels", "p", "p_holm", "verdict", "reason", "reversal", "mark", "p_reversal_holm", "up", "down", "contrasts"]


@dataclass(frozen=True)
class Subgroups:
    """`levels`: one row a contrast, column and level; `effects`: one row a contrast and column; notes: what could not be split.

    Units are the metric's. Of a level: difference with its 95 % t interval over seeds, and that for new items. Of an effect: exact
    sign-flip p of the differences between levels, each seed's flipped together, Holm over the family's contrasts for that column.
    `reversal`: arms change places, by t tests: in the level `up` A is ahead of B and in `down` behind it. p_reversal is the greater of the
    two sides' smallest p times the number of levels, Holm over the contrasts: so of families in which no contrast is ahead in one level and
    behind in another at most 5 % get the word. `mark`: it holds for this test pool only.

    Example:
        >>> from fila_lab.config.study import Family
        >>> found = Findings.of("experiments/results/remove_fusion")
        >>> asked = {"fusion": Family(contrasts=(("concat", "none"),), by=("place",))}
        >>> sorted(Subgroups.of(found.predictions, asked, "exact/reading").levels["level"])
        ['cut', 'intact', 'sham']
    """

    levels: pd.DataFrame
    effects: pd.DataFrame
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(predictions: pd.DataFrame | None, families: Mapping[str, Family], metric: str, checks: Iterable[Check] = ()) -> Subgroups:
        """Of the families that declare `by`, as far as their arms were run. predictions: of `load_predictions`."""
        failed = [check for check in checks if check.passed is False]
        levels: list[dict[str, Any]] = []
        effects: list[dict[str, Any]] = []
        notes: list[str] = []
        split: dict[tuple[str, str], dict[str, _Part | None]] = {}  # families often ask for the same
        for family, declared in families.items():
            judged = declared.metric or metric
            for column in declared.by:
                if predictions is None:
                    notes.append(f"{family}: {judged} was not split by {column}: there are no predictions")
                    continue
                if (column, judged) not in split:
                    split[column, judged] = _parts(predictions, column, judged)
                parts = split[column, judged]
                there = {level: part for level, part in parts.items() if part is not None}
                if odd := [level for level in parts if level not in there]:
                    cause = f"cells were tested on other items of it: {column} {listed(odd)}"
                    notes.append(f"{family}: {judged} by {column} leaves out a level, for {cause}")
                if len(there) < 2:
                    cause = "fewer than two levels are left" if odd else "its items do not differ in it, or in too many ways"
                    if column not in predictions:
                        cause = "nothing of that name is known of its items"
                    notes.append(f"{family}: {judged} was not split by {column}: {cause}")
                    continue
                own = [_Split.of(there, arms, judged) for arms in declared.comparisons]
                run = set(predictions["arm"])
                unlike = [arms for arms, split in zip(declared.comparisons, own, strict=True) if split is None and set(arms) <= run]
                if unlike:
                    shown = listed([" − ".join(sides(arms)) for arms in unlike])
                    notes.append(f"{family}: {shown} not split by {column}: the items of its arms differ in it, so nothing is paired")
                head = {"family": family, "metric": judged, "by": column}
                effects += [head | row for row in _effects([split for split in own if split], len(declared.comparisons), failed)]
                levels += [head | row for split in own if split for row in split.rows()]
        return Subgroups(pd.DataFrame(levels, columns=LEVELS), pd.DataFrame(effects, columns=EFFECTS), tuple(notes))

    def reversals(self) -> list[tuple[Any, str]]:
        """(row of `effects`, text) of every reversal, e.g. `cross_attention − addition by place: cut +5.0 [...], intact −1.8 [...]`."""
        found = []
        for r in rows_of(self.effects[self.effects["reversal"].astype(bool)]):
            levels = {level.level: level_text(level) for level in rows_of(self.of_effect(r))}
            mark = f"; {r.mark}" if r.mark else ""
            test = f"Holm p {relation(r.p_reversal_holm)}{mark}"
            found.append((r, f"{r.a} − {r.b} by {r.by}: {levels[r.up]}, {levels[r.down]} ({test})"))
        return found

    def of_effect(self, effect: Any) -> pd.DataFrame:
        """The rows of `levels` behind a row of `effects`."""
        same = [self.levels[name] == getattr(effect, name) for name in KEYS]
        return self.levels[np.logical_and.reduce(same)]


@dataclass(frozen=True)
class _Part:
    """The items of one level."""

    level: str
    items: int
    found: NewItems


@dataclass(frozen=True)
class _Split:
    """A comparison's paired differences [levels, n] by level, and each level's error for new items."""

    arms: tuple[str, ...]
    parts: tuple[_Part, ...]
    differences: Floats
    errors: tuple[ItemError | None, ...]
    ends: bool

    @staticmethod
    def of(parts: Mapping[str, _Part], arms: Sequence[str], metric: str) -> _Split | None:
        """None where an arm was not run."""
        known = list(parts.values())
        if not all(set(arms) <= set(part.found.arms) for part in known):
            return None
        weights = signs(arms)
        seeds = sorted(set[int].intersection(*(set(part.found.seeds) for part in known)))  # those with items of every level
        table = np.zeros((len(known), len(seeds)))
        for own, part in zip(table, known, strict=True):
            columns = [part.found.seeds.index(seed) for seed in seeds]
            own += sum(sign * part.found.observed[part.found.arms.index(arm), columns] for arm, sign in weights.items())
        whole = np.asarray(np.isfinite(table).all(axis=0))
        seeds = [seed for seed, there in zip(seeds, whole, strict=True) if there]
        errors = tuple(part.found.error_of(weights, seeds) for part in known)
        return _Split(tuple(arms), tuple(known), table[:, whole], errors, parse_metric(metric).kind == ACCURACY)

    def rows(self) -> list[dict[str, Any]]:
        a, b = sides(self.arms)
        rows = []
        for part, own, error in zip(self.parts, self.differences, self.errors, strict=True):
            over = statistics.paired_interval(own)
            half = math.nan if error is None else error.half()
            row = {"a": a, "b": b, "level": part.level, "items": part.items, "n": over.n, "difference": over.mean}
            row |= {"low": over.low, "high": over.high, "sd": over.sd, "items_low": over.mean - half, "items_high": over.mean + half}
            rows.append(row | {"flag": self._flag(part)})
        return rows

    def _flag(self, part: _Part) -> str:
        """`floor` or `ceiling` where an arm is near it."""
        if not self.ends:
            return ""
        own = [part.found.observed[part.found.arms.index(arm)] for arm in self.arms]
        means = [float(values[np.isfinite(values)].mean()) for values in own if np.isfinite(values).any()]
        if not means:
            return ""
        return "floor" if min(means) < FLOOR else "ceiling" if max(means) > CEILING else ""

    def interaction(self) -> float:
        """Sign-flip p that the difference is the same in all levels."""
        return statistics.joint_sign_flip((statistics.helmert(len(self.parts)) @ self.differences).T)

    def reversal(self) -> dict[str, Any]:
        """p that arms change places between levels, over seeds and for new items, and the levels where A is most surely ahead and behind.

        A level in which seeds are too few or do not scatter shows nothing.
        """
        p, p_items = np.ones((2, len(self.parts))), np.ones((2, len(self.parts)))
        for at, (own, error) in enumerate(zip(self.differences, self.errors, strict=True)):
            over = statistics.paired_interval(own)
            if over.n < LEAST_SEEDS or not over.sd > 1e-9:
                continue
            for side, sign in enumerate((1.0, -1.0)):
                p[side, at] = statistics.t_upper(sign * over.mean / (over.sd / over.n**0.5), over.n - 1)
                p_items[side, at] = error.tail(sign * over.mean) if error is not None else math.nan
        least, least_items = (np.minimum(1.0, own.min(axis=1) * len(self.parts)) for own in (p, p_items))
        up, down = (self.parts[int(at)].level for at in p.argmin(axis=1))
        return {"p_reversal": float(least.max()), "p_reversal_items": float(least_items.max()), "up": up, "down": down}


def level_text(level: Any) -> str:
    """`cut +5.0 [+4.2, +5.7]` of a row of `Subgroups.levels`."""
    scale = scale_of(level.metric)
    ends = with_bounds(level.difference * scale, level.low * scale, level.high * scale)
    return f"{level.level} {ends}" + (f" ({level.flag})" if level.flag else "")


def _effects(splits: Sequence[_Split], size: int, failed: Sequence[Check]) -> list[dict[str, Any]]:
    rows = []
    for split in splits:
        a, b = sides(split.arms)
        n = split.differences.shape[1]
        spoilt = "; ".join(f"{check.name}: {check.text}" for check in failed if check.spoils(split.arms))
        row = {"a": a, "b": b, "n": n, "levels": len(split.parts), "p": split.interaction(), "spoilt": spoilt, "contrasts": size}
        rows.append(row | split.reversal())
    for name in ("p", "p_reversal", "p_reversal_items"):
        adjusted = statistics.holm([math.nan if row["spoilt"] else row[name] for row in rows], size)
        for row, p in zip(rows, adjusted, strict=True):
            row[f"{name}_holm"] = p
    for row in rows:
        row["reversal"] = row["p_reversal_holm"] < power.ALPHA
        confirmed = row["p_reversal_items_holm"] < power.ALPHA
        row["mark"] = "this pool only" if row["reversal"] and not confirmed else ""
        row["verdict"], row["reason"] = _word(row, size)
    return rows


def _word(row: Mapping[str, Any], size: int) -> tuple[str, str]:
    if row["spoilt"]:
        return "not comparable", row["spoilt"]
    if not power.can_test(size, row["n"]):
        return "not testable", f"{row['n']} seeds cannot reach p < {power.ALPHA:g} over {size}; {power.seeds_needed(size)} are needed"
    return (DEPENDS if row["p_holm"] < power.ALPHA else ALIKE), ""


def _parts(predictions: pd.DataFrame, column: str, metric: str) -> dict[str, _Part | None]:
    """Level -> its items, of those the metric is about; levels in their natural order. Empty where the column is no use, None where the
    items of a level are not the same in every cell that has any."""
    _, task, place = parse_metric(metric)
    needed = dict.fromkeys(("arm", "seed", "item_id", "image_id", "task", "place", "correct", "score", column))
    predictions = predictions[[name for name in needed if name in predictions]]
    tasks = averaged(task, predictions["task"].unique()) if task in AVERAGES else [task]
    own = predictions[predictions["task"].isin(tasks)]
    own = own[own["place"] == place] if place else own
    if column not in own or own.empty:
        return {}
    labels = _labels(own[column], own["item_id"], column)
    parts: dict[str, _Part | None] = {}
    for level in labels.cat.categories:
        part = own[labels == level]
        if len(part):
            found = NewItems.of(part, metric)
            parts[str(level)] = None if found is None else _Part(str(level), part["item_id"].nunique(), found)
    return parts


def _labels(values: pd.Series, items: pd.Series, column: str) -> pd.Series:
    """Categorical of levels, missing where the column says nothing of an item."""
    if pd.api.types.is_float_dtype(values):
        values = values.where(np.isfinite(values))
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > MOST_LEVELS:
        return _bands(values, items)
    # Cells may have stored a column in different types: 3, 3.0 and "3" are one level.
    text = values.astype(str).str.removesuffix(".0").where(values.notna())
    text = text.where(~text.isin(SAYS_NOTHING.get(column, ("",))))
    levels = sorted(text.dropna().unique(), key=_natural)
    order = levels if column != "place" else [place for place in (*PLACES, *FURTHER_PLACES) if place in levels]
    return text.astype(pd.CategoricalDtype(order if len(order) <= MOST_LEVELS else []))


def _bands(values: pd.Series, items: pd.Series) -> pd.Series:
    # Whatever an item's rows hold is in a band: its value may be another at each place.
    each = pd.DataFrame({"item": items, "value": values}).drop_duplicates()["value"]
    ends = np.unique(each.quantile(np.linspace(0, 1, BANDS + 1)))
    for digits in range(3, 18):  # as few as tell the bands apart
        names = [f"{low:.{digits}g} to {high:.{digits}g}" for low, high in itertools.pairwise(ends)]
        if len(set(names)) == len(names):
            break
    return pd.cut(values, list(ends), labels=names, include_lowest=True)


def _natural(text: str) -> tuple[bool, float, str]:
    """Numbers by size, then words."""
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text
