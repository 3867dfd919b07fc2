"""The contact sheet is a picture, or one clear message."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from fila_lab.config.base import FilaError
from fila_lab.config.data import SeamConfig
from fila_lab.config.geometry import SecondGridConfig, TilingConfig
from fila_lab.data.seam import SeamSuite
from fila_lab.data.seam.preview import CELL, contact_sheet


def test_sheet_grows_with_triplets_and_refuses_unwritable_paths(suite: SeamSuite, tmp_path: Path) -> None:
    heights = []
    for n in (1, 2):
        contact_sheet(suite, "val", n, tmp_path / "sheets" / f"{n}.png")
        with Image.open(tmp_path / "sheets" / f"{n}.png") as image:
            heights.append(image.height)
    assert heights[1] > heights[0] > 0
    contact_sheet(suite, "test", 1, tmp_path / "tasks.png", ("chart", "presence"))
    with Image.open(tmp_path / "tasks.png") as image:
        assert image.height == heights[1]
    tiling = TilingConfig(perspective="both", second=SecondGridConfig())
    seen = SeamSuite(SeamConfig(further_places=("cross",)), suite.geometry.model_copy(update={"tiling": tiling}))
    widths = {}
    for name, own in (("plain", suite), ("seen", seen)):
        contact_sheet(own, "test", 1, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            widths[name] = image.width
    assert widths["seen"] - widths["plain"] == 2 * (CELL + 8), "a further place, and the grids of tiles"
    with pytest.raises(FilaError, match="path="):
        contact_sheet(suite, "val", 1, tmp_path / "sheets" / "1.png" / "x.png")


@pytest.mark.parametrize(
    ("name", "words"), [("notes.txt", "is no picture's name"), ("photo.png", "is there already"), ("folder", "is no picture's name")]
)
def test_a_file_of_somebody_elses_is_not_written_over(name: str, words: str, suite: SeamSuite, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    if not path.is_dir():
        path.write_bytes(b"precious")
    with pytest.raises(FilaError, match=words):
        contact_sheet(suite, "val", 1, path)
    assert path.is_dir() or path.read_bytes() == b"precious"
