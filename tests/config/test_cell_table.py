"""What is written into the table of cells is read back as an equal result, with curves of training stages beside curves without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fila_lab.config.cell_checks import check_result
from fila_lab.config.cell_table import CellRow, read_cell_table, write_cell_table
from fila_lab.config.renamed import SCHEMA


def result(name: str, curve: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = {"metrics": {"exact/mean": 0.5}, "validation": {"exact/mean": 0.25}, "timing": {"total": 2.0}}
    return {"schema": SCHEMA, "id": name, "status": "done", "config": {"seed": 0}, **numbers, "curve": curve, "failure": None}


POINT = {"step": 1, "loss": 0.5, "learning_rate": 1e-3, "validation": None}
CURVES: dict[str, list[dict[str, Any]]] = {
    "staged": [{**POINT, "stage": "align"}, {**POINT, "step": 2, "validation": 0.75, "stage": "instruct"}],
    "plain": [POINT, {**POINT, "step": 2, "validation": 0.5}],
    "empty": [],
}


def test_curves_of_stages_and_without_them_come_back(tmp_path: Path) -> None:
    for names in (list(CURVES), ["plain", "empty"], ["staged"]):
        rows = [CellRow(name, result=result(name, CURVES[name]), prediction_columns=()) for name in names]
        write_cell_table(tmp_path / "cells.parquet", rows)
        assert [row.result for row in read_cell_table(tmp_path / "cells.parquet")] == [row.result for row in rows]


def test_a_stage_in_a_curve_is_a_name() -> None:
    assert check_result(result("a", CURVES["staged"]), "a", "main")
    with pytest.raises(ValueError, match=r"curve\[0\]\.stage = 3 is no name"):
        check_result(result("a", [{**POINT, "stage": 3}]), "a", "main")
