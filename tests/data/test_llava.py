"""The suite of files in LLaVA's format: what becomes of rows and images, what identity says, and what the cache is believed."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llava_files import draw, opened, reasons, said, talk, write
from PIL import Image

from fila_lab.config.base import FilaError, MachineError
from fila_lab.data import image_look
from fila_lab.data.llava import index as index_module
from fila_lab.data.llava.mix import Source, sampled
from fila_lab.data.suite import UnusableRow, open_suite

ROWS: list[dict[str, Any]] = [
    {"id": "a", "image": "x.png", "conversations": talk("<image>\nWhat?", "one", "And?", "two")},
    {"id": "b", "image": "deep/y.png", "conversations": talk("Where?\n<image>", "here")},
    {"id": 3, "conversations": talk("Name a prime.", "7")},
    {"id": "a", "image": "x.png", "conversations": talk("<image> Who?", "me")},
    {"image": "z.png", "conversations": talk("<image>", "a page")},
]
SAID = [
    ("a", [("What?", "one"), ("And?", "two")], "x.png"),
    ("b", [("Where?", "here")], "deep/y.png"),
    ("3", [("Name a prime.", "7")], ""),
    ("a#3", [("Who?", "me")], "x.png"),
    ("row-5", [("", "a page")], "z.png"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw(tmp_path, "x.png", "deep/y.png", "z.png")
    return tmp_path


@pytest.mark.parametrize("name", ["mine.json", "mine.jsonl", "train.json", "mine.parquet"])
def test_rows_are_items_in_the_file_s_order(folder: Path, name: str) -> None:
    rows = [row | {"id": str(row.get("id", ""))} for row in ROWS] if name.endswith("parquet") else ROWS
    suite = opened(folder / "cache", write(folder / name, rows))
    assert said(suite) == SAID
    assert suite.splits() == ("train",)
    sizes = [suite.heading("train", index).size for index in range(5)]
    assert sizes == [(20, 12), (20, 12), None, (20, 12), (20, 12)]
    first, second, text, again, _ = (suite.items("train", index)[0] for index in range(5))
    assert first.image_id == again.image_id != second.image_id
    assert text.image is None
    with Image.open(folder / "deep/y.png") as image:
        assert np.array_equal(np.asarray(second.pixels()), np.asarray(image))
    (task,) = suite.tasks()
    assert task == first.task == suite.heading("train", 0).task == (folder.name if name == "train.json" else "mine")


@pytest.mark.parametrize("how", ["bytes and path", "bytes", "path", "path alone"])
def test_parquet_with_images_in_it_is_the_same_as_files(folder: Path, how: str) -> None:
    def stored(name: str | None) -> Any:
        if name is None:
            return None
        content = (folder / name).read_bytes()
        if how == "path alone":
            return {"bytes": None, "path": name}
        return {"bytes": content, "path": name} if how == "bytes and path" else content if how == "bytes" else name

    rows = [row | {"id": str(row.get("id", "")), "image": stored(row.get("image"))} for row in ROWS]
    plain = opened(folder / "cache", write(folder / "plain.json", ROWS))
    suite = opened(folder / "cache", write(folder / "elsewhere" / "mine.parquet", rows), images=str(folder))
    assert [line[:2] for line in said(suite)] == [line[:2] for line in said(plain)]
    for index in range(5):
        ours, theirs = suite.items("train", index)[0], plain.items("train", index)[0]
        assert suite.heading("train", index).size == plain.heading("train", index).size
        if theirs.image is not None:
            assert ours.image_id == theirs.image_id
            assert np.array_equal(np.asarray(ours.pixels()), np.asarray(theirs.pixels()))


def huge_png(width: int, height: int) -> bytes:
    """The header of a large image; its pixels are not there."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + body + struct.pack(">I", 4) + b"IDAT" + bytes(4) + struct.pack(">I", zlib.crc32(b"IDAT" + bytes(4)))


