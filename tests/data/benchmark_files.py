"""Three rows of every public benchmark, in both of its layouts, with predictions whose figure is worked out by hand."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIZES = ((8, 6), (5, 9), (7, 7))
"""(width, height) in px of the three images."""


def png(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", SIZES[number], (40 * number, 90, 160)).save(stream, "PNG")
    return stream.getvalue()


def put(path: Path, content: Any) -> Path:
    """A file of bytes, text, or JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def put_images(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        put(folder / name, png(number))


def put_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def shown(rows: list[dict[str, Any]], several: bool = False) -> list[dict[str, Any]]:
    """The rows with an image column as Hugging Face has it."""
    images = [{"bytes": png(number), "path": f"{number}.png"} for number in range(len(rows))]
    return [{**row, "image": [image] if several else image} for row, image in zip(rows, images, strict=True)]


@dataclass(frozen=True)
class Case:
    """A benchmark in one layout: `build` writes it into a folder; `said`: id -> prediction; `figures`: what the aggregate must give;
    `asked`: the first question as a model is asked it, without what stands behind all of them."""

    benchmark: str
    layout: str
    build: Callable[[Path], None]
    said: dict[str, str]
    figures: dict[str, float]
    asked: str
    image_ids: tuple[str, str, str] | None = None
    split: str = "val"


CASES: list[Case] = []
TEN = {"stop": ["stop"] * 10, "two": ["2"] * 3 + ["three"] * 7, "no": ["yes"] * 10}


def _case(benchmark: str, layout: str, said: dict[str, str], figures: dict[str, float], asked: str, **further: Any) -> Any:
    def add(build: Callable[[Path], None]) -> Callable[[Path], None]:
        CASES.append(Case(benchmark, layout, build, said, figures, asked, **further))
        return build

    return add


def _both(benchmark: str, said: dict[str, str], figures: dict[str, float], asked: str, **further: Any) -> Any:
    """Two builders of one benchmark whose items are the same."""

    def add(files: Callable[[Path], None], parquet: Callable[[Path], None]) -> None:
        _case(benchmark, "files", said, figures, asked, **further)(files)
        _case(benchmark, "parquet", said, figures, asked, **further)(parquet)

    return add


def _textvqa() -> list[dict[str, Any]]:
    return [
        {"question_id": 10 + n, "question": f"what is {n}?", "image_id": f"i{n}", "answers": TEN[said], "set_name": "val"}
        for n, said in enumerate(("stop", "two", "no"))
    ]


def _textvqa_files(folder: Path) -> None:
    put(folder / "TextVQA_0.5.1_val.json", {"dataset_name": "textvqa", "data": _textvqa()})
    put_images(folder, *(f"train_images/i{n}.jpg" for n in range(3)))


_both("textvqa", {"10": "Stop", "11": "two", "12": "no"}, {"vqa": 1.9 / 3}, "what is 0?", image_ids=("i0", "i1", "i2"))(
    _textvqa_files, lambda folder: put_table(folder / "data/validation-00000-of-00001.parquet", shown(_textvqa()))
)


def _docvqa(whole: bool) -> list[dict[str, Any]]:
    return [
        {
            "questionId": 49153 + n if whole else str(49153 + n),
            "question": f"page {n}?",
            "question_types": kinds,
            "docId": n,
            "ucsf_document_id": f"doc{n}",
            "ucsf_document_page_no": "1",
            "answers": answers,
            "data_split": "val",
        }
        for n, (kinds, answers) in enumerate(((["form", "layout"], ["hallo"]), (["form"], ["$3,250", "3250"]), (["layout"], ["Токио"])))
    ]


def _docvqa_files(folder: Path) -> None:
    rows = [{**row, "image": f"documents/doc{n}_1.png"} for n, row in enumerate(_docvqa(True))]
    put(folder / "val_v1.0_withQT.json", {"dataset_name": "docvqa", "data": rows})
    bare = [{key: value for key, value in row.items() if key != "question_types"} for row in rows]
    put(folder / "val_v1.0.json", {"dataset_name": "docvqa", "data": bare})
    put_images(folder, *(f"documents/doc{n}_1.png" for n in range(3)))


_both(
    "docvqa",
    {"49153": "hello", "49154": "$3250", "49155": "токио"},
    {"anls": (0.8 + 5 / 6 + 1) / 3, "anls/question_type=form": (0.8 + 5 / 6) / 2, "anls/question_type=layout": 0.9},
    "page 0?",
)(_docvqa_files, lambda folder: put_table(folder / "DocVQA/validation-00000-of-00001.parquet", shown(_docvqa(False))))


def _infovqa() -> list[dict[str, Any]]:
    return [
        {
            "questionId": 100 + n,
            "question": f"how many {n}?",
            "answers": ["41 %"],
            "answer_type": ["single span"],
            "operation/reasoning": ["counting"] if n else [],
            "image_url": "http://nowhere",
            "data_split": "val",
        }
        for n in range(3)
    ]


def _infovqa_files(folder: Path) -> None:
    rows = [{**row, "image_local_name": f"3{n}.jpeg"} for n, row in enumerate(_infovqa())]
    put(folder / "infographicsVQA_val_v1.0_withQT.json", {"data": rows})
    put_images(folder, *(f"3{n}.jpeg" for n in range(3)))


_both("infovqa", {"100": "41 %", "101": "41%", "102": "nothing"}, {"anls": 1.75 / 3, "anls/operation=counting": 0.375}, "how many 0?")(
    _infovqa_files, lambda folder: put_table(folder / "InfographicVQA/validation-0.parquet", shown(_infovqa()))
)


def _chartqa_files(folder: Path) -> None:
    rows = [{"imgname": f"4{n}.png", "query": f"How much is {n}?", "label": label} for n, label in enumerate(("10", "Yes", "2019"))]
    put(folder / "ChartQA Dataset/test/test_human.json", rows[:2])
    put(folder / "ChartQA Dataset/test/test_augmented.json", rows[2:])
    put_images(folder / "ChartQA Dataset/test/png", *(f"4{n}.png" for n in range(3)))


_RELAXED = {"relaxed": 2 / 3, "relaxed/type=human": 0.5, "relaxed/type=augmented": 1}
_case("chartqa", "files", {"human/0": "10.5", "human/1": "no", "augmented/0": "2024"}, _RELAXED, "How much is 2?", split="test")(
    _chartqa_files
)


@_case("chartqa", "parquet", {"0": "10.5", "1": "no", "2": "2024"}, _RELAXED, "How much is 0?", split="test")
def _chartqa_parquet(folder: Path) -> None:
    kinds = (("human_test", "10"), ("human_test", "Yes"), ("augmented_test", "2019"))
    rows = [{"type": kind, "question": f"How much is {n}?", "answer": label} for n, (kind, label) in enumerate(kinds)]
    put_table(folder / "test-00000-of-00001.parquet", shown(rows))


@_case("chartqa", "parquet of HuggingFaceM4", {"0": "10.5", "1": "no", "2": "2024"}, _RELAXED, "How much is 0?", split="test")
def _chartqa_m4(folder: Path) -> None:
    kinds = ((0, "10"), (0, "Yes"), (1, "2019"))
    rows = [{"human_or_machine": kind, "query": f"How much is {n}?", "label": [label]} for n, (kind, label) in enumerate(kinds)]
    put_table(folder / "data/test-00000-of-00001.parquet", shown(rows))


def _vqav2() -> list[dict[str, Any]]:
    kinds = (("yes/no", "yes"), ("number", "2"), ("other", "red"))
    return [
        {
            "question_id": 9000 + n,
            "image_id": 42 + n,
            "question_type": "what",
            "answer_type": kind,
            "multiple_choice_answer": said,
            "answers": [{"answer": said, "answer_confidence": "yes", "answer_id": i} for i in range(1, 11)],
        }
        for n, (kind, said) in enumerate(kinds)
    ]


def _vqav2_files(folder: Path) -> None:
    rows = [{"question_id": row["question_id"], "image_id": row["image_id"], "question": "What?"} for row in _vqav2()]
    put(folder / "v2_OpenEnded_mscoco_val2014_questions.json", {"task_type": "Open-Ended", "questions": rows})
    put(folder / "v2_mscoco_val2014_annotations.json", {"annotations": _vqav2()})
    put_images(folder, *(f"val2014/COCO_val2014_{42 + n:012d}.jpg" for n in range(3)))


_both(
    "vqav2",
    {"9000": "Yes.", "9001": "two", "9002": "blue"},
    {"vqa_v2": 2 / 3, "vqa_v2/answer_type=number": 1, "vqa_v2/answer_type=other": 0},
    "What?",
    image_ids=("42", "43", "44"),
)(
    _vqav2_files,
    lambda folder: put_table(folder / "validation-00000-of-00001.parquet", shown([{**row, "question": "What?"} for row in _vqav2()])),
)


def _gqa() -> list[dict[str, Any]]:
    return [
        {"imageId": f"n{n}", "question": "Where?", "answer": said, "types": {"structural": kind, "semantic": "rel"}}
        for n, (said, kind) in enumerate((("left", "query"), ("yes", "verify"), ("no", "verify")))
    ]


def _gqa_files(folder: Path) -> None:
    put(folder / "testdev_balanced_questions.json", {f"20{n}": row for n, row in enumerate(_gqa())})
    put_images(folder / "images", *(f"n{n}.jpg" for n in range(3)))


def _gqa_parquet(folder: Path) -> None:
    rows = [{"id": f"20{n}", **row} for n, row in enumerate(_gqa())]
    put_table(folder / "testdev_balanced_instructions/testdev-00000-of-00001.parquet", rows)
    put_table(folder / "testdev_balanced_images/testdev-00000-of-00001.parquet", shown([{"id": f"n{n}"} for n in range(3)]))


_both(
    "gqa",
    {"200": "Left.", "201": "the yes", "202": "no"},
    {"gqa": 2 / 3, "gqa/structural=verify": 0.5},
    "Where?",
    image_ids=("n0", "n1", "n2"),
    split="test",
)(_gqa_files, _gqa_parquet)


def _ocrbench() -> list[dict[str, Any]]:
    kinds = (
        ("IIIT5K", "Regular Text Recognition", ["CENTRE"]),
        ("HME100k", "Handwritten Mathematical Expression Recognition", ["x+1"]),
        ("DocVQA", "Doc-oriented VQA", ["12.50"]),
    )
    return [{"dataset": data, "question": "what is written?", "question_type": kind, "answer": answer} for data, kind, answer in kinds]


def _ocrbench_files(folder: Path) -> None:
    put(folder / "OCRBench.json", [{**row, "image": f"set/{n}.png"} for n, row in enumerate(_ocrbench())])
    put_images(folder / "OCRBench_Images/set", *(f"{n}.png" for n in range(3)))


_both(
    "ocrbench",
    {"0": "It says centre.", "1": "x + 1 = 2", "2": "12.5"},
    {"ocrbench": 0.002, "hits": 2, "hits/Text Recognition": 1, "hits/Doc-oriented VQA": 0},
    "what is written?",
    split="test",
)(_ocrbench_files, lambda folder: put_table(folder / "data/test-00000-of-00001.parquet", shown(_ocrbench())))


def _pope_files(folder: Path) -> None:
    asked = [("random", 1, "yes"), ("random", 2, "no"), ("popular", 1, "no")]
    for kind in ("random", "popular"):
        rows = [
            {"question_id": number, "image": f"COCO_val2014_{n:012d}.jpg", "text": "Is there a dog in the image?", "label": label}
            for n, (own, number, label) in enumerate(asked)
            if own == kind
        ]
        put(folder / f"coco_pope_{kind}.json", "\n".join(map(json.dumps, rows)) + "\n")
    put_images(folder / "val2014", *(f"COCO_val2014_{n:012d}.jpg" for n in range(3)))


_POPE = {"random/1": "Yes, there is.", "random/2": "Yes", "popular/1": "No, there is not."}
_DETECTED = {"accuracy": 2 / 3, "precision": 0.5, "recall": 1, "f1_score": 2 / 3, "yes_ratio": 2 / 3, "accuracy/mean": 0.75}
_case("pope", "files", _POPE, _DETECTED, "Is there a dog in the image?", split="test")(_pope_files)


@_case("pope", "parquet", _POPE, _DETECTED, "Is there a dog in the image?", split="test", image_ids=("a", "a", "b"))
def _pope_parquet(folder: Path) -> None:
    asked = [("random", "1", "yes", "a"), ("random", "2", "no", "a"), ("popular", "1", "no", "b")]
    rows = [
        {
            "id": str(n),
            "question_id": number,
            "question": "Is there a dog in the image?",
            "answer": label,
            "image_source": source,
            "category": kind,
        }
        for n, (kind, number, label, source) in enumerate(asked)
    ]
    put_table(folder / "data/test-00000-of-00001.parquet", shown(rows))


_MME = {"mme_perception_score": 200, "acc/OCR": 100, "acc_plus/OCR": 100, "images_without_two_questions": 1}


@_case("mme", "files", {"OCR/0002/1": "Yes", "OCR/0002/2": "no.", "artwork/7/1": "Yes"}, _MME, "Is it a?", split="test")
def _mme_files(folder: Path) -> None:
    ask = "Is it {}? Please answer yes or no."
    put(folder / "OCR/0002.txt", f"{ask.format('a')}\tYes\n{ask.format('b')}\tNo\n")
    put(folder / "artwork/questions_answers_YN/7.txt", f"{ask.format('c')}\tYes\n")
    put(folder / "eval_tool/someone/OCR.txt", "0002.jpg\tIs it?\tYes\tYes\n")
    put_images(folder, "OCR/0002.jpg", "artwork/images/7.png")


@_case("mme", "parquet", {"OCR/2.png/1": "Yes", "OCR/2.png/2": "no.", "artwork/7.png/1": "Yes"}, _MME, "Is it a?", split="test")
def _mme_parquet(folder: Path) -> None:
    asked = [("OCR/2.png", "a", "Yes", "OCR"), ("OCR/2.png", "b", "No", "OCR"), ("artwork/7.png", "c", "Yes", "artwork")]
    rows = [
        {"question_id": name, "question": f"Is it {what}? Please answer yes or no.", "answer": said, "category": kind}
        for name, what, said, kind in asked
    ]
    put_table(folder / "test-00000-of-00001.parquet", shown(rows))


def _mmbench(level: str) -> list[dict[str, Any]]:
    rows = [(7, "colour", "B"), (1000007, "colour", "A"), (8, "shape", "A")]
    return [
        {
            "index": index,
            "question": "Which?",
            "hint": "Look closely." if index == 7 else "nan",
            "A": "red",
            "B": "blue",
            "C": "green",
            "D": "black",
            "answer": answer,
            "category": kind,
            "source": "own",
            level: "perception",
            "split": "dev",
        }
        for index, kind, answer in rows
    ]


def _mmbench_files(folder: Path) -> None:
    rows = _mmbench("l2-category")
    header = [*rows[0], "image"]
    lines = ["\t".join(header)]
    for n, row in enumerate(rows):
        image = "7" if n == 1 else base64.b64encode(png(n)).decode()
        lines.append("\t".join("" if row.get(name) == "nan" else str(row.get(name, image)) for name in header))
    put(folder / "mmbench_dev_20230712.tsv", "\n".join(lines) + "\n")


_both(
    "mmbench",
    {"7": "B", "1000007": "It is blue", "8": "(A)"},
    {
        "mmbench_circular": 0.5,
        "mmbench_choice": 2 / 3,
        "mmbench_circular/category=shape": 1,
        "mmbench_circular/l2_category=perception": 0.5,
    },
    "Look closely.\nWhich?\nA. red\nB. blue\nC. green\nD. black",
)(_mmbench_files, lambda folder: put_table(folder / "en/dev-00000-of-00001.parquet", shown(_mmbench("L2-category"))))


def _scienceqa() -> list[dict[str, Any]]:
    return [
        {
            "question": "Which one?",
            "choices": ["red", "blue"],
            "answer": n % 2,
            "hint": "" if n else "Look.",
            "subject": kind,
            "grade": "g1",
        }
        for n, kind in enumerate(("natural science", "language science", "natural science"))
    ]


def _scienceqa_files(folder: Path) -> None:
    rows = {str(n): {**row, "image": None if n == 1 else "image.png", "split": "test"} for n, row in enumerate(_scienceqa())}
    put(folder / "problems.json", {**rows, "99": {**rows["0"], "split": "train"}})
    put(folder / "pid_splits.json", {"train": ["99"], "val": [], "test": ["0", "1", "2"], "minitest": ["0"]})
    put_images(folder, "test/0/image.png", "unused.png", "test/2/image.png")


def _scienceqa_parquet(folder: Path) -> None:
    rows = shown(_scienceqa())
    rows[1]["image"] = None
    put_table(folder / "test-00000-of-00001.parquet", rows)


_both(
    "scienceqa",
    {"0": "A", "1": "B. blue", "2": "B"},
    {"scienceqa": 2 / 3, "scienceqa/shown=image": 0.5, "scienceqa/shown=text": 1, "scienceqa/subject=natural science": 0.5},
    "Context: Look.\nWhich one?\nA. red\nB. blue",
    split="test",
)(_scienceqa_files, _scienceqa_parquet)


def _seed() -> list[dict[str, Any]]:
    return [
        {
            "question_id": f"10{n}",
            "question": "How?",
            "answer": answer,
            "choice_a": "One",
            "choice_b": "Two",
            "choice_c": "Three",
            "choice_d": "Four",
            "data_id": f"s{n}",
            "data_type": "image",
            "question_type_id": 1 + n // 2,
        }
        for n, answer in enumerate("ABC")
    ]


def _seed_files(folder: Path) -> None:
    video = {**_seed()[0], "question_id": "v", "data_type": "video", "data_id": "v.mp4"}
    put(folder / "SEED-Bench.json", {"question_type": {"Scene Understanding": 1}, "questions": [*_seed(), video]})
    put_images(folder / "SEED-Bench-image", "s0", "s1", "s2")


_both(
    "seed",
    {"100": "A", "101": "b) Two", "102": "(C)"},
    {"seedbench": 2 / 3, "seedbench/question_type=1": 1, "seedbench/question_type=2": 0},
    "How?\nA. One\nB. Two\nC. Three\nD. Four",
    image_ids=("s0", "s1", "s2"),
    split="test",
)(_seed_files, lambda folder: put_table(folder / "test-00000-of-00001.parquet", shown(_seed(), several=True)))


def _ai2d() -> list[dict[str, Any]]:
    return [{"question": "What is A?", "options": ["ear", "nose", "eye", "mouth"], "answer": str(n)} for n in range(3)]


def _ai2d_files(folder: Path) -> None:
    put(folder / "ai2d_test.jsonl", "\n".join(json.dumps({**row, "image": f"{n}.png"}) for n, row in enumerate(_ai2d())))
    put_images(folder / "images", *(f"{n}.png" for n in range(3)))


_both("ai2d", {"0": "a", "1": "nose", "2": "D"}, {"letter": 2 / 3}, "What is A?\nA. ear\nB. nose\nC. eye\nD. mouth", split="test")(
    _ai2d_files, lambda folder: put_table(folder / "data/test-00000-of-00001.parquet", shown(_ai2d()))
)


def _vizwiz_files(folder: Path) -> None:
    rows = [
        {
            "image": f"VizWiz_val_{n}.jpg",
            "question": "What is this?",
            "answers": [{"answer": said, "answer_confidence": "yes"} for said in TEN[key]],
            "answer_type": "other",
            "answerable": 1,
        }
        for n, key in enumerate(("stop", "two", "no"))
    ]
    put(folder / "Annotations/val.json", rows)
    put_images(folder / "val", *(f"VizWiz_val_{n}.jpg" for n in range(3)))


_case(
    "vizwiz",
    "files",
    {f"VizWiz_val_{n}.jpg": said for n, said in enumerate(("stop", "2", "no"))},
    {"vqa": 1.9 / 3, "vqa/answer_type=other": 1.9 / 3},
    "What is this?",
)(_vizwiz_files)


@_case("vizwiz", "parquet", {"v0": "stop", "v1": "2", "v2": "no"}, {"vqa": 1.9 / 3}, "What is this?")
def _vizwiz_parquet(folder: Path) -> None:
    rows = [{"question_id": f"v{n}", "question": "What is this?", "answers": TEN[key]} for n, key in enumerate(("stop", "two", "no"))]
    put_table(folder / "val-00000-of-00001.parquet", shown(rows))


def _vstar() -> list[dict[str, Any]]:
    text = "What is its colour?\n(A) red\n(B) light blue\nAnswer with the option's letter from the given choices directly."
    kinds = ("direct_attributes", "direct_attributes", "relative_position")
    return [{"question_id": n, "text": text, "label": "A" if n else "B", "category": kind} for n, kind in enumerate(kinds)]


def _vstar_files(folder: Path) -> None:
    rows = [{**row, "image": f"{row['category']}/{n}.jpg"} for n, row in enumerate(_vstar())]
    put(folder / "test_questions.jsonl", "\n".join(map(json.dumps, rows)))
    put_images(folder, *(row["image"] for row in rows))


_both(
    "vstar",
    {"0": "(B)", "1": "blue", "2": "A"},
    {"vstar_letter": 2 / 3, "vstar_letter/category=direct_attributes": 0.5},
    "What is its colour?\nA. red\nB. light blue",
    split="test",
)(_vstar_files, lambda folder: put_table(folder / "test-00000-of-00001.parquet", shown(_vstar())))


def _vlmevalkit(choices: bool) -> Callable[[Path], None]:
    """The third row shows the image of the first."""
    images = [base64.b64encode(png(number)).decode() for number in (0, 1)] + ["7"]
    options = {"A": "red", "B": "blue", "C": ""} if choices else {}
    answers = ("B", "A", "A") if choices else ("stop", "['two', '2']", "[no list")
    rows = [
        {"index": 7 + n, "image": image, "question": f"What is {n}?", **options, "answer": answer, "category": "ab"[n // 2]}
        for n, (image, answer) in enumerate(zip(images, answers, strict=True))
    ]
    lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
    return lambda folder: put(folder / "mine.tsv", "\n".join(lines) + "\n") and None


_case(
    "vlmevalkit",
    "choices",
    {"7": "B", "8": "B", "9": "A"},
    {"exact": 2 / 3, "exact/category=a": 0.5},
    "What is 0?\nA. red\nB. blue",
    split="test",
)(_vlmevalkit(choices=True))
_case("vlmevalkit", "words", {"7": "stop", "8": "2", "9": "[no list"}, {"exact": 1.0}, "What is 0?", split="test")(
    _vlmevalkit(choices=False)
)
