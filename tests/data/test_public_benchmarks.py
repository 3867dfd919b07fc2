"""Every public benchmark in both of its layouts, a user's own, and what is refused or set aside."""

from __future__ import annotations

import json
import pickle
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
from benchmark_files import CASES, SIZES, Case, png, put, put_images, put_table, shown
from PIL import Image

from fila_lab.cli import main
from fila_lab.config.base import FilaError, MachineError
from fila_lab.config.benchmark import benchmark_names, load_benchmark
from fila_lab.config.geometry import GeometryConfig
from fila_lab.data import Opening, UnusableRow, available_suites, open_suite
from fila_lab.data.benchmarks import BenchmarkSuite
from fila_lab.evaluation.predictions import Judged, judge, read_predictions

NAMES = [f"{case.benchmark}-{case.layout}" for case in CASES]
OURS = """
file: "*.jsonl"
fields: {id: qid, image: picture, question: ask, answers: gold}
known: {kind: kind}
split: val
ending: " Answer briefly."
score: anls
by: [kind]
"""


@pytest.fixture
def opened(geometry: GeometryConfig, tmp_path: Path) -> Any:
    """Open a benchmark by name and options."""

    def open_(name: str, **options: Any) -> BenchmarkSuite:
        suite = open_suite(
            name, Opening({key: str(value) if isinstance(value, Path) else value for key, value in options.items()}, geometry, tmp_path)
        )
        assert isinstance(suite, BenchmarkSuite)
        return suite

    return open_


@pytest.fixture
def said(tmp_path: Path) -> Any:
    """Write predictions."""

    def write(predictions: dict[Any, Any], name: str = "said.jsonl") -> Path:
        lines = [json.dumps({"id": key, "prediction": text}) for key, text in predictions.items()]
        return put(tmp_path / name, "\n".join(lines) + "\n")

    return write


