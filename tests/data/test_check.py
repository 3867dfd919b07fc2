"""`fila-lab data check`: counts against what was written into the files, and a sheet that shows the images."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llava_files import GEOMETRY, draw, opened, talk, write
from PIL import Image

from fila_lab.cli import main
from fila_lab.config import FilaError
from fila_lab.config.benchmark import Benchmark
from fila_lab.data.benchmarks import BenchmarkOptions, BenchmarkSuite
from fila_lab.data.check import as_dict, check_split
from fila_lab.data.contact_sheet import CARD, GAP, PICTURE, SEAM, draw_sheet
from fila_lab.data.read_pool import ReadPool
from fila_lab.imaging import Geometry

SIZES = {"wide.png": (80, 30), "tall.png": (30, 80), "square.png": (20, 20), "line.png": (400, 3)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for name, size in SIZES.items():
        draw(tmp_path, name, size=size)
    (tmp_path / "cut.png").write_bytes((tmp_path / "wide.png").read_bytes()[:-300])
    rows: list[Any] = []
    for name in (*SIZES, "cut.png"):
        for more in (0, 2):
            turns = talk("<image>\nWhat?", "ab", *["q", "abcd"] * more)
            rows.append({"id": f"{name} {more}", "image": name, "data_source": name[:4], "conversations": turns})
    rows.append({"id": "text", "conversations": talk("Name a prime.", "7")})
    rows.append({"id": "lost", "image": "lost.png", "conversations": talk("<image>", "a")})
    rows += [{"id": f"empty {n}", "conversations": talk("a", "")} for n in range(5)]
    return write(tmp_path / "mine.json", rows)


def test_all_of_a_split_is_counted(path: Path, tmp_path: Path) -> None:
    suite = opened(tmp_path / "cache", path, task="data_source")
    said: list[tuple[str, int, int]] = []
    ones_and_twos = lambda asked: ([1] * len(asked), [2] * len(asked))  # noqa: E731
    check = check_split(suite, "train", GEOMETRY, ones_and_twos, progress=lambda *words: said.append(words))
    assert (check.rows, check.text_only, check.images) == (11, 1, 5)
    assert check.tasks == {"wide": 2, "tall": 2, "squa": 2, "line": 2, "cut.": 2, "mine": 1}
    assert check.width == {"min": 20, "median": 80, "95 %": 400, "max": 400}
    assert check.turns == {"min": 1, "median": 1, "95 %": 3, "max": 3}
    assert check.answers == {"min": 1, "median": 2, "95 %": 4, "max": 4}
    assert check.questions["max"] == len("Name a prime.")
    assert check.reasons == {"empty answer": 5, "missing image": 1}
    assert [one.row for one in check.examples["empty answer"]] == ["empty 0", "empty 1", "empty 2"]
    assert {canvas.size: (canvas.tiles, canvas.rows) for canvas in check.canvases} == {(42, 42): (1, 2), (84, 42): (2, 6), (42, 84): (2, 2)}
    assert check.hardly_seen_rows == 2
    assert "400 x 3 px" in check.hardly_seen[0]
    assert (check.encoded_rows, check.question_tokens["max"], check.answer_tokens["max"]) == (11, 1, 2)
    assert said[-1] == ("reading train rows", 11, 11)
    assert json.loads(json.dumps(as_dict(check)))["tasks"]["mine"] == 1


def test_images_that_are_damaged_behind_their_header_are_found_when_they_are_read(path: Path, tmp_path: Path) -> None:
    suite = opened(tmp_path / "cache", path)
    check = check_split(suite, "train", GEOMETRY, pixels=True)
    assert check.decoded == 5
    assert check.reasons["damaged image"] == 1
    (aside,) = check.examples["damaged image"]
    assert aside.row == "cut.png 0"
    assert "truncated" in aside.message


def test_the_sheet_shows_images_with_their_seams(path: Path, tmp_path: Path) -> None:
    suite = opened(tmp_path / "cache", path)
    bad = draw_sheet(suite, "train", GEOMETRY, 11, tmp_path / "sheet.png")
    assert len(bad) == 2
    assert all("cut.png" in message for message in bad)
    with Image.open(tmp_path / "sheet.png") as image:
        sheet = np.asarray(image.convert("RGB")).astype(int)
    first = sheet[GAP : GAP + PICTURE, GAP : GAP + CARD]
    with Image.open(tmp_path / "wide.png") as image:
        page = np.asarray(image).astype(int)
    scale = CARD / page.shape[1]
    assert (first[: int(30 * scale)] == SEAM).all(-1).any(0).sum() >= 2
    (seam,) = Geometry.of(80, 30, GEOMETRY).seams_x
    assert abs(np.flatnonzero((first[40] == SEAM).all(-1)).mean() - seam / 84 * CARD) < 3
    for x, y in ((5, 5), (70, 20), (20, 28)):
        assert np.array_equal(first[int((y + 0.5) * scale), int((x + 0.5) * scale)], page[y, x])


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run the command line in this process: (exit code, standard output, standard error)."""
    monkeypatch.setenv("FILA_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(("data", "check", *arguments))
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run


def test_the_verb_says_what_is_there_and_what_is_not(path: Path, call: Any) -> None:
    code, out, _ = call("mine.json", "-n", "3", "-o", "sheet.png", "--no-tokens", "-w", "1", "--option", "task=data_source")
    assert code == 0
    assert "mine.json as llava, split train: 11 rows, 6 set aside" in out
    assert "5  empty answer" in out
    assert "mine.json, row 12 (id 'lost'): image 'lost.png' does not exist" in out
    assert Image.open("sheet.png").width > 2 * CARD
    code, out, _ = call("mine.json", "-n", "0", "--no-tokens", "--json", "-w", "1")
    assert (code, json.loads(out)["splits"]["train"]["reasons"]) == (0, {"empty answer": 5, "missing image": 1})


def test_a_benchmark_of_ones_own_is_named_by_its_definition(path: Path, call: Any) -> None:
    Path("asked.jsonl").write_text(json.dumps({"q": "How wide?", "a": ["80"], "picture": "wide.png"}), encoding="utf-8")
    Path("widths.yaml").write_text(
        "file: asked.jsonl\nfields: {question: q, answers: a, image: picture}\nscore: relaxed\n", encoding="utf-8"
    )
    code, out, err = call(".", "--as", "widths.yaml", "--no-tokens", "-n", "0", "-w", "1")
    assert code == 0, err
    assert "as widths, split test: 1 rows" in out
    assert re.search(r"widths +1 +relaxed", out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lost.json"], "lost.json does not exist"),
        (["mine.json", "--split", "test"], "no split 'test', only train"),
        (["mine.json", "--as", "lava"], r"suite 'lava' is unknown \(did you mean 'llava'"),
        (["mine.json", "--as", "lost.yaml"], "lost.yaml: no such file"),
        (["mine.json", "--images", "lost"], "lost is no folder"),
        (["mine.json", "--option", "tsk=a"], "did you mean 'task'"),
        (["mine.json", "--option", "task"], "expected key=value"),
        (["mine.json", "-o", "sheet.txt"], "is no picture's name"),
        (["docvqa.json"], r"no conversations.*\n.*named with --as"),
    ],
)
def test_the_verb_s_mistakes_are_one_message(path: Path, call: Any, arguments: list[str], words: str) -> None:
    write(Path("docvqa.json"), [{"questionId": 1, "question": "a", "image": "wide.png", "answers": ["b"]}])
    code, _, err = call(*arguments, "--no-tokens", "-w", "1")
    assert code == 2
    assert re.search(words, err), err


