"""What a row in LLaVA's format says, and how rows come out of a file: against the rules of LLaVA and against the json module."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llava_files import talk, write

from fila_lab.config.base import FilaError
from fila_lab.data.llava import json_rows as module
from fila_lab.data.llava.conversation import BadRow, read_conversation
from fila_lab.data.llava.json_rows import json_rows

PICTURED: dict[str, Any] = {"id": "a", "image": "x.png"}


@pytest.mark.parametrize(
    ("question", "shown"),
    [
        ("<image>\nWhat?", "What?"),
        ("What?\n<image>", "What?"),
        ("<image> a <image> b", "a  b"),  # LLaVA 1.5: all of them collapse to one
        ("<image>", ""),
        (" <image> Name it. ", "Name it."),
    ],
)
def test_the_image_stands_before_the_question(question: str, shown: str) -> None:
    assert read_conversation(PICTURED | {"conversations": talk(question, "b")}).texts == [shown, "b"]


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        ({"conversations": talk("a", "b", "c", "d")}, ["a", "b", "c", "d"]),
        ({"conversations": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, ["a", "b"]),
        ({"conversations": [{"from": "gpt", "value": "hello"}, *talk("a", "b")]}, ["a", "b"]),
        ({"conversations": [{"role": "system", "content": "be brief"}, *talk("a", "b")]}, ["a", "b"]),
        ({"conversations": talk(" a ", " b\n")}, [" a ", " b\n"]),
        (PICTURED | {"conversations": talk("a", "b", "c <image>", "d")}, ["a", "b", "c", "d"]),
        ({"image": None, "conversations": talk("a", "b")}, ["a", "b"]),
        ({"image": [], "conversations": talk("a", "b")}, ["a", "b"]),
    ],
)  # fmt: skip
def test_turns_are_questions_and_answers(row: dict[str, Any], texts: list[str]) -> None:
    assert read_conversation(row).texts == texts


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"conversations": talk("a", " ")}, "empty answer"),
        ({"conversations": talk(" ", "b")}, "empty question"),
        ({"conversations": talk("a")}, "no answer"),
        ({"conversations": talk("a", "b", "c")}, "no answer"),
        ({"conversations": []}, "no conversations"),
        ({"conversations": [{"from": "gpt", "value": "a"}]}, "no conversations"),
        ({"question": "a", "answer": "b"}, "no conversations"),
        ({"conversations": "a"}, "wrong type"),
        ({"conversations": ["a", "b"]}, "wrong type"),
        ({"conversations": [{"from": "human", "value": 7}, {"from": "gpt", "value": "b"}]}, "wrong type"),
        ({"conversations": [{"from": "human"}, {"from": "gpt", "value": "b"}]}, "wrong type"),
        ({"conversations": [{"role": "user", "content": [{"type": "text"}]}, {"role": "assistant", "content": "b"}]}, "wrong type"),
        ({"conversations": [*talk("a", "b"), {"from": "tool", "value": "c"}]}, "wrong role"),
        ({"conversations": [*talk("a", "b"), {"from": ["x"], "value": "c"}]}, "wrong role"),
        ({"conversations": [*talk("a", "b"), {"value": "c"}]}, "wrong role"),
        ({"conversations": [*talk("a"), *talk("a", "b")]}, "order of turns"),
        ({"conversations": [*talk("a", "b"), {"from": "gpt", "value": "c"}]}, "order of turns"),
        ({"conversations": [{"from": "system", "value": "s"}, {"from": "gpt", "value": "c"}, *talk("a", "b")]}, "order of turns"),
        ({"conversations": talk("<image>\na", "b")}, "<image> without image"),
        (PICTURED | {"conversations": talk("a", "b")}, "image without <image>"),
        (PICTURED | {"conversations": talk("<image> a", "b", "<image> c", "d")}, "count of <image>"),
        (PICTURED | {"conversations": talk("<image> a", "see <image>")}, "<image> in an answer"),
        ({"image": ["a.png", "b.png"], "conversations": talk("<image><image> a", "b")}, "several images"),
        ({"image": 7, "conversations": talk("<image> a", "b")}, "wrong type"),
        ({"image": "", "conversations": talk("<image> a", "b")}, "image path"),
        ({"image": "/etc/x.png", "conversations": talk("<image> a", "b")}, "image path"),
        ({"image": "a/../../x.png", "conversations": talk("<image> a", "b")}, "image path"),
        ({"image": "a\0.png", "conversations": talk("<image> a", "b")}, "image path"),
        ({"video": "x.mp4", "conversations": talk("a", "b")}, "video"),
        ({"id": 1.5, "conversations": talk("a", "b")}, "wrong type"),
        ({"id": True, "conversations": talk("a", "b")}, "wrong type"),
        ({"data_source": 3, "conversations": talk("a", "b")}, "wrong type"),
        (["a"], "no row"),
        (None, "no row"),
    ],
)
def test_what_cannot_be_used_is_set_aside_with_its_reason(row: Any, reason: str) -> None:
    with pytest.raises(BadRow) as caught:
        read_conversation(row)
    assert caught.value.reason == reason
    aside = caught.value.aside("mine.json", 4, row)
    assert aside.message.startswith("mine.json, row 5")
    assert len(aside.message) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(['"]}, {"id": "', '}, {"image": 1}', "\\", '"', "\ud83d", "é", "🙂 \\u12", "]", "[{"]),
)
TURNS = st.lists(
    st.fixed_dictionaries({"from": st.sampled_from(["human", "gpt", "user", "system"]) | JSON, "value": TEXTS | JSON}) | JSON, max_size=4
)
ROWS = st.fixed_dictionaries(
    {"conversations": TURNS | JSON}, optional={"id": JSON, "image": JSON | st.text(max_size=9), "data_source": JSON, "video": JSON}
)


@settings(max_examples=150)
@given(row=ROWS | JSON)
def test_any_row_is_a_conversation_or_one_reason(row: Any) -> None:
    try:
        found = read_conversation(row)
    except BadRow as bad:
        bad.aside("file", 0, row).message.encode()
        return
    assert len(found.texts) % 2 == 0
    assert all(text.strip() for text in found.texts[1::2])
    assert not any("<image>" in text for text in found.texts)


@settings(max_examples=80)
@given(
    rows=st.lists(ROWS | JSON, max_size=8),
    indent=st.sampled_from([None, 0, 2, "\t"]),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")]),
    plain=st.booleans(),
    chunk=st.sampled_from([16, 64, 300, 1 << 20]),
    data=st.data(),
)
def test_rows_are_those_of_the_json_module(rows: list[Any], indent: Any, separators: Any, plain: bool, chunk: int, data: Any) -> None:
    """However it is written and wherever a chunk ends; a file that was cut off is never a shorter one."""
    text = json.dumps(rows, indent=indent, separators=separators, ensure_ascii=True)
    if plain:
        text = json.dumps(rows, indent=indent, separators=separators, ensure_ascii=False).encode("utf-8", "replace").decode()
        rows = json.loads(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        path = Path(data.draw(st.just("."))) / "unused"
        whole = text.encode()
        found = _read(patch, path, b" \n" + whole + b" ")
        assert [row for _, _, row in found] == rows
        assert [json.loads(content) for _, content, _ in found] == rows
        assert all((b" \n" + whole)[start : start + len(content)] == content for start, content, _ in found)
        cut = data.draw(st.integers(1, len(whole) - 1))
        with pytest.raises(FilaError):
            _read(patch, path, whole[:cut])


def _read(patch: pytest.MonkeyPatch, path: Path, content: bytes) -> list[Any]:
    import io

    patch.setattr(Path, "open", lambda *_: io.BytesIO(content))
    return list(json_rows(path))


def test_a_row_that_a_chunk_cannot_hold_and_borders_in_texts_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"id": "a", "conversations": talk("x" * 5000 + '}, {"id": 1}', "b")},
        {"id": "b", "conversations": talk("é" * 3000, "🙂" * 900)},
    ]
    path = write(tmp_path / "rows.json", rows * 300)
    monkeypatch.setattr(module, "CHUNK", 1 << 12)
    assert [row for _, _, row in json_rows(path)] == rows * 300


@pytest.mark.parametrize("style", [{"separators": (",", ":")}, {}, {"indent": 1}, {"indent": 0}, {"separators": (" ,\n ", " : ")}])
def test_only_rows_at_the_end_of_a_chunk_are_read_alone(style: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stands between rows: to fail at each of them would take minutes."""
    path = write(tmp_path / "rows.json", [{"id": n, "conversations": talk("a", "b" * 50)} for n in range(2000)], **style)
    monkeypatch.setattr(module, "CHUNK", 1 << 14)
    alone: list[int] = []
    whole = module._Window.value
    monkeypatch.setattr(module._Window, "value", lambda window: alone.append(window.at) or whole(window))
    assert len(list(json_rows(path))) == 2000
    assert len(alone) <= path.stat().st_size / (1 << 14) + 2


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n"])
def test_lines_are_rows_and_a_bad_one_is_alone(tmp_path: Path, ending: str) -> None:
    lines = ['{"id": 1}', "{", '{"id": "é"}', '{"id": "\\ud800"}', "[1]"]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + ending.join(lines).encode() + b'\n{"id": "\xff"}\n')
    found = list(json_rows(path))
    assert [row for _, _, row in found if not isinstance(row, BadRow)] == [{"id": 1}, {"id": "é"}, {"id": "\ud800"}, [1]]
    assert [str(row)[:14] for _, _, row in found if isinstance(row, BadRow)] == ["it is no JSON ", "it is not UTF-"]
    content = path.read_bytes()
    assert all(content[start : start + len(own)] == own for start, own, _ in found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" \n ", "is empty"),
        ("hello", "neither a JSON list nor lines"),
        ('[\n{"id": 1},\n{"id": 2\n', r"ends in the middle of a row \(line 3\)"),
        ('[\n{"id": 1},\n{"id": 2}\n', r"line 4: no JSON \(the file ends before its \]\)"),
        ('[\n{"id": 1},\n{"id" 2}\n' + " " * 99 + "]", "line 3: no JSON"),
        ('[\n{"id": 1}\n{"id": 2}]', r"line 3: no JSON \('\{' stands where"),
        ('[{"id": 1},\n]', "line 2: no JSON"),
        ('[{"id": 1},\n', r"ends behind a comma \(line 2\)"),
        ('[{"id": 1}]\n[', "line 2: something stands behind"),
        ('[{"id": ' + "7" * 5000 + "}]", "a row that cannot be read"),
        ("[" * 100_000, "cannot be read|middle of a row"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FilaError, match=words) as caught:
        list(json_rows(path))
    assert str(path) in str(caught.value)


def test_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes('[{"id": "é"}]'.encode("latin-1"))
    with pytest.raises(FilaError, match="not UTF-8"):
        list(json_rows(path))
    path.write_bytes('[{"id": 1}]'.encode("utf-16"))
    with pytest.raises(FilaError, match="UTF-8"):
        list(json_rows(path))
