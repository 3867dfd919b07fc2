"""The committed calibrations say what their cells say, and a line that does not hold is shown as such."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from fila_lab.analysis.calibration import calibration_lines, write_calibration

RESULTS = Path(__file__).parents[2] / "experiments" / "results"
COMMITTED = {"calibration": "fila-lab calibrate", "families": "fila-lab calibrate families"}


@pytest.mark.parametrize("study", COMMITTED)
def test_the_committed_report_is_that_of_the_committed_cells(study: str, tmp_path: Path) -> None:
    folder = shutil.copytree(RESULTS / study, tmp_path / study)
    assert write_calibration(folder, COMMITTED[study]).read_text(encoding="utf-8") == (RESULTS / study / "calibration.md").read_text(
        encoding="utf-8"
    )


def test_a_blind_ceiling_does_not_hold(tmp_path: Path) -> None:
    folder = shutil.copytree(RESULTS / "calibration", tmp_path / "calibration")
    (high,) = [line for line in calibration_lines(folder) if line.what.startswith("ceiling") and "coarse" in line.what]
    cells = pd.read_parquet(folder / "cells.parquet")
    blind = cells["config:json"].map(lambda config: json.loads(config)["fusion"]["control"] == "oracle_map")
    cells.loc[blind, "metrics/exact/coarse"] = 0.5
    cells.to_parquet(folder / "cells.parquet")
    (low,) = [line for line in calibration_lines(folder) if line.what.startswith("ceiling") and "coarse" in line.what]
    assert high.holds
    assert not low.holds
    assert low.measured.startswith("50.0 %")
