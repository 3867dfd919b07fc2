"""A cell that is run again comes out bit-equal, or what differs is said with its size; nothing is written where it is kept."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import fake_cell
import pandas as pd
import pytest
from thin_study import CELL, STUDY, Bench

from fila_lab.cli import main
from fila_lab.config import ConfigError, MachineError
from fila_lab.studies import reproduce as room
from fila_lab.studies import runner
from fila_lab.studies.agreement import differences, differing_predictions
from fila_lab.studies.cell_names import cell_of_path, find_cell
from fila_lab.studies.folder import read_plan
from fila_lab.studies.publish import publish


@pytest.fixture(autouse=True)
def on_fake_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "reproduce", partial(room.reproduce, engine="inline", cell_function=CELL))
    monkeypatch.setattr(room, "code_hash", lambda *_: "code")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the thin study with its tuning, run once."""
    bench = Bench(tmp_path_factory.mktemp("whole"))
    bench.file.write_text(STUDY.replace("trials: 4", "trials: 1"), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "code_hash", lambda *_: "code")
        bench.run(budget="full")
    return bench.out


@pytest.fixture
def ran(bench: Bench, whole: Path) -> Bench:
    shutil.copytree(whole, bench.out)
    return bench


def again(root: Path, cell: str, tmp_path: Path) -> room.Reproduction:
    return room.reproduce(find_cell(root, cell), tmp_path / "cache", lambda _: None)


