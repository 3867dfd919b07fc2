"""The committed calibrations say what their cells say, and a line that does not hold is shown as such."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from fila_lab.analysis.calibration import write_calibration

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
COMMITTED = {"calibration": "fila-lab calibrate", "families": "fila-lab calibrate families"}


@pytest.mark.parametrize("study", COMMITTED)
def test_the_committed_report_is_that_of_the_committed_cells(study: str, tmp_path: Path) -> None:
    folder = shutil.copytree(RESULTS / study, tmp_path / study)
    assert write_calibration(folder, COMMITTED[study]).read_text(encoding="utf-8") == (RESULTS / study / "calibration.md").read_text(
        encoding="utf-8"
    )


@pytest.mark.slow
def test_a_blind_ceiling_does_not_hold(tmp_path: Path) -> None:
    folder = shutil.copytree(RESULTS / "calibration", tmp_path / "calibration")
    assert "| yes | ceiling" in ceiling(folder)
    cells = pd.read_parquet(folder / "cells.parquet")
    blind = cells["config:json"].map(lambda config: json.loads(config)["fusion"]["control"] == "oracle_map")
    cells.loc[blind, "metrics/exact/coarse"] = 0.5
    cells.to_parquet(folder / "cells.parquet")
    assert "| **no** | ceiling" in ceiling(folder)
    assert "| 50.0 %" in ceiling(folder)


def ceiling(folder: Path) -> str:
    """The report's line about the ceiling of coarse."""
    text = write_calibration(folder, "fila-lab calibrate").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if "ceiling" in line and "coarse" in line]
    return line