def test_bad_rows_are_set_aside_with_reasons_and_the_others_stay(folder: Path) -> None:
    (folder / "text.png").write_text("no image", encoding="utf-8")
    (folder / "empty.png").write_bytes(b"")
    (folder / "huge.png").write_bytes(huge_png(10_000, 10_000))
    (folder / "bomb.png").write_bytes(huge_png(60_000, 60_000))
    (folder / "folder.png").mkdir()
    os.symlink(folder / "x.png", folder / "link.png")
    names = {
        "lost.png": "missing image", "text.png": "damaged image", "empty.png": "damaged image", "huge.png": "image too large",
        "bomb.png": "image too large", "folder.png": "damaged image", "../x.png": "image path", "n" * 300 + ".png": "missing image",
        "link.png": None, "a/../x.png": None, "./deep//y.png": None,
    }  # fmt: skip
    rows = [{"id": f"image {name[:20]}", "image": name, "conversations": talk("<image>", "b")} for name in names]
    rows += [{"id": "no answer", "conversations": talk("a")}, {"id": "half \ud800", "conversations": talk("a", "b")}, 7]
    suite = opened(folder / "cache", write(folder / "mine.json", rows + ROWS))
    expected = {f"image {name[:20]}": reason for name, reason in names.items() if reason}
    expected |= {"no answer": "no answer", "half \\ud800": "no Unicode", "row 14": "no row"}
    assert reasons(suite) == expected
    assert len(said(suite)) == len(ROWS) + 3
    assert len(suite.set_aside("train")) == len(expected)
    for aside in suite.set_aside("train"):
        assert aside.message.startswith("mine.json, row ")
    assert suite.set_aside("train")[-1] == list(suite.set_aside("train"))[-1]
    small = opened(folder / "cache", folder / "mine.json", max_pixels=100)
    assert {name: reason for name, reason in reasons(small).items() if name in ("a", "b")} == {
        "a": "image too large",
        "b": "image too large",
    }


def test_a_large_image_can_be_allowed(folder: Path) -> None:
    (folder / "huge.png").write_bytes(huge_png(10_000, 10_000))
    rows = [*ROWS, {"id": "h", "image": "huge.png", "conversations": talk("<image>", "b")}]
    suite = opened(folder / "cache", write(folder / "mine.json", rows), max_pixels=100_000_000)
    assert suite.heading("train", 5).size == (10_000, 10_000)
    with pytest.raises(UnusableRow) as caught:
        suite.items("train", 5)[0].pixels()
    assert caught.value.aside.reason == "damaged image"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "there are no rows"),
        ([{"question": "a"}, 7], r"none of 2 rows can be used\n.*row 1.*no conversations.*\n.*row 2"),
        ([{"image": f"{n}.png", "conversations": talk("<image>", "b")} for n in range(9)], r"of the 9 images.*'0.png', '1.png', '2.png'"),
        ([ROWS[2], {"image": "lost.png", "conversations": talk("<image>", "b")}], r"none of the 1 images .* 'lost.png'; give the folder"),
        ({"dataset_name": "docvqa", "data": []}, r"none of 1 rows.*no conversations; its fields are 'dataset_name, data'"),
    ],
)  # fmt: skip
def test_a_file_of_which_nothing_can_be_used_is_refused(folder: Path, rows: Any, words: str) -> None:
    with pytest.raises(FilaError, match=f"(?s){words}"):
        opened(folder / "cache", write(folder / "mine.json", rows))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": "lost.json"}, "lost.json does not exist"),
        ({"path": ""}, "empty path"),
        ({"path": "."}, r"holds no train.json"),
        ({"path": "mine.json", "images": "lost"}, "images = .*lost is no folder"),
        ({"path": "mine.json", "splt": "val"}, r"suite llava: .*splt.*did you mean.*split"),
        ({"path": "mine.json", "validate_share": 1.0}, "validate_share"),
        ({"path": "mine.json", "validate_share": 1e-9}, "leaves train or val without a row"),
        ({"path": "mine.json", "split": "val", "validate_share": 0.5}, "there is a val split already"),
        ({}, "path is missing"),
    ],
)
def test_wrong_options_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], words: str) -> None:
    monkeypatch.chdir(folder)
    write(folder / "mine.json", ROWS)
    with pytest.raises(FilaError, match=words):
        open_suite("llava", index_opening(folder, options))