def test_a_benchmark_s_images_without_a_readable_header_are_counted(tmp_path: Path) -> None:
    for name in ("fine.png", "cut.png"):
        draw(tmp_path, name, size=(20, 20))
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:30])
    (tmp_path / "empty.png").touch()
    rows = [{"id": n, "q": "What?", "a": "b", "image": name} for n, name in enumerate(("cut.png", "fine.png", "empty.png"))]
    (tmp_path / "mine.json").write_text(json.dumps(rows), encoding="utf-8")
    rule = Benchmark.model_validate(
        {"score": "anls", "file": "mine.json", "fields": {"id": "id", "question": "q", "answers": "a", "image": "image"}}
    )
    suite = BenchmarkSuite("mine", rule, BenchmarkOptions(path=str(tmp_path)))
    check = check_split(suite, "test", GEOMETRY)
    assert (check.rows, check.reasons) == (1, {"damaged image": 2})
    assert draw_sheet(suite, "test", GEOMETRY, 3, tmp_path / "sheet.png") == []
    pool = ReadPool(suite, "test", GEOMETRY)
    assert [one.row for one in pool.aside] == ["0", "2"]
    assert pool.describe(np.arange(len(pool)))["item_id"].tolist() == ["1"]
    (tmp_path / "fine.png").write_bytes(b"none")
    with pytest.raises(FilaError, match=r"mine: test has no usable row: 3 were set aside, the first because 0: image .*cut\.png"):
        ReadPool(BenchmarkSuite("mine", rule, BenchmarkOptions(path=str(tmp_path))), "test", GEOMETRY)
    with pytest.raises(FilaError, match=r"mine: no row of test can be shown, the first because 0: image .*cut\.png"):
        draw_sheet(BenchmarkSuite("mine", rule, BenchmarkOptions(path=str(tmp_path))), "test", GEOMETRY, 3, tmp_path / "none.png")
