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
from fila_lab.config.instruments import NOTE
from fila_lab.config.published import renew_mark

FINE = (0.35, 0.85)
"""Range of exact answers of `none` to intact items of the validation split, in a task with fine detail: hard, not hopeless."""
EASY = 0.95
"""A task without characters may be answered so often at most, or no gain can be seen in it."""
EASY_TASKS = ("presence", "coarse")
"""Tasks that ask for no fine detail: easy, and hardly touched by a seam."""
CEILING = 0.95
BEYOND_CHANCE = 0.02
"""By so much the best guess from the question alone may pass the best constant answer."""
MOVED = 0.01
"""By so much a map of another page may move the mean over tasks."""
UNTOUCHED = {
    "counting": "marks lie whole on either side of a seam, and a cut one counts as much as it shows",
    "attribute": "a mark is known by part of its outline",
    "presence": "a shape is known by part of its outline",
    "coarse": "there is no fine detail that a seam could cut",
}
"""Why a seam may cost nothing in a task, as it is made: of these the gap is told, and none is asked for."""
READING = "reading"


@dataclass(frozen=True)
class Line:
    """One requirement: of which task, what must hold, in words, the figure, its 95 % interval, whether it holds."""

    task: str
    what: str
    figure: str
    interval: str
    holds: bool


@dataclass(frozen=True)
class _Measured:
    """The cells of a calibration: a frame an arm, by seed, and `none`'s predictions."""

    folder: StudyFolder
    arms: dict[str, pd.DataFrame]
    predictions: pd.DataFrame
    triplets: pd.DataFrame

    @property
    def none(self) -> pd.DataFrame:
        return self.arms["none"]

    @property
    def tasks(self) -> list[str]:
        """`reading` first, those without fine detail last."""
        return sorted(self.predictions["task"].unique(), key=lambda name: (name != READING, name in EASY_TASKS, name))

    def gap(self, task: str) -> GapInterval:
        """Seam gap of `none`."""
        return clustered_gap(self.triplets[self.triplets["task"] == task])

    def border(self, task: str) -> GapInterval:
        """accuracy(intact) - accuracy(sham) of `none`."""
        return clustered_gap(self.triplets[self.triplets["task"] == task], high="intact", low="sham")

    def best_constant(self, task: str) -> float:
        """Share of the task's test items that one and the same answer gets right, at best."""
        answers = self.predictions.loc[self.predictions["task"] == task].drop_duplicates("item_id")["answer"]
        return float(answers.value_counts(normalize=True).iloc[0])

    def difference(self, arm: str, base: str) -> Interval:
        """Of the mean over tasks, paired by seed."""
        return paired_interval((self.arms[arm]["exact/mean"] - self.arms[base]["exact/mean"]).dropna())


def _measured(out: Path | str) -> _Measured:
    folder = StudyFolder.open(out)
    frame = load_study_frame(folder)
    arms = {str(arm): own.set_index("seed") for arm, own in frame.groupby("arm")}
    if "exact/mean" not in frame:
        means = [name for name in map(str, frame) if name.startswith("exact/") and name.count("/") == 1]
        arms = {arm: own.assign(**{"exact/mean": own[means].mean(axis=1)}) for arm, own in arms.items()}
    predictions = load_predictions(folder, "none")
    return _Measured(folder, arms, predictions, triplet_table(predictions))


def _lines(measured: _Measured) -> list[Line]:
    """Every requirement; those that do not hold first."""
    lines = [line for task in measured.tasks for line in _of_task(measured, task)] + _of_all(measured)
    return sorted(lines, key=lambda line: line.holds)


def _of_task(measured: _Measured, task: str) -> list[Line]:
    lines = [_difficulty(measured, task), _seam(measured, task)]
    border = measured.border(task)
    what = "what a border between two patches costs, without a seam, is measured (accuracy intact − sham)"
    lines.append(Line(task, what, *_gap(border), bool(np.isfinite(border.gap))))
    ceiling = measured.arms["oracle_map"][f"exact/{task}"]
    what = f"ceiling: with the truth as map at least {CEILING:.0%} are answered, so that nothing but sight limits an arm"
    lines.append(Line(task, what, *_share(ceiling), bool(ceiling.mean() >= CEILING)))
    blind, constant = measured.none[f"question_only/{task}"], measured.best_constant(task)
    what = f"chance: without the page no more is guessed than by the likeliest answer ({constant:.1%}; {BEYOND_CHANCE:.0%} beyond are left)"
    lines.append(Line(task, what, *_share(blind), bool(blind.mean() <= constant + BEYOND_CHANCE)))
    return lines