def index_opening(folder: Path, options: dict[str, Any]) -> Any:
    from llava_files import GEOMETRY

    from fila_lab.data.suite import Opening

    return Opening(options, GEOMETRY, folder / "cache")


def test_identity_is_that_of_the_items(folder: Path) -> None:
    """The same for a copy elsewhere and touched files; another one for whatever an item or its place is."""
    path = write(folder / "mine.json", ROWS)
    same = opened(folder / "cache", path).identity("train")
    other = folder / "other"
    draw(other, "x.png", "deep/y.png", "z.png")
    assert opened(folder / "fresh", write(other / "mine.json", ROWS)).identity("train") == same
    os.utime(path, (1, 1))
    os.utime(folder / "x.png", (1, 1))
    assert opened(folder / "cache", path).identity("train") == same
    seen = {same}
    for change in (
        ROWS[:4], ROWS[::-1], [*ROWS[:4], ROWS[4] | {"id": "e"}], [*ROWS[:4], ROWS[4] | {"image": "x.png"}],
        [ROWS[0] | {"conversations": talk("<image>\nWhat?", "one", "And?", "2")}, *ROWS[1:]],
    ):  # fmt: skip
        seen.add(opened(folder / "cache", write(path, change)).identity("train"))
    suite = opened(folder / "cache", write(path, ROWS), task="another")
    seen.add(suite.identity("train"))
    pixels = np.asarray(Image.open(other / "z.png")).copy()
    pixels[5, 7] += 1
    Image.fromarray(pixels).save(other / "z.png")
    seen.add(opened(folder / "fresh", other / "mine.json").identity("train"))
    assert len(seen) == 8


@pytest.mark.parametrize("suffix", ["bmp", "tif"])
def test_a_pixel_in_the_middle_of_a_large_image_is_noticed(folder: Path, suffix: str) -> None:
    """Of formats whose size does not depend on the pixels; with the times set back too."""
    pixels = np.zeros((600, 400, 3), np.uint8)
    path = write(folder / "mine.json", [{"image": f"w.{suffix}", "conversations": talk("<image>", "b")}])
    Image.fromarray(pixels).save(folder / f"w.{suffix}")
    first = opened(folder / "cache", path).identity("train")
    before = (folder / f"w.{suffix}").stat()
    pixels[300, 200] = 1
    Image.fromarray(pixels).save(folder / f"w.{suffix}")
    os.utime(folder / f"w.{suffix}", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (folder / f"w.{suffix}").stat().st_size == before.st_size
    assert opened(folder / "cache", path).identity("train") != first


def test_the_second_opening_reads_neither_rows_nor_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder / "mine.json", ROWS)
    first = opened(folder / "cache", path)
    monkeypatch.setattr(index_module, "json_rows", lambda *_: pytest.fail("rows are listed again"))
    monkeypatch.setattr(image_look, "look_at_content", lambda *_: pytest.fail("an image is read again"))
    second = opened(folder / "cache", path)
    assert second.identity("train") == first.identity("train")
    assert said(second) == SAID


def test_of_images_that_changed_those_alone_are_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder / "mine.json", ROWS)
    opened(folder / "cache", path)
    draw(folder, "z.png", size=(9, 9))
    draw(folder, "new.png")
    write(path, [*ROWS, {"image": "new.png", "conversations": talk("<image>", "b")}])
    read: list[str] = []
    whole = image_look.look_at_content
    monkeypatch.setattr(image_look, "look_at_content", lambda content, name, *rest: read.append(name) or whole(content, name, *rest))
    suite = opened(folder / "cache", path)
    assert sorted(name.rpartition("/")[2] for name in read) == ["new.png'", "z.png'"]
    assert suite.heading("train", 4).size == (9, 9)


