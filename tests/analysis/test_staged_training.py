"""Training stages in the checks of a report: compared by their names, field by field."""

from __future__ import annotations

from fila_lab.analysis.training_checks import flat
from fila_lab.config import resolve_run


def test_stages_are_compared_by_name() -> None:
    stages = [{"name": "align", "trains": ["projector", "fusion"], "steps": 3}, {"name": "last", "trains": ["language"], "epochs": 1.0}]
    config = resolve_run("mini", {"train.stages": stages}).model_dump(mode="json")
    found = {path: value for path, value in flat(config).items() if path.startswith("train.stages")}
    assert found == {
        "train.stages.align.trains": ["projector", "fusion"],
        "train.stages.align.steps": 3,
        "train.stages.last.trains": ["language"],
        "train.stages.last.epochs": 1.0,
    }
    assert flat(config)["data.train"] == config["data"]["train"]
