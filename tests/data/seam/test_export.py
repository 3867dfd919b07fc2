"""An export holds the suite's own items, has the same bytes however it was made, and is there as a whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fila_lab.config.base import FilaError
from fila_lab.config.data import SeamConfig
from fila_lab.config.files import temporary_path
from fila_lab.config.geometry import GeometryConfig
from fila_lab.data import parallel
from fila_lab.data.seam import SeamSuite
from fila_lab.data.seam import export as export_module
from fila_lab.data.seam.export import export
from fila_lab.data.suite import Heading, Opening, Turn, open_suite

DATA = SeamConfig(page_scale=1, text_height=(10, 14), tasks={"reading": 0.4, "chart": 0.3, "spatial": 0.3})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, geometry: GeometryConfig) -> Path:
    folder = tmp_path_factory.mktemp("export") / "items"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_module, "CHUNK", 3)
        counts = export(DATA, geometry, "test", 7, folder)
    assert sum(counts.values()) == 7
    return folder


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_files_say_what_the_suite_says(exported: Path, geometry: GeometryConfig) -> None:
    talks = json.loads((exported / "test.json").read_text(encoding="utf-8"))
    table = pd.read_parquet(exported / "test.parquet")
    assert len(talks) == len(table) == 3 * 7
    suite = SeamSuite(DATA, geometry)
    for index in (0, 6):
        for place, item in enumerate(suite.triplet("test", index)):
            talk, line = talks[3 * index + place], table.iloc[3 * index + place]
            assert [turn["from"] for turn in talk["conversations"]] == ["human", "gpt"]
            assert [turn["value"] for turn in talk["conversations"]] == [f"<image>\n{item.question}", item.answer]
            assert (line["item_id"], line["place"], line["task"], line["evidence"]) == (
                item.item_id, item.place, item.task, item.evidence,
            )  # fmt: skip
            assert tuple(line[["x0", "y0", "x1", "y1"]]) == item.target_box
            assert len(json.loads(line["marks"])) == len(item.glyphs)
            with Image.open(exported / talk["image"]) as image:
                assert np.array_equal(np.asarray(image), np.asarray(item.image))
    card = (exported / "README.md").read_text(encoding="utf-8")
    assert "`chart`" in card
    assert "`table`" not in card


@pytest.mark.parametrize("split", ["test", "train"])
def test_what_is_exported_comes_back_as_it_was(split: str, exported: Path, geometry: GeometryConfig, tmp_path: Path) -> None:
    """Through the suite of LLaVA-format files: the same questions, answers, tasks and pixels, in the same order."""
    folder = exported
    if split == "train":
        folder = tmp_path / "items"
        export(DATA, geometry, split, 4, folder)
    suite = SeamSuite(DATA, geometry)
    drawn = [item for index in range(7) for item in suite.triplet("test", index)] if split == "test" else [
        suite.item("train", index) for index in range(4)
    ]  # fmt: skip
    read = open_suite("llava", Opening({"path": str(folder), "task": "data_source"}, geometry, tmp_path / "cache"))
    assert read.splits() == (split,)
    assert read.length(split) == len(drawn)
    assert len(read.set_aside(split)) == 0
    assert set(read.tasks()) == {item.task for item in drawn}
    for index, item in enumerate(drawn):
        (back,) = read.items(split, index)
        assert back.turns == (Turn(item.question, (item.answer,)),)
        assert (back.item_id, back.task) == (f"{item.item_id}-{item.place}", item.task)
        assert read.heading(split, index) == Heading(item.task, item.image.size)
        assert np.array_equal(np.asarray(back.pixels()), np.asarray(item.image))


def test_two_workers_write_the_same_bytes(
    exported: Path, geometry: GeometryConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "CHUNK", 4)
    monkeypatch.setattr(parallel, "CHUNKS_A_WORKER", 1)
    said: list[tuple[str, int, int]] = []
    export(DATA, geometry, "test", 7, tmp_path / "twin", workers=2, progress=lambda *words: said.append(words))
    assert said[-1] == ("exporting test items", 7, 7)
    assert _bytes(tmp_path / "twin") == _bytes(exported)


def test_a_stopped_export_goes_on_and_a_finished_one_stays(
    exported: Path, geometry: GeometryConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "CHUNK", 3)
    whole, drawn = export_module._Exporter.__call__, []

    def stop_after_one(self: object, span: tuple[int, int]) -> int:
        if drawn:
            raise KeyboardInterrupt
        drawn.append(span)
        return whole(self, span)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(export_module._Exporter, "__call__", stop_after_one)
        with pytest.raises(KeyboardInterrupt):
            export(DATA, geometry, "test", 7, tmp_path / "items")
    assert not (tmp_path / "items").exists()
    (partial,) = tmp_path.iterdir()
    temporary_path(partial / "images" / "half.png").write_bytes(b"")  # as a killed process leaves it
    done: list[int] = []
    export(DATA, geometry, "test", 7, tmp_path / "items", progress=lambda what, n, total: done.append(n))
    assert done[0] > 3, "the first chunk is not drawn again"
    assert _bytes(tmp_path / "items") == _bytes(exported)
    assert [path.name for path in tmp_path.iterdir()] == ["items"]
    done.clear()
    assert sum(export(DATA, geometry, "test", 7, tmp_path / "items", progress=lambda *words: done.append(words[1])).values()) == 7
    assert not done


def test_what_cannot_be_written_is_named(exported: Path, geometry: GeometryConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FilaError, match=r"out=.*holds something else"):
        export(DATA, geometry, "test", 8, exported)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FilaError, match=r"out=.*another folder"):
        export(DATA, geometry, "test", 2, tmp_path / "file" / "below")
    with pytest.raises(FilaError, match="items=0"):
        export(DATA, geometry, "test", 0, tmp_path / "none")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(export_module, "write_atomically", full)
    with pytest.raises(FilaError, match=r"out=.*No space left.*free space"):
        export(DATA, geometry, "val", 2, tmp_path / "full")


@pytest.mark.parametrize("card", ["", "[]", "{", "{}", '{"key": 7}', "of somebody"])
def test_a_folder_of_somebody_is_refused_untouched(geometry: GeometryConfig, tmp_path: Path, card: str) -> None:
    (tmp_path / "export.json").write_text(card, encoding="utf-8")
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FilaError, match=r"out=.*holds something else"):
        export(DATA, geometry, "test", 2, tmp_path)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {"export.json": card, "mine.txt": "mine"}


@pytest.mark.parametrize("damage", ["chunk empty", "chunk garbage", "page empty", "page cut", "page missing"])
def test_what_a_lost_machine_left_torn_is_drawn_again(damage: str, geometry: GeometryConfig, tmp_path: Path) -> None:
    export(DATA, geometry, "val", 3, tmp_path / "whole")
    right = {path.name: path.read_bytes() for path in (tmp_path / "whole").rglob("*") if path.is_file()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_module, "data_card", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            export(DATA, geometry, "val", 3, tmp_path / "cut")
    (partial,) = tmp_path.glob("cut.partial-*")
    what, _, how = damage.partition(" ")
    path = next((partial / ("chunks" if what == "chunk" else "images")).iterdir())
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "garbage": b"{\n", "cut": path.read_bytes()[:100]}[how])
    export(DATA, geometry, "val", 3, tmp_path / "cut")
    assert {path.name: path.read_bytes() for path in (tmp_path / "cut").rglob("*") if path.is_file()} == right
