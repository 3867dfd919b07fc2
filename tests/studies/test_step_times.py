"""Equal time: where seconds a step come from, and that a plan once made stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from thin_study import STUDY, Bench

from fila_lab.cli.text import plan_text
from fila_lab.config import RunConfig, load_study
from fila_lab.config.renamed import SCHEMA
from fila_lab.studies.estimate import estimate
from fila_lab.studies.plan import make_plan
from fila_lab.studies.step_times import find_step_seconds

SECONDS = {"none": 0.1, "concat": 0.3, "addition": 0.2}


def write_cells(root: Path, cells: list[tuple[RunConfig, float]]) -> None:
    """Finished cells that took so many seconds a step."""
    for number, (config, seconds) in enumerate(cells):
        folder = root / "cells" / f"{number:016x}"
        folder.mkdir(parents=True)
        result: dict[str, Any] = {"schema": SCHEMA, "id": folder.name, "status": "done", "config": config.model_dump(mode="json")}
        result |= {"metrics": {}, "validation": {}, "timing": {"train": seconds * config.train.steps}}
        (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


@pytest.fixture
def timed(tmp_path: Path) -> Path:
    """A result folder of the thin study with equal steps: two seeds an arm, the second a tenth slower."""
    bench = Bench(tmp_path)
    cells = make_plan(load_study(bench.file), "small").cells
    write_cells(tmp_path / "timed", [(cell.config, SECONDS[cell.arm] * (1 + 0.1 * cell.seed)) for cell in cells])
    bench.file.write_text(STUDY + "equalise: time\n", encoding="utf-8")
    return tmp_path


def test_measured_cells_give_equal_time(timed: Path) -> None:
    study = load_study(timed / "thin.yaml")
    seconds = find_step_seconds(study, "small", timed / "timed")
    assert seconds == pytest.approx({arm: 1.05 * value for arm, value in SECONDS.items()})
    longer = {"train.steps": 300, "train.learning_rate": 1e-4}
    assert find_step_seconds(study, "small", timed / "timed", longer) == seconds  # neither changes what a step takes
    plan = make_plan(study, "small", longer, step_seconds=seconds)
    steps = {cell.arm: cell.config.train.steps for cell in plan.cells}
    assert steps == {"none": 300, "concat": 100, "addition": 150}
    assert plan.to_dict()["step_seconds"] == seconds
    text = plan_text(plan, estimate(plan), timed)
    assert "equal     time, at these seconds a step: none 0.105, concat 0.315, addition 0.21" in text


def test_published_cells_serve_where_the_folder_has_none_and_only_a_whole_set_counts(timed: Path) -> None:
    study = load_study(timed / "thin.yaml")
    published = timed / "published"
    write_cells(
        published / "a", [(cell.config, 9.0) for cell in make_plan(study, "small", step_seconds=SECONDS).cells if cell.arm == "none"]
    )
    assert find_step_seconds(study, "small", timed / "out", published=published) is None
    (timed / "timed").rename(published / "b")
    assert find_step_seconds(study, "small", timed / "out", published=published) == pytest.approx({a: 1.05 * s for a, s in SECONDS.items()})
    assert find_step_seconds(study, "small", timed / "out", {"train.batch_size": 3}, published) is None  # another step


def test_declared_seconds_come_first_and_equal_steps_need_none(timed: Path) -> None:
    study = load_study(timed / "thin.yaml")
    declared = study.model_copy(update={"step_seconds": SECONDS})
    assert find_step_seconds(declared, "small", timed / "timed") == SECONDS
    assert find_step_seconds(study.model_copy(update={"equalise": "steps"}), "small", timed / "timed") is None


def test_a_run_keeps_the_seconds_it_was_planned_with(timed: Path) -> None:
    bench = Bench(timed)
    bench.file.write_text(STUDY + f"equalise: time\nstep_seconds: {json.dumps(SECONDS)}\n", encoding="utf-8")
    out = bench.run(out=timed / "out")
    bench.file.write_text(STUDY + "equalise: time\n", encoding="utf-8")
    study = load_study(bench.file)
    assert find_step_seconds(study, "small", out) == SECONDS
    before = sorted(path.name for path in (out / "cells").iterdir())
    bench.run(out=out)
    assert sorted(path.name for path in (out / "cells").iterdir()) == before
