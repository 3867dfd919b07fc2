"""The folder of results: what counts as done, and what a fault leaves behind."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fila_lab.config import FilaError
from fila_lab.studies.result import failed
from fila_lab.studies.store import Invalid, ResultStore


def result(cell_id: str, **changes: Any) -> dict[str, Any]:
    done = {"schema": 1, "id": cell_id, "status": "done", "config": {}, "metrics": {"exact/mean": 0.1 + 0.2}, "validation": {}, "curve": []}
    return {**done, "timing": {"total": 1.5}, "failure": None, **changes}


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path).open()


def test_what_is_written_is_read_back_without_nan(store: ResultStore) -> None:
    frame = pd.DataFrame({"item_id": ["x"], "correct": [True]})
    store.write("a", result("a", metrics={"exact/mean": 0.1 + 0.2, "seam_gap/reading": float("nan")}), frame, {"code_hash": "c"})
    found = store.get("a")
    assert found is not None
    assert found.metrics == {"exact/mean": 0.1 + 0.2, "seam_gap/reading": None}
    assert "NaN" not in (store.folder("a") / "result.json").read_text(encoding="utf-8")
    pd.testing.assert_frame_equal(store.predictions("a"), frame)
    assert store.manifest("a") == {"code_hash": "c"}
    assert not list(store.cells.glob("*/.*"))


def test_a_failed_cell_is_done(store: ResultStore) -> None:
    store.write("a", failed("a", {}, "not_finite", "loss is NaN at step 3"), None, {})
    assert store.done_ids() == {"a"}
    assert store.failures()["a"].failure.kind == "not_finite"


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"schema": 1, "id": "a", "sta',
        "[]",
        json.dumps(result("b")),
        json.dumps(result("a", extra=1)),
        json.dumps(result("a", schema=2)),
    ],
    ids=["empty", "half", "list", "other cell", "unknown key", "other schema"],
)
def test_a_file_that_does_not_count_is_moved_aside(store: ResultStore, text: str, caplog: pytest.LogCaptureFixture) -> None:
    store.folder("a").mkdir()
    (store.folder("a") / "result.json").write_text(text, encoding="utf-8")
    (store.folder("a") / ".result.json.7.tmp").write_text("half", encoding="utf-8")
    assert isinstance(store.read("a"), Invalid)
    assert store.done_ids() == set()
    with caplog.at_level(logging.WARNING):
        store.repair()
    assert "result.json" in caplog.text
    assert "result.invalid-1.json" in caplog.text
    assert [path.name for path in store.folder("a").iterdir()] == ["result.invalid-1.json"]
    (store.folder("a") / "result.json").write_text(text, encoding="utf-8")
    store.repair()
    assert len(store.moved_aside()) == 2


def test_a_full_disk_loses_nothing_earlier(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("a", result("a"), None, {})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FilaError, match=r"cell b .*No space left.*1 finished cells are kept"):
        store.write("b", result("b"), None, {})
    monkeypatch.undo()
    assert store.done_ids() == {"a"}
    assert not list(store.cells.glob("*/.*"))


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FilaError, match=r"--out: .*cannot be written"):
        ResultStore(tmp_path / "file" / "study").open()


def test_a_result_is_not_written_for_another_cell(store: ResultStore) -> None:
    with pytest.raises(ValueError, match="cell a handed in for cell b"):
        store.write("b", result("a"), None, {})
