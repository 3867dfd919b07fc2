"""A cell that trains on files and is tested on files: exported pages in LLaVA's format in, a benchmark's own score out."""

from __future__ import annotations

import itertools
import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_run import tiny

from fila_lab.config import ConfigError, FilaError, RunConfig
from fila_lab.data.pool import TEXT
from fila_lab.data.sampler import BucketBatches
from fila_lab.data.seam.export import export
from fila_lab.data.suite import SetAside
from fila_lab.evaluation import SCORES
from fila_lab.studies.identity import cell_id
from fila_lab.training import FilaModule, cell, run_cell
from fila_lab.training.data import CellData, open_data
from fila_lab.training.record import Recorder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train`: 24 exported items; `docvqa`: 5 others in DocVQA's own layout, two of them about one page."""
    folder = tmp_path_factory.mktemp("files")
    config = tiny()
    export(config.data.seam, config.geometry, "train", 24, folder / "train")
    export(config.data.seam, config.geometry, "val", 4, folder / "docvqa")
    rows = json.loads((folder / "docvqa" / "val.json").read_text(encoding="utf-8"))
    asked = [
        {
            "questionId": number,
            "question": row["conversations"][0]["value"].removeprefix("<image>\n"),
            "answers": [row["conversations"][1]["value"], "either"],
            "image": row["image"],
            "question_types": ["others"],
        }
        for number, row in enumerate([*rows, rows[0]])
    ]
    (folder / "docvqa" / "val_v1.0_withQT.json").write_text(json.dumps({"data": asked}), encoding="utf-8")
    return folder


def on_files(files: Path, **more: object) -> RunConfig:
    return tiny(
        **{
            "data__train": {"suite": "llava", "path": str(files / "train"), "options": {"validate_share": 0.25}},
            "data__train_items": None,
            "data__val_items": None,
            "data__evaluate": {"docvqa": {"path": str(files / "docvqa")}},
            "data__workers": 0,
            "train__steps": 3,
            "train__validate_every": 3,
            **more,
        }
    )


def test_rows_that_cannot_be_used_are_told_before_any_rank_starts(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = json.loads((files / "train" / "train.json").read_text(encoding="utf-8"))
    (tmp_path / "bad.json").write_text(json.dumps([{**row, "conversations": 3} for row in rows[:9]] + rows[9:]), encoding="utf-8")
    monkeypatch.setattr(cell, "run_ranks", lambda *_: pytest.fail("ranks were started"))
    source = {"suite": "llava", "path": str(tmp_path / "bad.json"), "images": str(files / "train"), "options": {"validate_share": 0.25}}
    outcome = run_cell(on_files(files, data__train=source, runtime__devices=2), workdir=tmp_path / "work", cache_dir=tmp_path / "cache")
    assert outcome.result["failure"]["kind"] == "bad_input"
    assert "9 of 20 rows cannot be used, more than data.bad_rows=0.01" in outcome.result["failure"]["message"]


@pytest.mark.parametrize("fusion", ["none", pytest.param("concat", marks=pytest.mark.slow)])
def test_a_cell_trains_on_files_and_is_scored_as_the_benchmark_scores(files: Path, fusion: str, tmp_path: Path) -> None:
    outcome = run_cell(on_files(files, fusion__name=fusion), workdir=tmp_path / "work", cache_dir=tmp_path / "cache")
    assert outcome.result["failure"] is None, outcome.result["failure"]
    predictions = outcome.predictions
    assert predictions is not None
    assert len(predictions) == 5
    own = [SCORES["anls"](row.prediction, tuple(row.answers)) for row in predictions.itertuples()]
    assert predictions["score"].tolist() == own
    metrics = outcome.result["metrics"]
    assert metrics == {"anls/docvqa": pytest.approx(sum(own) / 5), "n/docvqa": 5.0}
    assert "others" in str(outcome.result["benchmarks"]["docvqa"])
    assert set(outcome.provenance["data_hash"]) == {"train", "val", "docvqa"}
    assert outcome.result["validation"], "rows of the training file that were kept apart"
    assert set(outcome.result["answers"]) == {"val", "docvqa"}
    assert outcome.result["answers"]["docvqa"]["given"] == 5
    assert outcome.result["set_aside"] == {}


def test_what_other_processes_are_given_makes_the_same_batches_there(files: Path, tmp_path: Path) -> None:
    """Workers are spawned: all of a stream goes through pickle."""
    config = on_files(files, fusion__name="none")
    pools = open_data(config, tmp_path / "cache", ("train", "test"))
    tokenizer = FilaModule.from_config(config, True).model.tokenizer
    data = CellData(config, pools | {"val": pools["train"]}, dict.fromkeys([*pools, "val"]), tokenizer)
    for made in (data.train_dataloader(), *data.predict_dataloader()):
        here, there = (next(iter(stream)) for stream in (made.dataset, pickle.loads(pickle.dumps(made.dataset))))
        assert torch.equal(here.labels, there.labels)
        assert torch.equal(here.vision.input_ids, there.vision.input_ids)
        assert torch.equal(here.vision.tiles, there.vision.tiles)
        assert (here.rows, here.answers, here.scores) == (there.rows, there.answers, there.scores)


@pytest.mark.slow
def test_worker_processes_change_no_result(files: Path, tmp_path: Path) -> None:
    alone, helped = (
        run_cell(
            on_files(files, fusion__name="concat", data__workers=workers), workdir=tmp_path / str(workers), cache_dir=tmp_path / "cache"
        )
        for workers in (0, 2)
    )
    assert helped.result["failure"] is None, helped.result["failure"]
    assert (helped.result["metrics"], helped.result["curve"]) == (alone.result["metrics"], alone.result["curve"])
    assert helped.predictions is not None
    assert alone.predictions is not None
    assert helped.predictions.equals(alone.predictions)


def test_a_damaged_image_is_set_aside_and_too_many_stop_the_cell(files: Path, tmp_path: Path) -> None:
    asked = json.loads((files / "docvqa" / "val_v1.0_withQT.json").read_text(encoding="utf-8"))["data"]
    page = files / "docvqa" / asked[0]["image"]
    assert [row["image"] for row in asked].count(asked[0]["image"]) == 2
    whole = page.read_bytes()
    page.write_bytes(whole[: len(whole) // 2])
    try:
        few = run_cell(on_files(files, fusion__name="none", data__bad_rows=0.5), workdir=tmp_path / "a", cache_dir=tmp_path / "cache")
        assert few.result["failure"] is None, few.result["failure"]
        (reason,) = few.result["set_aside"]["unreadable"].values()
        assert reason["rows"] == 2
        assert page.name in reason["first"]
        assert few.predictions is not None
        assert len(few.predictions) == 3
        stopped = run_cell(on_files(files, fusion__name="none", data__bad_rows=0.0), workdir=tmp_path / "b", cache_dir=tmp_path / "cache")
        assert stopped.result["failure"]["kind"] == "bad_input"
        assert "data.bad_rows" in stopped.result["failure"]["message"]
    finally:
        page.write_bytes(whole)


def test_unusable_rows_count_against_their_own_pool(files: Path, tmp_path: Path) -> None:
    """A training file of which no row fits is no share of many test rows; rows of one id in two pools are two."""
    for name, words, rows in (("long", 200, 4), ("fine", 1, 90)):
        talks = [[{"from": "human", "value": "w" * words}, {"from": "gpt", "value": "x"}] for _ in range(rows)]
        content = [{"id": f"{number}", "conversations": talk} for number, talk in enumerate(talks)]
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    long, fine = ({"suite": "llava", "path": str(tmp_path / f"{name}.json")} for name in ("long", "fine"))
    more = {"language__max_tokens": 120, "data__bad_rows": 0.9, "fusion__name": "none"}
    lost = run_cell(on_files(files, data__train=long, data__validate=fine, **more), workdir=tmp_path / "a", cache_dir=tmp_path / "cache")
    assert lost.result["failure"]["kind"] == "bad_input"
    assert "4 of 4 rows of train cannot be used" in lost.result["failure"]["message"]
    recorder = Recorder(1, None, 1, 1)
    recorder.rows, recorder.bad_rows = {"train": 10, "val": 10}, 0.5
    for pool in ("train", "val"):
        recorder._set_aside(SimpleNamespace(aside=[SetAside(f"{number}", "unreadable", "") for number in range(5)]), pool)
    assert len(recorder.aside) == 10
    with pytest.raises(FilaError, match=r"6 of 10 rows of val cannot be used, more than data\.bad_rows=0\.5"):
        recorder._set_aside(SimpleNamespace(aside=[SetAside("9", "unreadable", "")]), "val")


def test_an_id_follows_contents_not_paths(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILA_LAB_CACHE", str(tmp_path / "cache"))
    first = cell_id(on_files(files))
    moved = tmp_path / "moved"
    moved.symlink_to(files)
    assert cell_id(on_files(moved)) == first
    assert cell_id(on_files(files, data__workers=3)) == first
    questions = files / "docvqa" / "val_v1.0_withQT.json"
    text = questions.read_text(encoding="utf-8")
    questions.write_text(text.replace("either", "neither"), encoding="utf-8")
    try:
        assert cell_id(on_files(files)) != first
    finally:
        questions.write_text(text, encoding="utf-8")


def test_truth_is_refused_by_name_and_so_is_a_suite_without_validation_rows(files: Path, tmp_path: Path) -> None:
    oracle = run_cell(on_files(files, fusion__name="concat", fusion__control="oracle_map"), workdir=tmp_path / "o", cache_dir=tmp_path)
    assert "without glyphs" in oracle.result["failure"]["message"]
    train = {"suite": "llava", "path": str(files / "train")}
    bare = run_cell(on_files(files, data__train=train), workdir=tmp_path / "v", cache_dir=tmp_path)
    assert "data.validate" in bare.result["failure"]["message"]
    with pytest.raises((ConfigError, FilaError), match="train"):
        on_files(files, data__evaluate={"train": {"path": "x"}})


@pytest.mark.parametrize("fusion", ["none", pytest.param("concat", marks=pytest.mark.slow)])
def test_rows_of_text_alone_train_beside_those_with_images(files: Path, fusion: str, tmp_path: Path) -> None:
    rows = json.loads((files / "train" / "train.json").read_text(encoding="utf-8"))
    turns = [{"from": "human", "value": "What is one and one?"}, {"from": "gpt", "value": "two"}]
    alone = [{"id": f"alone-{number}", "conversations": turns} for number in range(24)]
    mixed = files / "train" / "mixed.json"
    mixed.write_text(json.dumps([*rows, *alone]), encoding="utf-8")
    data = {"suite": "llava", "path": str(mixed), "images": str(files / "train"), "options": {"validate_share": 0.25}}
    config = on_files(files, fusion__name=fusion, data__train=data, train__steps=6)
    pool = open_data(config, tmp_path / "cache", ("train",))["train"]
    trained = list(itertools.islice(BucketBatches(pool.canvases.tolist(), range(len(pool)), 8, config.seed).epochs(), 6))
    assert {TEXT} < {name for batch in trained for name in pool.canvases[batch]}
    outcome = run_cell(config, workdir=tmp_path / "work", cache_dir=tmp_path / "cache")
    assert outcome.result["failure"] is None, outcome.result["failure"]
    assert outcome.result["set_aside"] == {}
