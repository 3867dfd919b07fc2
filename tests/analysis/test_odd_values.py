"""What is no number, or no true or false, is named and left out: never counted, never guessed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fila_lab import analysis
from fila_lab.config.base import FilaError
from fila_lab.studies.result import CellResult


@pytest.mark.parametrize("part", ["metrics", "validation", "timing"])
@pytest.mark.parametrize("value", ["Infinity", "-Infinity", "NaN", '"0.9"', "true", "[1]", '"yes"', "{}"])
def test_a_result_with_what_is_no_number_is_named_and_left_out(full_study: Path, tmp_path: Path, part: str, value: str) -> None:
    out = Path(shutil.copytree(full_study, tmp_path / "study"))
    path = out / "cells" / "concat-0002" / "result.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content[part] = {**content[part], "exact/reading": "HERE"}
    text = json.dumps(content).replace('"HERE"', value)
    path.write_text(text, encoding="utf-8")
    frame = analysis.load_study_frame(out)
    assert "concat-0002" not in set(frame["id"])
    assert any("concat-0002" in note and part in note and "exact/reading" in note for note in frame.attrs["notes"])
    with pytest.raises(ValueError, match="exact/reading"):
        CellResult.model_validate(json.loads(text))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("correct", ["True", "False"]),
        ("correct", ["yes", "no"]),
        ("correct", [1.0, 0.0]),
        ("correct", [True, None]),
        ("prediction", ["A", None]),
        ("place", [1, 2]),
        ("cut_fraction", ["0.4", "0"]),
    ],
)
def test_predictions_of_another_kind_are_named_and_left_out(full_study: Path, tmp_path: Path, column: str, values: list[Any]) -> None:
    out = Path(shutil.copytree(full_study, tmp_path / "study"))
    path = out / "cells" / "concat-0002" / "predictions.parquet"
    frame = pd.read_parquet(path)
    frame[column] = [values[i % 2] for i in range(len(frame))]
    frame.to_parquet(path)
    found = analysis.load_predictions(out)
    assert "concat-0002" not in set(found["id"])
    assert found["correct"].dtype == bool
    assert any("concat-0002" in note and column in note for note in found.attrs["notes"])


def test_costs_that_are_no_numbers_are_refused(full_study: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(full_study, tmp_path / "study"))
    costs = json.loads((out / "costs.json").read_text(encoding="utf-8"))
    for value in ("fast", True, float("inf")):
        costs["concat"]["latency_ms"] = value
        (out / "costs.json").write_text(json.dumps(costs), encoding="utf-8")
        with pytest.raises(FilaError, match=r"costs\.json: concat\['latency_ms'\]"):
            analysis.load_costs(out)
