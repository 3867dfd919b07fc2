"""`fila-lab predict`: what it writes, what it refuses, and what it says of images and questions that a model cannot know."""

import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_run import tiny

from fila_lab.config import FilaError, RunConfig, resolve_run
from fila_lab.data.seam import SeamSuite
from fila_lab.imaging import Geometry, hardly_seen
from fila_lab.modeling import FilaModel, build_model
from fila_lab.modeling.generation import Answer
from fila_lab.modeling.language import build_tokenizer
from fila_lab.training import predict as module
from fila_lab.training.predict import picture_path, predict
from fila_lab.training.questions import examples_if_unlike, unknown_tokens

CONFIG = tiny(fusion__name="concat", data__seam__tasks={"reading": 0.5, "chart": 0.5}, language__tokenizer="words")


@pytest.fixture(scope="module")
def untrained() -> FilaModel:
    """Read only."""
    torch.manual_seed(0)
    return build_model(CONFIG)


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untrained: FilaModel):
    """predict(image size, question, out) with an untrained model."""
    monkeypatch.setattr(module, "load_trained", lambda cell: untrained)

    def call(question: str, size: tuple[int, int] = (300, 150), out: Path | None = None) -> list[str]:
        Image.new("RGB", size, "white").save(tmp_path / "page.png")
        return predict(tmp_path / "page.png", question, tmp_path, out).splitlines()

    return call


