"""A folder is itself wherever it is moved or mounted, and a copy of it is another."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from fila_lab.studies.folder_mark import FolderMark


def mark(root: Path) -> FolderMark:
    (root / "sweep").mkdir(parents=True, exist_ok=True)
    return FolderMark.of(root, root / "sweep" / "key.json")


def test_a_folder_keeps_its_id_where_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = mark(tmp_path / "a")
    assert mark(tmp_path / "a") == first
    (tmp_path / "a").rename(tmp_path / "b")
    moved = mark(tmp_path / "b")
    assert (moved.id, moved.path) == (first.id, str(tmp_path / "b"))
    assert moved.owns(first.to_dict())
    shutil.copytree(tmp_path / "b", tmp_path / "c")
    assert mark(tmp_path / "c").id != first.id, "a copy, while the other is there"
    shutil.copytree(tmp_path / "b", tmp_path / "d")
    shutil.rmtree(tmp_path / "b")
    assert mark(tmp_path / "d").id == first.id, "moved to another disk, say"
    monkeypatch.setattr("socket.gethostname", lambda: "node-2")
    assert mark(tmp_path / "d").id == first.id, "the same disk, mounted elsewhere"
    shutil.copytree(tmp_path / "d", tmp_path / "e")
    monkeypatch.setattr("socket.gethostname", lambda: "node-3")
    assert mark(tmp_path / "e").id != first.id, "copied to another machine"


def test_a_folder_is_known_after_its_file_was_lost_or_torn(tmp_path: Path) -> None:
    first = mark(tmp_path / "a")
    (tmp_path / "a" / "sweep" / "key.json").write_text("{", encoding="utf-8")
    again = mark(tmp_path / "a")
    assert again.id != first.id
    assert again.owns(first.to_dict())
    assert not again.owns(dataclasses.replace(first, path="/elsewhere").to_dict())
    assert not again.owns({})
    assert json.loads((tmp_path / "a" / "sweep" / "key.json").read_text(encoding="utf-8")) == again.to_dict()
