"""A picture replaces an earlier one of its own kind, and nothing else, whatever stands under its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fila_lab.config.base import FilaError
from fila_lab.imaging.pictures import check_replaceable, save_picture

PICTURE = Image.new("RGB", (8, 6), "red")


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG", "webp", "tif"])
def test_an_earlier_picture_is_replaced(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / f"x.{suffix}"
    for size in (8, 16):
        save_picture(PICTURE.resize((size, size)), path)
        with Image.open(path) as written:
            assert written.size == (size, size)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def linked(path: Path, to: str) -> None:
    (path.parent / "precious.png").write_bytes(b"precious")
    os.symlink(to, path)


FOREIGN: dict[str, Callable[[Path], object]] = {
    "bytes": lambda path: path.write_bytes(b"precious"),
    "empty": lambda path: path.touch(),
    "photo": lambda path: PICTURE.save(path),
    "bomb": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\2\0\0\0"),
    "link": lambda path: linked(path, "precious.png"),
    "dangling": lambda path: linked(path, "nowhere.png"),
    "pipe": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_not_ours_stays(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    FOREIGN[kind](path)
    before = {each.name: (each.lstat().st_ino, each.lstat().st_size) for each in tmp_path.iterdir()}
    for write in (check_replaceable, lambda path: save_picture(PICTURE, path)):
        with pytest.raises(FilaError, match=r"x\.png is there already, and is no picture of fila-lab"):
            write(path)
    assert {each.name: (each.lstat().st_ino, each.lstat().st_size) for each in tmp_path.iterdir()} == before
