"""What the run of a cell shows: each measure of its curve at its own time."""

from __future__ import annotations

from fila_lab.config.renamed import SCHEMA
from fila_lab.studies.mirror.cell import values
from fila_lab.studies.mirror.points import SERIES
from fila_lab.studies.result import CellResult, CurvePoint


def test_a_validation_of_a_stage_shows_its_loss_at_its_own_time_and_others_show_none() -> None:
    curve = (
        CurvePoint(step=1, loss=2.0, learning_rate=0.1, stage="align"),
        CurvePoint(step=2, loss=1.0, learning_rate=0.1, validation=0.5, validation_loss=1.5, stage="align"),
        CurvePoint(step=3, loss=0.5, learning_rate=0.1, validation=0.75),
    )
    result = CellResult(schema=SCHEMA, id="a", status="done", config={}, metrics={}, validation={}, curve=curve)
    times = {"loss": [1.0, 2.0, 3.0], "validation": [None, 4.0, 5.0]}
    shown = {(value.name, value.step): (value.value, value.time) for value in values(result, {"curve_times": times}, 9)}
    assert shown["curve/validation_loss", 2] == (1.5, 4000)
    assert shown["curve/validation", 3] == (0.75, 5000)
    assert [step for name, step in shown if name == "curve/validation_loss"] == [2]
    assert {name.removeprefix("curve/") for name, _ in shown} == set(SERIES)