@pytest.mark.parametrize(
    ("out", "written", "kind"),
    [
        ("x.jpg", "x.jpg", "JPEG"),
        ("X.JPEG", "X.JPEG", "JPEG"),
        ("deep/er/x.png", "deep/er/x.png", "PNG"),
        ("x.webp", "x.webp", "WEBP"),
        ("x.tif", "x.tif", "TIFF"),
        ("folder", "folder/page-tiles.png", "PNG"),
        ("there.v1", "there.v1/page-tiles.png", "PNG"),
    ],
)
def test_out_is_the_picture_it_names_or_a_folder(ask, tmp_path: Path, out: str, written: str, kind: str) -> None:
    (tmp_path / "there.v1").mkdir()
    lines = ask("red?", out=tmp_path / out)
    assert lines[-1] == f"tiles: {tmp_path / written}"
    assert not any(line.startswith("note: QUESTION") for line in lines)
    with Image.open(tmp_path / written) as picture:
        assert picture.format == kind
        assert picture.width > 300
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("out", "words"),
    [("x.txt", r"\.txt is no picture format"), ("x.pgm.gz", "is no picture format"), ("page.png", "is the image itself")],
)
def test_an_out_that_is_no_picture_or_the_image_is_refused_before_anything_runs(out: str, words: str, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "page.png")
    before = (tmp_path / "page.png").read_bytes()
    with pytest.raises(FilaError, match=words):
        predict(tmp_path / "page.png", "red?", tmp_path / "no cell", tmp_path / out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.png"]
    assert (tmp_path / "page.png").read_bytes() == before
    assert picture_path(tmp_path / "page.png", None) == tmp_path / "page-tiles.png"


@pytest.mark.parametrize("out", [None, ".", "mine.png"])
def test_a_file_of_somebody_elses_is_not_written_over(out: str | None, ask, tmp_path: Path) -> None:
    path = tmp_path / ("mine.png" if out == "mine.png" else "page-tiles.png")
    path.write_bytes(b"precious")
    with pytest.raises(FilaError, match="is there already"):
        ask("red?", out=None if out is None else tmp_path / out)
    assert path.read_bytes() == b"precious"
    path.unlink()
    assert ask("red?", out=path) == ask("red?", out=path)


def test_an_out_that_cannot_be_written_loses_no_answer(ask, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(FilaError, match=r"cannot be written .* red\?  ->  "):
        ask("red?", out=tmp_path / "file" / "x.png")
    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.parametrize("question", ["", "  \n", "r\udcffd?"])
def test_a_question_that_is_none_is_refused(ask, question: str) -> None:
    with pytest.raises(FilaError, match="QUESTION"):
        ask(question)


@pytest.mark.parametrize("length", [2_100, 40_000, 1_000_000])
def test_a_question_too_long_to_be_read_is_refused_at_once(ask, length: int) -> None:
    began = time.process_time()
    with pytest.raises(FilaError, match="at most 2048 are read"):
        ask("a" * length)
    assert time.process_time() - began < 10


def test_positions_of_the_model_bound_a_question_too(ask, untrained: FilaModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untrained.language.config, "max_position_embeddings", 120)
    with pytest.raises(FilaError, match="the model has 120 positions"):
        ask("red " * 60)
    assert ask("red?")


@pytest.mark.parametrize(
    ("question", "unknown"), [("日本?", ["日", "本"]), ("café?", ["é"]), ("red\t?", ["\t"]), ("red?", []), ("count 3 { ~", [])]
)
def test_what_the_tokenizer_cannot_read_is_named(ask, question: str, unknown: list[str]) -> None:
    for name in ("words", "characters"):
        assert unknown_tokens(build_tokenizer(CONFIG.language.model_copy(update={"tokenizer": name})), question) == unknown
    said = [line for line in ask(question) if "tokenizer does not know" in line]
    assert len(said) == bool(unknown)
    assert all(repr(character) in line for line in said for character in unknown)


@pytest.mark.parametrize("tasks", [{"reading": 0.85, "coarse": 0.15}, pytest.param(None, marks=pytest.mark.slow)], ids=["two", "nine"])
def test_every_question_of_a_trained_task_is_known_and_others_are_not(tasks: dict[str, float] | None) -> None:
    config = resolve_run("mini", {"data.seam.tasks": tasks} if tasks else {})
    suite = SeamSuite(config.data.seam, config.geometry)
    for task in config.data.seam.tasks:
        own = suite.only(task)
        for index in range(0, 60, 4):  # of the test split: its strings are new, its words are not
            question = own.unpainted("test", index)[0].question
            assert examples_if_unlike(question, config) == {}, question
    for question in ("what is this?", "red", "RED?", "red? red?", "zzz?", "de?", "How many cats?", "red blue green pink?"):
        found = examples_if_unlike(question, config)
        assert set(found) == set(config.data.seam.tasks) or question == "RED?"  # three capitals are a code like any other


@pytest.mark.parametrize("place", ["data.train", "stage"])
def test_no_question_is_called_unlike_where_files_were_trained_on(place: str) -> None:
    files = {"suite": "llava", "path": "mine.json"}
    stages = [{"name": "align", "trains": ["projector"], "data": files}, {"name": "instruct", "trains": ["projector"]}]
    config = resolve_run("mini", {"data.train": files} if place == "data.train" else {"train.stages": stages, "fusion.name": "none"})
    assert examples_if_unlike("What is the total?", config) == {}


def test_a_question_of_another_task_and_an_empty_answer_are_said(ask, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any("unlike" in line for line in ask("bar red?"))
    said = next(line for line in ask("count red?") if "unlike" in line)
    assert "chart 'bar " in said
    monkeypatch.setattr(FilaModel, "answer", lambda self, batch, limit, ends: [Answer("", whole=True)])
    lines = ask("red?")
    assert lines[0] == ""
    assert lines[1] == "note: the answer is empty: the model ended it at once"


def test_an_answer_that_is_cut_off_says_so(ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FilaModel, "answer", lambda self, batch, limit, ends: [Answer("A" * limit, whole=False)])
    assert "note: the answer was cut off after 4 tokens (language.answer_tokens)" in ask("red?")


@pytest.mark.parametrize(
    ("size", "words"),
    [((1, 1), "enlarged 42 times"), ((5, 6), "enlarged"), ((20_000, 100), "shown at 126 x 1"), ((100, 20_000), "shown at 1 x 126")],
)
def test_images_of_which_nothing_is_seen_get_a_note(ask, size: tuple[int, int], words: str) -> None:
    assert any(words in line for line in ask("red?", size=size) if line.startswith("note: the image has"))


def test_ordinary_images_get_none() -> None:
    config: RunConfig = resolve_run("mini")
    for size in ((300, 150), (84, 84), (1600, 1200), (1000, 200), (20, 20)):
        assert hardly_seen(Geometry.of(*size, config.geometry)) is None
    stretched = config.geometry.model_copy(update={"tiling": config.geometry.tiling.model_copy(update={"fit": "stretch"})})
    found = hardly_seen(Geometry.of(20_000, 100, stretched))
    assert found is not None
    assert "out of shape" in found


@pytest.mark.parametrize("question", ["red?\nblue?", "[/red] $\\frac{$", "é日🦊?", "\x1b[31mred?", "a" * 1500])
def test_any_text_can_head_the_picture(ask, tmp_path: Path, question: str) -> None:
    assert ask(question)
    with Image.open(tmp_path / "page-tiles.png") as picture:
        assert picture.height < 2000
