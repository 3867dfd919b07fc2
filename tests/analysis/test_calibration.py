"""The committed calibrations say what their cells say, and a line that does not hold is shown as such."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from fila_lab.analysis import StudyFolder, calibration
from fila_lab.analysis.calibration import write_calibration

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
COMMITTED = ("calibration", "families")


@pytest.mark.parametrize("study", COMMITTED)
def test_the_committed_report_is_that_of_the_committed_cells(study: str, tmp_path: Path) -> None:
    folder = shutil.copytree(RESULTS / study, tmp_path / study)
    committed = (RESULTS / study / "calibration.md").read_text(encoding="utf-8")
    assert write_calibration(folder).read_text(encoding="utf-8") == committed


@pytest.mark.slow
def test_a_blind_ceiling_does_not_hold(tmp_path: Path) -> None:
    folder = shutil.copytree(RESULTS / "calibration", tmp_path / "calibration")
    assert ceiling(folder).startswith("| yes |")
    cells = pd.read_parquet(folder / "cells.parquet")
    blind = cells["config:json"].map(lambda config: json.loads(config)["fusion"]["control"] == "oracle_map")
    cells.loc[blind, "metrics/exact/coarse"] = 0.5
    cells.to_parquet(folder / "cells.parquet")
    assert ceiling(folder).startswith("| **no** |")
    assert "| 50.0 %" in ceiling(folder)
    held = [line.split(" | ")[0] for line in text(folder).splitlines() if line.startswith(("| yes", "| **no"))]
    assert held == sorted(held), "what does not hold stands first"


def test_a_capacity_arm_is_a_second_baseline(tmp_path: Path) -> None:
    folder = shutil.copytree(RESULTS / "calibration", tmp_path / "calibration")
    assert "(capacity)" not in text(folder)
    arms = {"none": 0.50, "foreign": 0.53, "oracle_map": 0.97, "capacity": 0.535}
    measured = calibration._Measured(
        StudyFolder.open(folder),
        {arm: pd.DataFrame({"exact/mean": [mean - 0.01, mean, mean + 0.01]}, index=[0, 1, 2]) for arm, mean in arms.items()},
        pd.DataFrame(),
        pd.DataFrame(),
    )
    over_none, over_capacity = calibration._of_all(measured)
    assert (over_none.holds, over_none.figure) == (False, "+3.0 points")
    assert (over_capacity.holds, over_capacity.figure) == (True, "-0.5 points")


def text(folder: Path) -> str:
    return write_calibration(folder).read_text(encoding="utf-8")


def ceiling(folder: Path) -> str:
    """The report's line about the ceiling of coarse."""
    (line,) = [line for line in text(folder).splitlines() if "ceiling" in line and "coarse" in line]
    return line
