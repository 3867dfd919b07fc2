"""Is the instrument calibrated? The lines that must hold before any comparison means something, each with its figure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fila_lab.analysis.bootstrap import GapInterval, clustered_gap, triplet_table
from fila_lab.analysis.folder import StudyFolder
from fila_lab.analysis.frame import load_manifests, load_predictions, load_study_frame
from fila_lab.analysis.statistics import Interval, paired_interval
from fila_lab.config.files import write_atomically
from fila_lab.config.published import renew_mark

INTACT = (0.60, 0.80)
"""Range of exact answers of `none` on intact reading items of the validation split: hard, not hopeless."""
MEASURABLE = (0.20, 0.90)
"""Range of `none`'s exact answers, all places together, in which a task can show a difference either way."""
CEILING = 0.95
BEYOND_CHANCE = 0.02
"""By so much the best guess from the question alone may pass the best constant answer."""
READING = "reading"
COARSE = "coarse"
"""The control without fine detail: easy, and hardly touched by a seam."""


@dataclass(frozen=True)
class Line:
    """One requirement: what must hold, what was measured, whether it holds."""

    what: str
    measured: str
    holds: bool


@dataclass(frozen=True)
class _Measured:
    """The cells of a calibration: frames of the three arms by seed, and `none`'s predictions."""

    folder: StudyFolder
    none: pd.DataFrame
    foreign: pd.DataFrame
    oracle: pd.DataFrame
    predictions: pd.DataFrame
    triplets: pd.DataFrame

    @property
    def tasks(self) -> list[str]:
        """`reading` first, `coarse` last."""
        return sorted(self.predictions["task"].unique(), key=lambda name: (name != READING, name == COARSE, name))

    def gaps(self, task: str) -> tuple[GapInterval, GapInterval]:
        """(seam gap, sham gap) of `none`."""
        rows = self.triplets[self.triplets["task"] == task]
        return clustered_gap(rows), clustered_gap(rows, high="intact", low="sham")

    def best_constant(self, task: str) -> float:
        """Share of the task's test items that one and the same answer gets right, at best."""
        answers = self.predictions.loc[self.predictions["task"] == task].drop_duplicates("item_id")["answer"]
        return float(answers.value_counts(normalize=True).iloc[0])

    def foreign_gain(self, task: str) -> Interval:
        """`foreign` - `none`, paired by seed."""
        return paired_interval((self.foreign[f"exact/{task}"] - self.none[f"exact/{task}"]).dropna())


def _measured(out: Path | str) -> _Measured:
    folder = StudyFolder.open(out)
    frame = load_study_frame(folder)
    predictions = load_predictions(folder, "none")
    none, foreign, oracle = (frame[frame["arm"] == arm].set_index("seed") for arm in ("none", "foreign", "oracle_map"))
    return _Measured(folder, none, foreign, oracle, predictions, triplet_table(predictions))


def _lines(measured: _Measured) -> list[Line]:
    lines = [line for task in measured.tasks for line in _of_task(measured, task)]
    for task in measured.tasks:
        if task == COARSE:
            continue
        gain = measured.foreign_gain(task)
        what = f"`foreign` answers no more of {task} than `none` (the interval of the paired difference includes zero or lies below it)"
        lines.append(Line(what, _interval(gain), gain.low <= 0))
    return lines


def _difficulty(measured: _Measured, task: str) -> Line:
    if task == READING:
        share, (low, high) = _validation(measured.folder, "none", "exact/reading/intact"), INTACT
        what = f"difficulty: `none` reads {low:.0%} to {high:.0%} of intact validation items exactly"
    else:
        share, (low, high) = measured.none[f"exact/{task}"], MEASURABLE
        what = f"difficulty: `none` answers {low:.0%} to {high:.0%} of {task} exactly, all places together"
    return Line(what, _share(share), low <= share.mean() <= high)


def _of_task(measured: _Measured, task: str) -> list[Line]:
    seam, sham = measured.gaps(task)
    if task == COARSE:
        smaller = seam.gap < measured.gaps(READING)[0].gap
        lines = [Line("seam gap of `none`, coarse, is smaller than that of reading", _gap(seam), smaller)]
    else:
        measurable = bool(np.isfinite(sham.gap))
        lines = [
            _difficulty(measured, task),
            Line(f"seam gap of `none`, {task}, is above zero", _gap(seam), seam.low > 0),
            Line(f"sham gap of `none`, {task} (the price of a mere patch border), is measured", _gap(sham), measurable),
        ]
    ceiling = measured.oracle[f"exact/{task}"]
    what = f"ceiling: `oracle_map` answers at least {CEILING:.0%} of {task} exactly"
    lines.append(Line(what, _share(ceiling), ceiling.mean() >= CEILING))
    blind, constant = measured.none[f"question_only/{task}"], measured.best_constant(task)
    what = f"floor: the question alone answers no more of {task} than the best constant answer ({constant:.1%}) and {BEYOND_CHANCE:.0%}"
    lines.append(Line(what, _share(blind), blind.mean() <= constant + BEYOND_CHANCE))
    return lines


def write_calibration(out: Path | str, command: str) -> Path:
    """Write OUT/calibration.md; returns its path."""
    measured = _measured(out)
    lines = _lines(measured)
    held = sum(line.holds for line in lines)
    code = sorted(set(load_manifests(measured.folder)["code_hash"].astype(str)))
    text = [
        "# Calibration of the instrument",
        "",
        f"{held} of {len(lines)} lines hold. {len(measured.none)} seeds an arm; intervals of gaps are bootstrapped over test images.",
        f"Measured on `{measured.folder.study.preset}`, one pair of towers.",
        "",
        "| holds | what | measured |",
        "|---|---|---|",
        *(f"| {'yes' if line.holds else '**no**'} | {line.what} | {line.measured} |" for line in lines),
        "",
        "## Accuracy by place, percent (mean over seeds)",
        "",
        *_by_place(measured),
        "",
        f"Made by `{command}`. Code {', '.join(code)}.",
        "",
    ]
    path = measured.folder.out / "calibration.md"
    write_atomically(path, "\n".join(text).encode())
    renew_mark(measured.folder.out, [path])
    return path


def _by_place(measured: _Measured) -> list[str]:
    """A line a task and arm, so that the table stays narrow with any number of tasks."""
    places = ("intact", "sham", "cut")
    rows = ["| task | arm | " + " | ".join(places) + " |", "|---" * 5 + "|"]
    for task in measured.tasks:
        for arm, frame in (("none", measured.none), ("foreign", measured.foreign), ("oracle_map", measured.oracle)):
            shares = " | ".join(f"{100 * frame[f'exact/{task}/{place}'].mean():.1f}" for place in places)
            rows.append(f"| {task} | {arm} | {shares} |")
    return rows


def _interval(interval: Interval) -> str:
    return f"{100 * interval.mean:+.1f} points, 95 % interval {100 * interval.low:+.1f} to {100 * interval.high:+.1f}"


def _validation(folder: StudyFolder, arm: str, metric: str) -> pd.Series:
    values = [cell.result["validation"][metric] for cell in folder.main if cell.arm == arm and cell.done and cell.result is not None]
    return pd.Series(values, dtype=float)


def _share(values: pd.Series) -> str:
    return f"{100 * values.mean():.1f} % (seeds {', '.join(f'{100 * v:.1f}' for v in values)})"


def _gap(gap: GapInterval) -> str:
    interval = f"95 % interval {100 * gap.low:+.1f} to {100 * gap.high:+.1f}"
    return f"{100 * gap.gap:+.1f} points, {interval} ({gap.triplets} triplets, {gap.images} images)"
