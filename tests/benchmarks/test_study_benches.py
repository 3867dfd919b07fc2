"""Benches of studies make folders that the laboratory takes for complete ones."""

from __future__ import annotations

from pathlib import Path

from benchmarks import scale, tracking
from fila_lab.studies.status import study_status


def test_the_folder_of_a_study_of_many_cells_is_complete(tmp_path: Path) -> None:
    scale.make_folder(tmp_path, 20, triplets=2)
    state = study_status(tmp_path / "out")
    assert (sum(arm.done for arm in state.rows), sum(arm.left for arm in state.rows)) == (20, 0)


def test_the_folder_whose_mirror_is_measured_is_complete(tmp_path: Path) -> None:
    plan = tracking.make_folder(tmp_path / "study", 10)
    state = study_status(tmp_path / "study")
    assert sum(arm.done for arm in state.rows) == len(plan.cells) == 10