@pytest.mark.parametrize(("stop", "left"), [(0, 10), (5, 6)])  # whole chunks of two are kept
def test_an_interrupted_look_goes_on_where_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch, stop: int, left: int) -> None:
    names = [f"{n}.png" for n in range(10)]
    draw(folder, *names)
    path = write(folder / "mine.json", [{"image": name, "conversations": talk("<image>", "b")} for name in names])
    monkeypatch.setattr(image_look, "CHUNK", 2)
    whole, read = image_look.look_at_content, []

    def stopped(content: bytes, name: str, *rest: Any) -> Any:
        if len(read) == stop:
            raise KeyboardInterrupt
        read.append(name)
        return whole(content, name, *rest)

    monkeypatch.setattr(image_look, "look_at_content", stopped)
    with pytest.raises(KeyboardInterrupt):
        opened(folder / "cache", path)
    again: list[str] = []
    monkeypatch.setattr(image_look, "look_at_content", lambda content, name, *rest: again.append(name) or whole(content, name, *rest))
    assert opened(folder / "cache", path).length("train") == 10
    assert len(again) == left


@pytest.mark.parametrize("file", ["rows.npy", "images.txt", "rows.json", "facts.npy", "names.txt"])
@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_a_damaged_cache_is_not_believed(folder: Path, file: str, how: str) -> None:
    path = write(folder / "mine.json", ROWS)
    first = opened(folder / "cache", path).identity("train")
    damaged = [found for found in (folder / "cache").rglob(file) if found.is_file()]
    assert damaged
    for found in damaged:
        content = found.read_bytes()
        found.unlink()
        if how != "gone":
            found.write_bytes(content[:-2] if how == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    suite = opened(folder / "cache", path)
    assert suite.identity("train") == first
    assert said(suite) == SAID


def test_a_file_that_changes_while_it_is_used_is_the_machine_s_fault(folder: Path) -> None:
    path = write(folder / "mine.json", ROWS)
    suite = opened(folder / "cache", path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"here", b"hare"))
    with pytest.raises(MachineError, match=r"mine\.json has changed"):
        suite.items("train", 1)
    path.write_bytes(content)
    item = suite.items("train", 0)[0]
    draw(folder, "x.png", size=(7, 7))
    with pytest.raises(MachineError, match="another image"):
        item.pixels()
    (folder / "x.png").unlink()
    with pytest.raises(MachineError, match=r"x\.png was there .* put it back"):
        item.pixels()
    fresh = opened(folder / "cache2", path)
    path.unlink()
    with pytest.raises(MachineError, match=r"mine\.json was there"):
        fresh.items("train", 0)


def test_an_opened_suite_goes_to_other_processes(folder: Path) -> None:
    rows = [*ROWS, {"id": "bad"}]
    suite = pickle.loads(pickle.dumps(opened(folder / "cache", write(folder / "mine.json", rows))))
    assert said(suite) == SAID
    assert reasons(suite) == {"bad": "no conversations"}
    assert suite.items("train", 0)[0].pixels().size == (20, 12)


def test_one_folder_of_several_holds_an_image(folder: Path) -> None:
    path = write(folder / "rows" / "mine.json", ROWS)
    draw(folder / "first", "x.png", size=(5, 6))
    suite = opened(folder / "cache", path, images=[str(folder / "first"), str(folder)])
    assert [suite.heading("train", index).size for index in (0, 1)] == [(5, 6), (20, 12)]