def _difficulty(measured: _Measured, task: str) -> Line:
    share = _validation(measured.folder, "none", f"exact/{task}/intact")
    if task in EASY_TASKS:
        return Line(task, f"room: no fusion answers less than {EASY:.0%} of intact items", *_share(share), bool(share.mean() < EASY))
    low, high = FINE
    what = f"difficulty: no fusion answers {low:.0%} to {high:.0%} of intact items: hard, not hopeless"
    return Line(task, what, *_share(share), bool(low <= share.mean() <= high))


def _seam(measured: _Measured, task: str) -> Line:
    gap = measured.gap(task)
    what = "a seam through the target costs no fusion accuracy (sham − cut, its interval above zero)"
    if task in UNTOUCHED:
        what = f"what a seam through the target costs no fusion is measured (sham − cut); it may be nothing: {UNTOUCHED[task]}"
        return Line(task, what, *_gap(gap), bool(np.isfinite(gap.gap)))
    return Line(task, what, *_gap(gap), bool(gap.low > 0))


def _of_all(measured: _Measured) -> list[Line]:
    lines = []
    for base in ("none", "capacity"):
        if base in measured.arms:
            moved = measured.difference("foreign", base)
            told = "no fusion" if base == "none" else "the same parameters without a map (capacity)"
            what = f"the map of another page brings no more than {told}, within {100 * MOVED:.0f} point"
            lines.append(
                Line("all", what, f"{100 * moved.mean:+.1f} points", _bounds(moved.low, moved.high), bool(abs(moved.mean) <= MOVED))
            )
    return lines


def write_calibration(out: Path | str) -> Path:
    """Write OUT/calibration.md; returns its path."""
    measured = _measured(out)
    lines = _lines(measured)
    held = sum(line.holds for line in lines)
    code = sorted(set(load_manifests(measured.folder)["code_hash"].astype(str)))
    text = [
        "# Calibration of the instrument",
        "",
        *([NOTE, ""] if measured.folder.first_instrument else []),
        f"{held} of {len(lines)} lines hold; those that do not stand first. {len(measured.none)} seeds an arm, {_pairs(measured)}.",
        "Intervals are 95 %: of gaps, bootstrapped over test images; of shares and differences, Student's t over seeds.",
        "",
        "A *seam* is a border between two tiles of the ViT. Every item is shown at three places: *cut* by a seam, at a *sham* place across",
        "a mere border of patches, and *intact*. Difficulty is that of the validation split, all else of the test split.",
        f"Measured on `{measured.folder.study.preset}`.",
        "",
        "| holds | task | what must hold | figure | 95 % interval |",
        "|---|---|---|---|---|",
        *(f"| {'yes' if line.holds else '**no**'} | {line.task} | {line.what} | {line.figure} | {line.interval} |" for line in lines),
        "",
        "## Accuracy by place, percent (mean over seeds)",
        "",
        *_by_place(measured),
        "",
        f"Made by `fila-lab calibrate`. Code {', '.join(code)}.",
        "",
    ]
    path = measured.folder.out / "calibration.md"
    write_atomically(path, "\n".join(text).encode())
    renew_mark(measured.folder.out, [path])
    return path


def _pairs(measured: _Measured) -> str:
    pairs = measured.none["pair"].nunique() if "pair" in measured.none else 1
    return "one pair of towers" if pairs <= 1 else f"{pairs} tower pairs together"


def _by_place(measured: _Measured) -> list[str]:
    """A line a task and arm, so that the table stays narrow with any number of tasks."""
    places = ("intact", "sham", "cut")
    rows = ["| task | arm | " + " | ".join(places) + " |", "|---" * 5 + "|"]
    for task in measured.tasks:
        for arm, frame in measured.arms.items():
            shares = " | ".join(f"{100 * frame[f'exact/{task}/{place}'].mean():.1f}" for place in places)
            rows.append(f"| {task} | {arm} | {shares} |")
    return rows


def _validation(folder: StudyFolder, arm: str, metric: str) -> pd.Series:
    values = [cell.result["validation"][metric] for cell in folder.main if cell.arm == arm and cell.done and cell.result is not None]
    return pd.Series(values, dtype=float)


def _share(values: pd.Series) -> tuple[str, str]:
    """Mean of shares and the interval over seeds, as far as shares go."""
    over = paired_interval(values.dropna())
    return f"{100 * over.mean:.1f} %", _bounds(max(over.low, 0.0), min(over.high, 1.0))


def _gap(gap: GapInterval) -> tuple[str, str]:
    return f"{100 * gap.gap:+.1f} points", f"{_bounds(gap.low, gap.high)} ({gap.triplets} triplets, {gap.images} images)"


def _bounds(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f}"
