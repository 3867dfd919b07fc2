"""The folder of results: what counts as done, and what a fault leaves behind."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fila_lab.config import FilaError
from fila_lab.config.renamed import SCHEMA
from fila_lab.studies.result import AnswerCounts, failed
from fila_lab.studies.store import Invalid, ResultStore


def result(cell_id: str, **changes: Any) -> dict[str, Any]:
    done = {
        "schema": SCHEMA,
        "id": cell_id,
        "status": "done",
        "config": {},
        "metrics": {"exact/mean": 0.1 + 0.2},
        "validation": {},
        "curve": [],
    }
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


def test_a_digest_is_that_of_the_files_bytes(store: ResultStore) -> None:
    store.write("c1", result("c1"), None, {})
    content = (store.folder("c1") / "result.json").read_bytes()
    assert store.digest("c1") == hashlib.sha256(content).hexdigest()[:16]


def test_answers_that_were_not_counted_as_empty_are_none() -> None:
    """Results from before there was this count."""
    assert AnswerCounts.model_validate({"given": 5, "cut_off": 1}).empty == 0


def test_a_failed_cell_is_done(store: ResultStore) -> None:
    store.write("a", failed("a", {}, "not_finite", "loss is NaN at step 3"), None, {})
    assert store.done_ids() == {"a"}
    assert store.failures()["a"].failure.kind == "not_finite"


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"schema": 2, "id": "a", "sta',
        "[]",
        json.dumps(result("b")),
        json.dumps(result("a", extra=1)),
        json.dumps(result("a", schema=0)),
        json.dumps(result("a", metrics={"exact/mean": float("nan")})),
        json.dumps(result("a", timing={"total": float("inf")})),
        json.dumps(result("a", metrics={"exact/mean": "0.5"})),
        json.dumps(result("a", metrics={"exact/mean": 10**400})),
        "[" * 100_000,
    ],
    ids=["empty", "half", "list", "other cell", "unknown key", "other schema", "NaN", "infinite", "text", "beyond floats", "too deep"],
)
def test_a_file_that_does_not_count_is_moved_aside(store: ResultStore, text: str, caplog: pytest.LogCaptureFixture) -> None:
    store.folder("a").mkdir()
    (store.folder("a") / "result.json").write_text(text, encoding="utf-8")
    (store.folder("a") / ".result.json.7.tmp").write_text("half", encoding="utf-8")
    found = store.read("a")
    assert isinstance(found, Invalid)
    assert found.path == store.folder("a") / "result.json"
    assert found.reason
    assert store.invalid() == [found]
    assert store.done_ids() == set()
    with caplog.at_level(logging.WARNING):
        assert store.repair() == [found]
    assert "result.json" in caplog.text
    assert "result.invalid-1.json" in caplog.text
    assert [path.name for path in store.folder("a").iterdir()] == ["result.invalid-1.json"]
    (store.folder("a") / "result.json").write_text(text, encoding="utf-8")
    store.repair()
    assert len(store.moved_aside()) == 2


def test_what_a_killed_driver_left_is_cleared_wherever_it_lies_and_whoever_wrote_it(store: ResultStore) -> None:
    """Of this and of other hosts, where nobody else writes; in a cell's folder and in that of all."""
    store.write("a", result("a"), None, {})
    there = [folder / f".result.json.other-host-{os.getpid()}.tmp" for folder in (store.folder("a"), store.cells)]
    for path in there:
        path.write_text("half", encoding="utf-8")
    store.repair()
    assert not any(path.exists() for path in there)
    assert store.get("a") is not None


def test_what_was_moved_aside_before_is_never_written_over(store: ResultStore) -> None:
    """Whichever of the earlier ones somebody has cleared away."""
    store.folder("a").mkdir()
    for name in ("result.invalid-2.json", "result.invalid-4.json"):
        (store.folder("a") / name).write_text(name, encoding="utf-8")
    for text in ("one", "two", "three"):
        (store.folder("a") / "result.json").write_text(text, encoding="utf-8")
        store.repair()
    kept = [path.read_text(encoding="utf-8") for path in store.moved_aside()]
    assert kept == ["one", "result.invalid-2.json", "two", "result.invalid-4.json", "three"]


@pytest.mark.parametrize("text", ["", "[1]", '[["code_hash", "c"]]', '"x"', "5", "[" * 100_000])
def test_a_manifest_that_is_none_says_nothing(store: ResultStore, text: str) -> None:
    store.write("a", result("a"), None, {"code_hash": "c"})
    (store.folder("a") / "manifest.json").write_text(text, encoding="utf-8")
    assert store.manifest("a") == {}


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


def test_results_are_those_that_count_by_id(store: ResultStore) -> None:
    assert store.ids() == []
    for name in ("b", "a"):
        store.write(name, result(name), None, {})
    store.write("c", failed("c", {"seed": 3}, "error", "broken", "lines", seconds=2.5), None, {"code_hash": "x"})
    (store.folder("d")).mkdir()
    (store.cells / "file").write_text("", encoding="utf-8")
    assert store.ids() == ["a", "b", "c"]
    assert list(store.results()) == ["a", "b", "c"]
    assert list(store.results(["b", "d", "x"])) == ["b"]
    assert store.read("d") is store.get("d") is store.read("file") is store.predictions("a") is None
    assert store.manifest("a") == store.manifest("d") == {}
    own = store.failures()
    assert list(own) == ["c"]
    assert own["c"].timing == {"total": 2.5}
    assert own["c"].failure is not None
    assert (own["c"].seed, own["c"].failure.message) == (3, "broken")
    whole = store.results(["c"])["c"]
    assert whole.failure is not None
    assert (whole.config, whole.failure.traceback) == ({"seed": 3}, "lines")
    assert failed("c", {}, "error", "broken")["timing"] == {}


def test_numbers_of_any_library_are_written(store: ResultStore) -> None:
    import numpy as np

    numbers = {"exact/mean": np.float32(0.5), "n/reading": np.int64(3), "seam_gap/x": np.float64("nan")}
    given = result("a", metrics=numbers, timing={"total": np.inf}, curve=[{"step": np.int64(1), "loss": np.nan, "learning_rate": 0.1}])
    written = store.write("a", given, None, {"sizes": (1, np.int32(2)), 3: float("-inf")})
    assert written == store.get("a")
    assert written.metrics == {"exact/mean": 0.5, "n/reading": 3, "seam_gap/x": None}
    assert written.timing == {"total": None}
    assert (written.curve[0].step, written.curve[0].loss) == (1, None)
    assert store.manifest("a") == {"sizes": [1, 2], "3": None}