def test_all_benchmarks_are_tried_in_both_layouts() -> None:
    assert {case.benchmark for case in CASES} == set(benchmark_names())
    assert set(benchmark_names()) <= set(available_suites())
    for name in benchmark_names():
        assert {layout.name for layout in load_benchmark(name).layouts} == {case.layout for case in CASES if case.benchmark == name}


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_three_rows_load_and_score(case: Case, opened: Any, said: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case.build(tmp_path / "data")
    suite = pickle.loads(pickle.dumps(opened(case.benchmark, path=tmp_path / "data")))
    split = suite.evaluated
    assert (suite.files.layout.name, split, list(suite.splits())[-1]) == (case.layout, case.split, case.split)
    assert suite.length(split) == 3
    assert suite.set_aside(split) == ()
    items = [suite.items(split, index)[0] for index in range(3)]
    assert [item.item_id for item in items] == sorted(case.said, key=[item.item_id for item in items].index)
    assert items[0].turns[0].question == case.asked
    assert {item.task for item in items} == {case.benchmark}
    if case.image_ids is not None:
        assert tuple(item.image_id for item in items) == case.image_ids
    for index, item in enumerate(items):
        size = suite.heading(split, index).size
        image = item.pixels()
        assert (image.size if image is not None else None) == size
        assert size is None or size in SIZES
    again = opened(case.benchmark, path=tmp_path / "data")
    assert again.identity(split) == suite.identity(split)

    predictions = said(case.said)
    with pytest.raises(SystemExit) as end:
        main(["score", case.benchmark, "--data", str(tmp_path / "data"), "--predictions", str(predictions), "--json"])
    out, err = capsys.readouterr()
    assert (end.value.code or 0, err) == (0, "")
    found = json.loads(out)
    assert found["scored"] == found["questions"] == 3
    assert {name: found["figures"][name] for name in case.figures} == pytest.approx(case.figures)


def test_another_image_of_the_same_size_is_other_data_and_is_not_shown_for_the_listed_one(opened: Any, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.benchmark == "docvqa" and case.layout == "files")
    case.build(tmp_path / "data")
    suite = opened("docvqa", path=tmp_path / "data")
    was = suite.identity("val")
    item = suite.items("val", 0)[0]
    shown = item.pixels()
    image = next(path for path in sorted((tmp_path / "data").rglob("*.png")) if path.name in item.image.name)
    content = bytearray(image.read_bytes())
    other = Image.new("RGB", shown.size, "teal")
    other.save(image)
    image.write_bytes(image.read_bytes().ljust(len(content), b"\0")[: max(len(content), image.stat().st_size)])
    assert opened("docvqa", path=tmp_path / "data").identity("val") != was
    with pytest.raises(MachineError, match="another image than when its data set was opened"):
        item.pixels()
    image.unlink()
    with pytest.raises(MachineError, match="cannot be read now"):
        item.pixels()
    image.write_bytes(bytes(content))
    assert opened("docvqa", path=tmp_path / "data").identity("val") == was
    assert item.pixels().tobytes() == shown.tobytes()


def test_an_entry_may_ask_and_judge_otherwise_than_the_definition(opened: Any, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.benchmark == "pope")
    case.build(tmp_path)
    (whole,) = opened("pope", path=tmp_path).tasks().values()
    (rule,) = opened("pope", path=tmp_path, ending="", score="pope_lmms_eval", aggregate="pope_lmms_eval").tasks().values()
    assert (rule.ending, rule.score, rule.aggregate, rule.by) == ("", "pope_lmms_eval", "pope_lmms_eval", whole.by)
    assert whole.ending
    assert opened("pope", path=tmp_path, ending="").identity("test") != opened("pope", path=tmp_path).identity("test")
    assert opened("pope", path=tmp_path, score="exact").identity("test") == opened("pope", path=tmp_path).identity("test")
    with pytest.raises(FilaError, match=r"pope_lmm.*did you mean 'pope_lmms_eval'"):
        opened("pope", path=tmp_path, score="pope_lmm")


def break_first(folder: Path) -> None:
    """Cut every file of rows short."""
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix in (".json", ".jsonl", ".parquet", ".tsv", ".txt"):
            content = file.read_bytes()
            file.write_bytes(content[: len(content) * 3 // 5] if file.suffix != ".txt" else content.replace(b"\t", b" "))


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_broken_one_is_refused(case: Case, opened: Any, tmp_path: Path) -> None:
    case.build(tmp_path)
    break_first(tmp_path)
    with pytest.raises(FilaError) as error:
        opened(case.benchmark, path=tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", [case for case in CASES if case.layout == "parquet"], ids=lambda case: case.benchmark)
def test_one_file_will_do_where_a_folder_does(case: Case, opened: Any, tmp_path: Path) -> None:
    case.build(tmp_path)
    file = next(path for path in sorted(tmp_path.rglob("*.parquet")) if "_images" not in str(path))
    renamed = file.rename(file.with_name("questions.parquet")) if "_balanced_" not in str(file) else file
    suite = opened(case.benchmark, path=renamed)
    assert len(suite.files.questions(suite.evaluated)[0]) == 3


def test_a_benchmark_of_ones_own(opened: Any, said: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    definition = put(tmp_path / "mine.yaml", OURS)
    assert len(OURS.strip().splitlines()) <= 10
    rows = [{"qid": n, "picture": f"{n}.png", "ask": "Who?", "gold": ["ada", "a. l."], "kind": "xy"[n % 2]} for n in range(3)]
    put(tmp_path / "data/rows.jsonl", "\n".join(map(json.dumps, rows)))
    put_images(tmp_path / "pictures", *(f"{n}.png" for n in range(3)))
    suite = opened("mine", definition=definition, path=tmp_path / "data", images=tmp_path / "pictures", limit=2)
    assert suite.tasks()["mine"].ending == " Answer briefly."
    item = suite.items("val", 1)[0]
    assert (suite.length("val"), item.item_id, item.task, item.known) == (2, "1", "mine", {"kind": "y"})
    assert item.turns[0].answers == ("ada", "a. l.")
    predictions = said({0: "ada", 1: "bob", 2: "Ada "})
    with pytest.raises(SystemExit):
        main(["score", str(definition), "--data", str(tmp_path / "data"), "--predictions", str(predictions)])
    out, _ = capsys.readouterr()
    assert "score     anls: 1 - edit distance" in out
    assert ["anls", "0.6667"] in [line.split() for line in out.splitlines()]
    assert ["anls/kind=y", "0.0000"] in [line.split() for line in out.splitlines()]


def docvqa(folder: Path, *rows: dict[str, Any], split: str = "val") -> Path:
    """A DocVQA file of rows that differ from a good one."""
    whole = [{"questionId": n, "question": "?", "image": f"documents/{n}.png", "answers": ["a"], **row} for n, row in enumerate(rows)]
    return put(folder / f"{split}_v1.0.json", {"data": [{k: v for k, v in row.items() if v != "absent"} for row in whole]})


@pytest.mark.parametrize(
    ("row", "reason", "words"),
    [
        ({"image": "documents/none.png"}, "missing image", "image 'documents/none.png' does not exist"),
        ({"image": "../secret.png"}, "image path", "'../secret.png' leaves the folder"),
        ({"image": "/etc/passwd"}, "image path", "'/etc/passwd' is an absolute path"),
        ({"image": "a\0b"}, "image path", "is no path"),
        ({"image": None}, "missing image", "it has no image"),
        ({"image": ["0.png", "1.png"]}, "several images", "it has 2 images"),
        ({"image": True}, "wrong type", "its image is true or false"),
        ({"image": [["0.png"]]}, "wrong type", "its image is a list"),
        ({"question": ["?"]}, "wrong type", "its question is a list, not a text"),
        ({"question": "half \ud800"}, "broken text", "half of a character"),
        ({"questionId": {}}, "wrong type", "its id is an object"),
        ({"answers": [["a"]]}, "wrong type", "an answer is a list"),
        ({"question": ""}, "empty question", "asks nothing"),
        ({"question": "absent"}, "empty question", "asks nothing"),
        ({"questionId": "absent"}, "no id", "it has no questionId"),
        ({"questionId": 0}, "duplicate id", "has stood there before"),
        ({"answers": []}, "empty answer", "it has no answer, and others have"),
        ({"answers": "absent"}, "empty answer", "it has no answer, and others have"),
    ],
)
def test_a_bad_row_is_set_aside(row: dict[str, Any], reason: str, words: str, opened: Any, tmp_path: Path) -> None:
    docvqa(tmp_path, {}, row)
    put_images(tmp_path / "documents", "0.png", "1.png")
    suite = opened("docvqa", path=tmp_path)
    (aside,) = suite.set_aside("val")
    assert aside.reason == reason
    assert words in aside.message
    assert suite.length("val") == 1


def test_what_may_lie_anywhere_below_is_found(opened: Any, tmp_path: Path) -> None:
    docvqa(tmp_path, {"image": str(tmp_path / "documents/0.png")}, {"image": "./documents/../documents/1.png"})
    put_images(tmp_path / "documents", "0.png", "1.png")
    suite = opened("docvqa", path=tmp_path / "val_v1.0.json", images=tmp_path)
    assert suite.length("val") == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no image", "damaged image"), (b"", "damaged image"), (png(0)[:40], "damaged image")],
    ids=["text", "empty", "cut"],
)
def test_pixels_that_cannot_be_read_are_a_row_that_cannot_be_used(content: bytes, reason: str, opened: Any, tmp_path: Path) -> None:
    docvqa(tmp_path, {})
    put(tmp_path / "documents/0.png", content)
    suite = opened("docvqa", path=tmp_path)
    with pytest.raises(UnusableRow, match=r"0: image .*documents/0\.png"):
        suite.items("val", 0)[0].pixels()


def test_an_image_of_too_many_pixels_is_known_by_its_header(opened: Any, tmp_path: Path) -> None:
    docvqa(tmp_path, {})
    chunks = [b"IHDR" + (20_000).to_bytes(4) * 2 + b"\x08\x02\x00\x00\x00", b"IDAT"]
    parts = [(len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) for chunk in chunks]
    put(tmp_path / "documents/0.png", b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    suite = opened("docvqa", path=tmp_path)
    for ask in (lambda: suite.heading("val", 0), lambda: suite.items("val", 0)[0].pixels()):
        with pytest.raises(UnusableRow, match="million pixels") as error:
            ask()
        assert error.value.aside.reason == "image too large"


def test_refusals_name_what_was_looked_for(opened: Any, tmp_path: Path) -> None:
    file = docvqa(tmp_path, {}, {})
    for options, words in (
        ({"path": tmp_path / "nowhere"}, "no such file or folder"),
        ({"path": tmp_path, "limt": 3}, "unknown key 'limt' (did you mean 'limit'?)"),
        ({"path": tmp_path, "limit": 0}, "limit = 0"),
        ({"path": tmp_path, "split": "dev"}, "split = 'dev' is unknown"),
        ({"path": 3}, "path = 3"),
    ):
        with pytest.raises(FilaError) as error:
            opened("docvqa", **options)
        assert words in str(error.value)
    with pytest.raises(FilaError, match=r"is not textvqa as it is known; files .*no such file"):
        opened("textvqa", path=tmp_path)
    with pytest.raises(FilaError, match=r"is not pope as it is known; files: val_v1\.0\.json has no field text \(it has data\)"):
        opened("pope", path=file)
    suite = opened("docvqa", path=tmp_path)
    with pytest.raises(FilaError, match=r"has no split 'test'; it has val"):
        suite.length("test")
    with pytest.raises(FilaError, match=r"does not hold the images: 'documents/0\.png', 'documents/1\.png' are not there"):
        suite.length("val")
    put(tmp_path / "val_v2.0.json", {"data": []})
    with pytest.raises(FilaError, match=r"val_v1\.0\.json and .*val_v2\.0\.json are both val; give the path of one"):
        opened("docvqa", path=tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("val_v1.0.json", '{"data": [{"questionId": 1,\n "question" "x"}]}', "line 2: no JSON"),
        ("val_v1.0.json", "", "no JSON"),
        ("val_v1.0.json", '{"rows": []}', "has no data, where its rows are to be (it has rows)"),
        ("val_v1.0.json", '{"data": []}', "holds no rows"),
        ("val_v1.0.json", '{"data": [1]}', "row 1 is a int, not an object"),
        ("val_v1.0.json", b'{"data": "\xff"}', "is not UTF-8"),
        ("val_v1.0.json", "version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("validation-0.parquet", b"PAR1 but not really PAR1", "cannot be read as parquet"),
    ],
)
def test_files_that_cannot_be_read_are_named(name: str, content: str | bytes, words: str, opened: Any, tmp_path: Path) -> None:
    path = put(tmp_path / name, content)
    with pytest.raises(FilaError) as error:
        opened("docvqa", path=path)
    assert words in str(error.value)
    assert str(path) in str(error.value)


def test_a_split_without_answers_is_shown_but_not_scored(opened: Any, said: Any, tmp_path: Path) -> None:
    docvqa(tmp_path, {"answers": "absent"}, {"answers": "absent"}, split="test")
    put_images(tmp_path / "documents", "0.png", "1.png")
    suite = opened("docvqa", path=tmp_path)
    assert suite.evaluated == "test"
    assert suite.items("test", 0)[0].turns[0].answers == ()
    with pytest.raises(FilaError, match="only the benchmark's server scores them"):
        judge(suite, read_predictions(said({0: "a"})))


def test_answers_that_lie_in_another_file_are_asked_for(opened: Any, said: Any, tmp_path: Path) -> None:
    case = next(case for case in CASES if (case.benchmark, case.layout) == ("vqav2", "files"))
    case.build(tmp_path)
    (tmp_path / "v2_mscoco_val2014_annotations.json").unlink()
    with pytest.raises(FilaError, match=r"vqav2: val has no answers; put their file \(v2_mscoco_\{split\}20\*_annotations\.json\)"):
        judge(opened("vqav2", path=tmp_path), read_predictions(said(case.said)))


def test_predictions_for_other_ids_are_counted(opened: Any, said: Any, tmp_path: Path) -> None:
    docvqa(tmp_path, *[{}] * 3)
    suite = opened("docvqa", path=tmp_path)

    def judged(predictions: dict[Any, Any]) -> Judged:
        return judge(suite, read_predictions(said(predictions)))

    found = judged({0: "a", "2": "b", "77": "c"})
    assert (found.figures["anls"], found.figures["n"], found.questions) == (0.5, 2, 3)
    assert (found.missing, found.unknown) == (("1",), ("77",))
    with pytest.raises(FilaError, match="no prediction is for a question of docvqa, val: their ids are 'x', the questions' '0', '1', '2'"):
        judged({"x": "a"})


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('{"id": 1, "prediction": "a"}\n{"id": 1, "prediction": "b"}', "id '1' stands in lines 1 and 2 with different texts"),
        ('{"id": 1}', "line 1: fields id; a line has the fields id and prediction"),
        ('{"id": 1, "prediction": 7}', "prediction = 7 is no text"),
        ('{"id": [1], "prediction": "a"}', "id = [1] is no text or whole number"),
        ('{"id": 1, "prediction": "\\ud800"}', "line 1: holds '\\ud800', half of a character"),
        ('\n\n{"id": 1, "prediction": "a"', "line 3: no JSON"),
        ("[1]", "line 1: list; a line has the fields"),
        ("\n", "is empty"),
    ],
)
def test_a_file_of_predictions_with_a_mistake_is_refused(lines: str, words: str, opened: Any, tmp_path: Path) -> None:
    docvqa(tmp_path, {}, {})
    with pytest.raises(FilaError) as error:
        judge(opened("docvqa", path=tmp_path), read_predictions(put(tmp_path / "said.jsonl", lines)))
    assert words in str(error.value)


def test_ids_may_be_short_where_that_leaves_no_doubt(opened: Any, said: Any, tmp_path: Path) -> None:
    next(case for case in CASES if (case.benchmark, case.layout) == ("pope", "files")).build(tmp_path / "pope")
    found = judge(opened("pope", path=tmp_path / "pope"), read_predictions(said({"2": "no", "1": "yes", "random/1": "yes"})))
    assert found.unknown == ("1",)  # one of random and one of popular
    assert found.missing == ("popular/1",)
    next(case for case in CASES if (case.benchmark, case.layout) == ("mme", "files")).build(tmp_path / "mme")
    lines = '{"id": "OCR/0002", "prediction": "Yes"}\n{"id": "OCR/0002", "prediction": "No"}\n'
    found = judge(opened("mme", path=tmp_path / "mme"), read_predictions(put(tmp_path / "mme.jsonl", lines)))
    assert found.figures["mme/OCR"] == 200


def test_identity_follows_content(opened: Any, tmp_path: Path) -> None:
    docvqa(tmp_path / "a", {}, {})
    put_images(tmp_path / "a/documents", "0.png", "1.png")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first = opened("docvqa", path=tmp_path / "a").identity("val")
    assert opened("docvqa", path=tmp_path / "b").identity("val") == first
    assert opened("docvqa", path=tmp_path / "a", limit=1).identity("val") != first
    put(tmp_path / "b/documents/0.png", png(2) + b" ")
    assert opened("docvqa", path=tmp_path / "b").identity("val") != first
    docvqa(tmp_path / "a", {}, {"question": "??"})
    assert opened("docvqa", path=tmp_path / "a").identity("val") != first


def test_images_of_a_parquet_file_may_be_paths_or_absent(opened: Any, tmp_path: Path) -> None:
    rows = shown(
        [
            {"questionId": str(n), "question": "?", "answers": ["a"], "ucsf_document_id": "d", "ucsf_document_page_no": str(n)}
            for n in range(3)
        ]
    )
    rows[1]["image"] = {"bytes": None, "path": "documents/1.png"}
    rows[2]["image"] = None
    put_table(tmp_path / "validation-0.parquet", rows)
    put_images(tmp_path / "documents", "0.png", "1.png")
    suite = opened("docvqa", path=tmp_path)
    assert suite.length("val") == 2
    assert [suite.items("val", index)[0].pixels().size for index in range(2)] == [SIZES[0], SIZES[1]]  # type: ignore[union-attr]
    assert [aside.reason for aside in suite.set_aside("val")] == ["missing image"]


def test_what_a_definition_of_ones_own_forgot_is_named(opened: Any, tmp_path: Path) -> None:
    rows = [{"q": "Which?", "a": "B"}]
    put(tmp_path / "data" / "test.jsonl", "\n".join(map(json.dumps, rows)))
    text = 'file: "{split}.jsonl"\nfields: {question: q, answers: a}\nscore: exact\n'
    definition = put(tmp_path / "mine.yaml", text)
    with pytest.raises(FilaError, match=r"mine: no question names an image; say in fields\.image"):
        opened("mine", path=tmp_path / "data", definition=definition).length("test")
    put(definition, text + "text_only: true\nanswer_is: letter\n")
    with pytest.raises(FilaError, match=r"a letter of no options; name them in fields\.options"):
        opened("mine", path=tmp_path / "data", definition=definition).length("test")


def test_another_letter_case_is_the_nearest_name(opened: Any, tmp_path: Path) -> None:
    with pytest.raises(FilaError, match="did you mean 'docvqa'"):
        opened("DocVQA", path=tmp_path)