def contents(root: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_cell_of_the_first_instrument_is_refused(tmp_path: Path) -> None:
    cell = Path(__file__).parents[2] / "experiments" / "results" / "remove_fusion"
    with pytest.raises(ConfigError, match=r"none seed 0 .*: its weights package:mini_vit, .* no longer shipped; .* mini_vit\.safetensors"):
        again(cell, "none:0", tmp_path)


def test_every_cell_of_a_run_and_of_its_published_form_is_bit_equal(ran: Bench, tmp_path: Path) -> None:
    published = tmp_path / "published"
    publish(ran.out, published)
    for root in (ran.out, published):
        before = contents(root)
        plan = read_plan(root)
        assert plan is not None
        ids = [cell["id"] for cell in plan["cells"]]
        assert {cell["phase"] for cell in plan["cells"]} == {"main", "tuning"}
        for cell_id in ids[::3]:
            made = again(root, cell_id, tmp_path)
            assert made.equal, made.differences
            assert made.unlike == ()
        assert contents(root) == before


def test_what_differs_is_said_with_its_size_and_what_was_unlike(ran: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = find_cell(ran.out, "concat:1")
    folder = ran.store.folder(cell.id)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    result["metrics"]["exact/reading"] += 0.125
    result["curve"][2]["loss"] += 0.5
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    frame = pd.read_parquet(folder / "predictions.parquet")
    frame.loc[0, "prediction"] = "Z"
    frame.to_parquet(folder / "predictions.parquet", index=False)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["versions"]["torch"] = "1.0"
    manifest["code_hash"] = "older"
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    made = again(ran.out, "concat:1", tmp_path)
    by_part = {found.part: found for found in made.differences}
    assert {name: (found.differing, found.size) for name, found in by_part.items()} == {
        "metrics": (1, pytest.approx(0.125)),
        "curve": (1, pytest.approx(0.5)),
        "predictions": (1, None),
    }
    assert "prediction 'Z' -> " in by_part["predictions"].examples[0]
    assert by_part["curve"].examples[0].startswith(f"step {result['curve'][2]['step']} loss: ")
    assert any(line.startswith("code: older -> code") for line in made.unlike)
    assert any(line.startswith("version of torch: 1.0 -> ") for line in made.unlike)


def test_a_failed_cell_is_reproduced_by_failing_in_the_same_way(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "concat")
    bench.run()
    assert again(bench.out, "concat:0", tmp_path).equal
    monkeypatch.delenv("FAKE_FAIL")
    parts = {found.part for found in again(bench.out, "concat:0", tmp_path).differences}
    assert parts >= {"status", "failure", "metrics", "predictions"}


def test_a_pruned_cell_is_stopped_where_it_was(bench: Bench, tmp_path: Path) -> None:
    bench.run(overrides={"train.validate_every": 2})
    cell = find_cell(bench.out, "concat:0")
    stopped = fake_cell.run_cell(cell.config, workdir=tmp_path, cache_dir=tmp_path, stop=room.StopAt(4))
    assert stopped.result["pruned"]["step"] == 4
    bench.store.write(cell.id, {**stopped.result, "id": cell.id}, None, dict(cell.manifest))
    (bench.store.folder(cell.id) / "predictions.parquet").unlink()
    assert again(bench.out, "concat:0", tmp_path).differences == ()
    assert find_cell(bench.out, "concat:0").result.status == "pruned"


def test_a_machine_that_fails_is_no_difference(ran: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "broken"
    mark.touch()
    monkeypatch.setenv("FAKE_FAULT", "all:28")
    monkeypatch.setenv("FAKE_FAULT_WHILE", str(mark))
    with pytest.raises(MachineError, match="No space left"):
        again(ran.out, "concat:0", tmp_path)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("concta:0", r"did you mean 'concat'.*choose none, concat, addition"),
        ("concat:7", "no seed 7 in .*choose 0, 1"),
        ("0123", "no such cell in "),
        ("", "no such cell in "),
    ],
)
def test_a_word_that_means_no_cell_is_one_message(ran: Bench, word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_cell(ran.out, word)


def test_a_beginning_that_several_ids_have_is_told_as_such(ran: Bench) -> None:
    plan = json.loads((ran.out / "plan.json").read_text(encoding="utf-8"))
    for number, cell in enumerate(plan["cells"]):
        cell["id"] = f"abc{number}"
    (ran.out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"CELL = abc: 6 cells of .* begin so \(abc0, abc1, abc2 and 3 more\); give more of the id"):
        find_cell(ran.out, "abc")


def test_a_cell_without_a_result_or_with_one_that_does_not_count_is_refused(ran: Bench) -> None:
    cell = find_cell(ran.out, "concat:0")
    assert find_cell(ran.out, cell.id[:8]).id == cell.id, "the beginning of an id will do"
    (ran.store.folder(cell.id) / "result.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="its result does not count"):
        find_cell(ran.out, "concat:0")
    shutil.rmtree(ran.store.folder(cell.id))
    with pytest.raises(ConfigError, match="it has no result yet"):
        find_cell(ran.out, cell.id)
    assert cell_of_path(ran.out / "cells" / find_cell(ran.out, "concat:1").id) is not None
    assert cell_of_path(ran.out) is None


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


def test_the_verbs_exit_codes(ran: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cell = find_cell(ran.out, "concat:0")
    cache = ["--cache", str(tmp_path / "cache")]
    for words in (["concat:0", "--out", str(ran.out)], [cell.id, "--study", str(ran.out)], [str(ran.store.folder(cell.id))]):
        assert call("reproduce", *words, *cache) == 0
        assert f"concat seed 0 ({cell.id})" in (told := capsys.readouterr().out)
        assert "bit-equal" in told
    result = ran.store.folder(cell.id) / "result.json"
    result.write_text(result.read_text(encoding="utf-8").replace('"n/reading": 40', '"n/reading": 41'), encoding="utf-8")
    assert call("reproduce", "concat:0", "--out", str(ran.out), *cache) == 3
    told = capsys.readouterr().out
    assert "differs" in told
    assert "metrics: 1 of 3 differ, by 1 at most (n/reading: 41.0 -> 40.0)" in told
    assert call("reproduce", "concat:0") == 2
    assert "whose? give --study STUDY" in capsys.readouterr().err
    assert call("reproduce", str(ran.store.folder(cell.id)), "--out", str(ran.out)) == 2


def test_equal_tables_differ_in_nothing_whatever_their_order(ran: Bench) -> None:
    frame = ran.store.predictions(find_cell(ran.out, "concat:0").id)
    assert frame is not None
    assert differing_predictions(frame, frame.iloc[::-1][sorted(frame.columns)]) is None
    lost = differing_predictions(frame, frame.iloc[:1])
    assert lost is not None
    assert (lost.differing, lost.of) == (1, 2)
    repeated = pd.concat([frame, frame])
    assert differing_predictions(repeated, repeated) is None
    found = differing_predictions(repeated, frame)
    assert found is not None
    assert found.differing == 2


def test_a_loss_of_validation_that_an_older_result_does_not_tell_is_no_difference(ran: Bench) -> None:
    older = find_cell(ran.out, "concat:0").result
    newer, other = (
        older.model_copy(update={"curve": tuple(point.model_copy(update={"validation_loss": loss}) for point in older.curve)})
        for loss in (0.5, 0.25)
    )
    assert older.curve
    assert differences(older, newer) == differences(newer, newer) == []
    assert [found.part for found in differences(newer, other)] == ["curve"]


def test_times_are_no_difference(ran: Bench) -> None:
    cell = find_cell(ran.out, "concat:0")
    slower: Any = cell.result.model_copy(update={"timing": {"total": 1e4}})
    assert differences(cell.result, slower) == []
