"""What a plan says of a study on files: their rows, and no pages to draw or cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fila_lab.cli.text import plan_text
from fila_lab.config import ConfigError, StudyConfig, resolve_run
from fila_lab.config.counts import tiles_of
from fila_lab.cost.closed.components import component_costs, item_bytes, training_flops
from fila_lab.imaging import Geometry
from fila_lab.studies.estimate import CPU_RATE, cell_seconds, estimate
from fila_lab.studies.plan import Plan, make_plan
from fila_lab.studies.rows import parts_of, row_flops, stored_rows

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 rows in LLaVA's format, a quarter of them text alone, and 6 questions of DocVQA; all images are of one size."""
    monkeypatch.setenv("FILA_LAB_CACHE", str(tmp_path / "cache"))
    rows: list[dict[str, Any]] = []
    for number in range(40):
        asked = [{"from": "human", "value": "<image>\nwhat?" if number % 4 else "why?"}, {"from": "gpt", "value": "so"}]
        rows.append({"id": f"row-{number}", "conversations": asked} | ({"image": f"{number}.png"} if number % 4 else {}))
        Image.new("RGB", (300, 90), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "train.json").write_text(json.dumps(rows), encoding="utf-8")
    asked_of = [{"questionId": n, "question": "q", "answers": ["a"], "image": f"{n}.png", "question_types": ["x"]} for n in range(6)]
    (tmp_path / "val_v1.0_withQT.json").write_text(json.dumps({"data": asked_of}), encoding="utf-8")
    return tmp_path


def plan_on(files: Path, **fields: Any) -> Plan:
    data = {
        "data.train": {"suite": "llava", "path": str(files / "train.json")},
        "data.validate": {"suite": "llava", "path": str(files / "train.json"), "limit": 8},
        "data.evaluate": {"docvqa": {"path": str(files)}},
        "data.train_items": None,
        "data.val_items": None,
        "train.steps": 20,
        "train.batch_size": 8,
        "train.validate_every": 10,
    }
    content = {
        "name": "files", "question": "?", "set": RANDOM | data | {name.replace("__", "."): value for name, value in fields.items()},
        "arms": {"none": {"role": "baseline", "set": {"fusion.name": "none"}}, "concat": {"set": {"fusion.name": "concat"}}},
        "families": {"all": {"contrasts": [["concat", "none"]]}}, "metric": "anls/docvqa", "margin": 0.02,
        "budgets": {"small": {"seeds": [0]}},
    }  # fmt: skip
    return make_plan(StudyConfig.model_validate(content))


def test_rows_of_files_are_counted_and_nothing_is_drawn(files: Path) -> None:
    plan = plan_on(files)
    told = estimate(plan)
    assert (told.seconds_features, told.cache_bytes) == (0, 0)
    text = plan_text(plan, told, Path("out"))
    assert "train 40 of llava; validate 8 of llava; test docvqa 6; 20 steps of 8 pass 4 times over 40 training rows" in text
    assert "draw pages" not in text
    assert "reading files" in text
    assert "cache     next to nothing" in text
    run = plan.cells[-1].config
    assert run.fusion.name == "concat"
    (part,) = parts_of(run, "train")
    assert part.shown.count(None) == 10
    made = Geometry.of(300, 90, run.geometry)
    assert set(part.shown) == {None, (made.canvas, made.image_size)}
    assert tiles_of(made.canvas, run.geometry) == 3
    read = sum(cost.flops for cost in component_costs(run, made.canvas, made.image_size).values())
    assert row_flops(run) == pytest.approx(read)
    trained = 20 * 8 * 0.75 * training_flops(run, made.canvas, False, made.image_size)
    assert cell_seconds(run) * CPU_RATE == pytest.approx(trained + 2 * 8 * 0.75 * read + 6 * read)
    assert cell_seconds(run, test=False) * CPU_RATE == pytest.approx(trained + 2 * 8 * 0.75 * read)


def test_of_a_mixture_only_what_is_generated_is_drawn(files: Path) -> None:
    mixed = [{"suite": "seam", "share": 3}, {"suite": "llava", "path": str(files / "train.json")}]
    plan = plan_on(
        files, data__train=mixed, data__validate={"suite": "seam"}, data__train_pool=100, data__val_pool=20, data__train_items=80
    )
    run = plan.cells[-1].config
    assert stored_rows(run) == 120
    told = estimate(plan)
    assert told.cache_bytes > 120 * item_bytes(run)
    assert "train 100 of seam and 40 of llava; validate 20 of seam; test docvqa 6" in plan_text(plan, told, Path("out"))
    with pytest.raises(ConfigError, match=r"data\.train_items = 200, 50 of them from llava, but llava has 40 train rows"):
        plan_on(files, data__train=mixed, data__validate={"suite": "seam"}, data__train_items=200)


@pytest.mark.parametrize(("field", "split", "rows"), [("data__train_items", "train", 40), ("data__val_items", "val", 8)])
def test_more_rows_than_there_are_is_refused(files: Path, field: str, split: str, rows: int) -> None:
    with pytest.raises(ConfigError, match=rf"data\.{split}_items = 41, but llava has {rows} {split} rows; .*null for all"):
        plan_on(files, **{field: 41})


def test_files_that_change_are_counted_again(files: Path) -> None:
    run = plan_on(files).cells[0].config
    assert parts_of(run, "train")[0].rows == 40
    content = json.loads((files / "train.json").read_text(encoding="utf-8"))
    (files / "train.json").write_text(json.dumps(content[:30]), encoding="utf-8")
    assert parts_of(run, "train")[0].rows == 30


def test_generated_items_are_accounted_for_without_opening_anything() -> None:
    run = resolve_run("mini", RANDOM)
    assert row_flops(run) is None
    assert stored_rows(run) == run.data.train_pool + run.data.val_pool + 3 * run.data.test_triplets
