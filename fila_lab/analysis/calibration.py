"""Is the instrument calibrated? The lines that must hold before any comparison means something, each with its figure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fila_lab.analysis.bootstrap import GapInterval, clustered_gap, triplet_table
from fila_lab.analysis.folder import StudyFolder
from fila_lab.analysis.frame import load_manifests, load_predictions, load_study_frame
from fila_lab.analysis.statistics import paired_interval

INTACT = (0.60, 0.80)
"""Range of exact answers of `none` on intact reading items of the validation split: hard, not hopeless."""
CEILING = 0.95
CHANCE = 0.04


@dataclass(frozen=True)
class Line:
    """One requirement: what must hold, what was measured, whether it holds."""

    what: str
    measured: str
    holds: bool


def calibration_lines(out: Path | str) -> list[Line]:
    """The requirements on the folder of experiments/calibration.yaml (arms none, foreign, oracle_map).

    Raises:
        FilaError: no folder, no finished cells.
    """
    folder = StudyFolder.open(out)
    frame = load_study_frame(folder)
    triplets = triplet_table(load_predictions(folder, "none"))
    none, foreign, oracle = (frame[frame["arm"] == arm].set_index("seed") for arm in ("none", "foreign", "oracle_map"))
    intact = _validation(folder, "none", "exact/reading/intact")
    reading = clustered_gap(triplets[triplets["family"] == "reading"])
    sham = clustered_gap(triplets[triplets["family"] == "reading"], high="intact", low="sham")
    coarse = clustered_gap(triplets[triplets["family"] == "coarse"])
    lines = [
        Line(
            f"difficulty: `none` reads {INTACT[0]:.0%} to {INTACT[1]:.0%} of intact validation items exactly",
            _share(intact),
            INTACT[0] <= intact.mean() <= INTACT[1],
        ),
        Line("seam gap of `none`, reading, is above zero", _gap(reading), reading.low > 0),
        Line("sham gap of `none`, reading (the price of a mere patch border), is measured", _gap(sham), bool(np.isfinite(sham.gap))),
        Line("seam gap of `none`, coarse, is smaller than that of reading", _gap(coarse), coarse.gap < reading.gap),
    ]
    for family in ("reading", "coarse"):
        share = oracle[f"exact/{family}"]
        lines.append(
            Line(f"ceiling: `oracle_map` answers at least {CEILING:.0%} of {family} exactly", _share(share), share.mean() >= CEILING)
        )
        blind = none[f"question_only/{family}"]
        lines.append(Line(f"floor: the question alone answers under {CHANCE:.0%} of {family}", _share(blind), blind.mean() < CHANCE))
    difference = (foreign["exact/reading"] - none["exact/reading"]).dropna()
    interval = paired_interval(difference)
    lines.append(
        Line(
            "`foreign` reads no better than `none` (the interval of the paired difference includes zero or lies below it)",
            f"{100 * interval.mean:+.1f} points, 95 % interval {100 * interval.low:+.1f} to {100 * interval.high:+.1f}",
            interval.low <= 0,
        )
    )
    return lines


def write_calibration(out: Path | str, command: str) -> Path:
    """Write OUT/calibration.md; returns its path."""
    folder = StudyFolder.open(out)
    lines = calibration_lines(out)
    frame = load_study_frame(folder)
    manifests = load_manifests(folder)
    held = sum(line.holds for line in lines)
    text = [
        "# Calibration of the instrument",
        "",
        f"{held} of {len(lines)} lines hold. {len(set(frame['seed']))} seeds an arm; intervals of gaps are bootstrapped over test images.",
        "Measured on `mini`, one pair of towers.",
        "",
        "| holds | what | measured |",
        "|---|---|---|",
        *(f"| {'yes' if line.holds else '**no**'} | {line.what} | {line.measured} |" for line in lines),
        "",
        "## Accuracy by place (mean over seeds)",
        "",
        *_by_place(frame),
        "",
        f"Made by `{command}`. Code {', '.join(sorted(set(manifests['code_hash'].astype(str))))}.",
        "",
    ]
    path = folder.out / "calibration.md"
    path.write_text("\n".join(text))
    return path


def _by_place(frame: pd.DataFrame) -> list[str]:
    columns = [f"exact/{family}/{place}" for family in ("reading", "coarse") for place in ("intact", "sham", "cut")]
    means = frame.groupby("arm", sort=False)[columns].mean()
    rows = ["| arm | " + " | ".join(c.removeprefix("exact/").replace("/", ", ") for c in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    rows += [
        f"| {arm} | " + " | ".join(f"{100 * value:.1f} %" for value in row) + " |"
        for arm, row in zip(means.index, means.to_numpy(), strict=True)
    ]
    return rows


def _validation(folder: StudyFolder, arm: str, metric: str) -> pd.Series:
    values = [cell.result["validation"][metric] for cell in folder.main if cell.arm == arm and cell.done and cell.result is not None]
    return pd.Series(values, dtype=float)


def _share(values: pd.Series) -> str:
    return f"{100 * values.mean():.1f} % (seeds {', '.join(f'{100 * v:.1f}' for v in values)})"


def _gap(gap: GapInterval) -> str:
    interval = f"95 % interval {100 * gap.low:+.1f} to {100 * gap.high:+.1f}"
    return f"{100 * gap.gap:+.1f} points, {interval} ({gap.triplets} triplets, {gap.images} images)"
