"""JSON files: every damage is a ValueError, and every room reads by the one reader that promises it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fila_lab
from fila_lab.config.json_files import parse_json, read_json

DAMAGES = {
    "empty": b"",
    "half": b'{"a": [1',
    "not UTF-8": b'{"a": "\xff"}',
    "deep lists": b"[" * 100_000,
    "deep maps": b'{"a":' * 100_000,
    "deep and whole": b"[" * 100_000 + b"]" * 100_000,
    "a number of too many digits": b"1" * 100_000,
}
OF_OUR_OWN = {"cost/fresh.py", "data/seam/export.py", "data/llava/index.py"}
"""Read what a process of ours has just said, or lines that this laboratory wrote."""


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_a_value_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(DAMAGES[damage])
    with pytest.raises(ValueError, match=r"."):
        read_json(path)


def test_what_is_whole_is_read() -> None:
    assert parse_json('{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}


def test_every_room_reads_json_by_the_one_reader() -> None:
    package = Path(fila_lab.__file__).parent
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("load", "loads") and getattr(node.value, "id", "") == "json":
                found.add(path.relative_to(package).as_posix())
    assert found - OF_OUR_OWN == {"config/json_files.py"}
