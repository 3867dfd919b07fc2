"""What a cell's metrics are called is what `plan` says: tasks keep their names from the configuration to the pool."""

from __future__ import annotations

from pathlib import Path

import pytest

from fila_lab.config import resolve_run
from fila_lab.config.metrics import tasks_of
from fila_lab.data.opening import sources


@pytest.mark.parametrize("entry", ["seam", "mine"])
@pytest.mark.parametrize("tasks", [{"reading": 1.0}, {"reading": 0.0, "coarse": 1.0}, {"reading": 0.5, "coarse": 0.5}])
def test_tasks_of_the_seam_suite_keep_their_names_even_where_there_is_but_one(tasks: dict[str, float], entry: str, tmp_path: Path) -> None:
    run = resolve_run("mini", {"data.seam.tasks": tasks, "data.evaluate": {entry: {"suite": "seam"}}})
    for split, validation in (("val", True), ("test", False)):
        (source,) = sources(run.data, run.geometry, tmp_path, split)
        assert tuple(source.suite.tasks()) == tasks_of(run, validation)