def test_validation_shares_no_image_with_training(folder: Path) -> None:
    names = [f"{n}.png" for n in range(40)]
    draw(folder, *names)
    rows = [{"id": f"{name}-{turn}", "image": name, "conversations": talk("<image>", str(turn))} for turn in range(3) for name in names]
    rows += [{"id": f"t{n}", "conversations": talk(f"Name {n}.", "a")} for n in range(40)]
    path = write(folder / "mine.json", rows)
    suite = opened(folder / "cache", path, validate_share=0.3)
    assert suite.splits() == ("train", "val")
    sides = [{suite.items(split, n)[0].image_id for n in range(suite.length(split))} for split in suite.splits()]
    assert not sides[0] & sides[1]
    assert suite.length("train") + suite.length("val") == 160
    assert 20 <= suite.length("val") <= 80
    shuffled = opened(folder / "cache", write(folder / "other.json", rows[::-1]), validate_share=0.3)
    assert {item for item, *_ in said(shuffled, "val")} == {item for item, *_ in said(suite, "val")}
    other = opened(folder / "cache", path, validate_share=0.3, seed=1)
    assert {item for item, *_ in said(other, "val")} != {item for item, *_ in said(suite, "val")}


@pytest.mark.parametrize("strategy", ["all", "first:3", "end:3", "first:25%", "end:33.4%", "first:99", "end:99", "first:0.01%", "end:1"])
@pytest.mark.parametrize("total", [1, 4, 10, 1001])
def test_samples_are_slices_of_the_rows(strategy: str, total: int) -> None:
    """As LLaVA-NeXT slices its lists: per cent are rounded up."""
    kind, _, number = strategy.partition(":")
    rows = list(range(total))
    if kind != "all":
        per_mille_of_mille = round(float(number.rstrip("%")) * 1000)
        count = -(-per_mille_of_mille * total // 100_000) if number.endswith("%") else int(number)
        rows = rows[:count] if kind == "first" else rows[-count:]
    source = Source(Path("a.json"), "train", (), strategy)
    assert sampled(source, total, 0).tolist() == rows
    drawn = sampled(Source(Path("a.json"), "train", (), f"random:{number or 3}"), total, 0)
    assert len(drawn) == len(set(drawn.tolist())) == (len(rows) if kind != "all" else min(3, total))


def test_a_mix_takes_of_each_file_what_it_says(folder: Path) -> None:
    for name, count in (("one", 10), ("two", 20)):
        write(folder / name / "rows.json", [{"id": f"{name}{n}", "conversations": talk(f"{n}?", "a")} for n in range(count)])
    draw(folder / "pictures", "p.png")
    write(folder / "three.jsonl", [{"id": "three", "image": "p.png", "conversations": talk("<image>", "a")}])
    mix = folder / "mix.yaml"
    mix.write_text(
        "datasets:\n- {json_path: one/rows.json, sampling_strategy: 'end:2'}\n"
        "- json_path: two/rows.json\n  sampling_strategy: random:25%\n"
        f"- {{json_path: {folder / 'three.jsonl'}, images: pictures}}\n",
        encoding="utf-8",
    )
    suite = opened(folder / "cache", mix)
    ids = [item for item, *_ in said(suite)]
    assert ids[:2] == ["one8", "one9"]
    assert ids[-1] == "three"
    assert len(ids) == 8
    assert list(suite.tasks()) == ["one-rows", "two-rows", "three"]
    again = opened(folder / "cache", mix, seed=5)
    assert ids[2:7] != [item for item, *_ in said(again)][2:7]
    assert suite.identity("train") != again.identity("train")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("datasets: []", "at least one"),
        ("json_path: a.json", r"json_path is unknown"),
        ("datasets: [{sampling_strategy: all}]", r"datasets\.0 has no json_path"),
        ("datasets: [{json_path: mine.json, sampling: all}]", r"datasets\.0\.sampling is unknown .*sampling_strategy"),
        ("datasets: [{json_path: mine.json, sampling_strategy: some}]", r"sampling_strategy = 'some' is unknown"),
        ("datasets: [{json_path: mine.json, sampling_strategy: 'first:0'}]", "0 of the rows cannot be taken"),
        ("datasets: [{json_path: mine.json, sampling_strategy: 'first:101%'}]", "101% of the rows"),
        ("datasets: [{json_path: mine.json, sampling_strategy: 'end:2.5'}]", r"2\.5 of the rows"),
        ("datasets: [{json_path: mine.json, sampling_strategy: 7}]", "sampling_strategy = 7"),
        ("datasets: [{json_path: mine.json, images: lost}]", r"datasets\.0\.images = 'lost' is no folder"),
        ("datasets: [{json_path: lost.json}]", "lost.json does not exist"),
    ],
)
def test_a_mix_with_a_mistake_is_refused_by_its_place(folder: Path, content: str, words: str) -> None:
    write(folder / "mine.json", ROWS)
    (folder / "mix.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(FilaError, match=words):
        opened(folder / "cache", folder / "mix.yaml")


def test_a_folder_has_its_splits(folder: Path) -> None:
    write(folder / "train.json", ROWS[:3])
    write(folder / "val.jsonl", ROWS[3:])
    suite = opened(folder / "cache", folder)
    assert suite.splits() == ("train", "val")
    assert (suite.length("train"), suite.length("val")) == (3, 2)
    assert list(suite.tasks()) == [folder.name]
    with pytest.raises(FilaError, match="no split 'test', only train, val"):
        suite.length("test")
    only = opened(folder / "cache", folder, split="val")
    assert only.splits() == ("val",)
    shards = folder / "shards" / "mixed"
    for number in range(3):
        write(shards / "data" / f"train-0000{number}-of-00003.parquet", [{"id": f"{number}", "conversations": talk("a?", "b")}])
    suite = opened(folder / "cache", shards)
    assert [item for item, *_ in said(suite)] == ["0", "1", "2"]
    assert list(suite.tasks()) == ["mixed"]


def test_tasks_are_named_by_file_by_source_or_alone(folder: Path) -> None:
    rows = [row | {"data_source": source} for row, source in zip(ROWS, ["doc vqa", "chart", "", "chart", "doc vqa"], strict=True)]
    path = write(folder / "my rows.json", rows)
    assert list(opened(folder / "cache", path).tasks()) == ["my_rows"]
    suite = opened(folder / "cache", path, task="data_source")
    assert set(suite.tasks()) == {"doc_vqa", "chart", "my_rows"}
    assert [suite.heading("train", index).task for index in range(5)] == ["doc_vqa", "chart", "my_rows", "chart", "doc_vqa"]
    assert suite.items("train", 0)[0].known["data_source"] == "doc vqa"
    assert list(opened(folder / "cache", path, task="mine").tasks()) == ["mine"]


def test_a_limit_takes_the_first_rows(folder: Path) -> None:
    assert said(opened(folder / "cache", write(folder / "mine.json", [7, *ROWS]), limit=2)) == SAID[:2]


def test_a_cache_that_cannot_be_written_is_named(folder: Path) -> None:
    path = write(folder / "mine.json", ROWS)
    (folder / "cache").write_text("", encoding="utf-8")
    with pytest.raises(MachineError, match=r"cache_dir=.*cannot be written"):
        opened(folder / "cache", path)


def test_old_listings_of_a_file_are_removed(folder: Path) -> None:
    path = folder / "mine.json"
    for count in (3, 4, 5):
        opened(folder / "cache", write(path, ROWS[:count]))
    assert len([found for found in (folder / "cache" / "llava").iterdir() if found.is_dir()]) == 1


def test_what_a_file_says_is_what_the_json_says(folder: Path) -> None:
    """Formatted by hand, keys in another order, with fields of others."""
    rows = [{"data_source": "x", **{key: row[key] for key in reversed(row)}, "extra": {"from": 1}} for row in ROWS]
    suite = opened(folder / "cache", write(folder / "mine.json", rows, indent=3, ensure_ascii=False))
    assert said(suite) == SAID
    assert json.loads((folder / "mine.json").read_text(encoding="utf-8"))[0]["extra"] == {"from": 1}
