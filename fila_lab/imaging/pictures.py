"""Pictures that a verb writes under a name a user chose: in one piece, and over nothing that is not fila_lab's own."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import ExifTags, Image, ImageDraw

from fila_lab.config.base import FilaError
from fila_lab.config.files import write_atomically
from fila_lab.imaging.geometry import Geometry
from fila_lab.imaging.prepare import Prepared, join_tiles

MARK = "fila_lab"
"""What a picture's EXIF tag Software says, in every format that has EXIF."""


def picture_format(path: Path) -> str | None:
    """Pillow's name of the format that a suffix stands for, where it can be written."""
    found = Image.registered_extensions().get(path.suffix.lower())
    return found if found in Image.SAVE else None


def check_replaceable(path: Path) -> None:
    """Refuse a file that is there already and was not written here: it would be lost.

    Raises:
        FilaError: naming it.
    """
    if os.path.lexists(path) and not path.is_dir() and not _is_ours(path):
        raise FilaError(
            f"--out={path} is there already, and is no picture of fila-lab, so it would be lost; give another name, or move it away"
        )


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture in the format of its suffix, with the mark by which `check_replaceable` knows it.

    Raises:
        FilaError: a file that is not fila_lab's own is there.
        OSError, ValueError: it cannot be written.
    """
    check_replaceable(path)
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = MARK
    buffer = io.BytesIO()
    picture.save(buffer, picture_format(path), exif=exif)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())


def draw_seams(picture: Image.Image, geometry: Geometry, scale: float, colour: tuple[int, int, int], width: int = 1) -> None:
    """Lines where tiles meet, on a picture of the canvas or the page on it; scale: of the picture's px to the canvas'."""
    pen = ImageDraw.Draw(picture)
    for x in geometry.seams_x:
        pen.line((x * scale, 0, x * scale, picture.height), fill=colour, width=width)
    for y in geometry.seams_y:
        pen.line((0, y * scale, picture.width, y * scale), fill=colour, width=width)


def grid_pictures(prepared: Prepared, colour: tuple[int, int, int], width: int = 1) -> list[tuple[str, Image.Image]]:
    """(what it is, picture) of each grid of tiles: the canvas as it is cut, lines where tiles meet; strided tiles side by side."""
    found, before = [], 0
    layout, tile = prepared.geometry.layout, prepared.geometry.tile
    for number, (grid, canvas) in enumerate(zip(layout.grids, prepared.canvases, strict=True)):
        count = grid.rows * grid.cols
        name = "strided tiles" if grid.strided else "second grid" if number else "tiles"
        pixels = join_tiles(prepared.tiles[before : before + count], grid.rows, grid.cols) if grid.strided else canvas
        before += count
        picture = Image.fromarray(pixels)
        pen = ImageDraw.Draw(picture)
        for starts, line in ((grid.starts_x, "x"), (grid.starts_y, "y")):
            for at in (start * tile // grid.grid for start in starts[1:]):
                ends = (at, 0, at, picture.height) if line == "x" else (0, at, picture.width, at)
                pen.line(ends, fill=colour, width=width)
        found.append((f"{name}, {grid.cols} x {grid.rows}", picture))
    return found


def _is_ours(path: Path) -> bool:
    try:
        if path.is_symlink() or not path.is_file():
            return False
        with Image.open(path) as picture:
            return picture.getexif().get(ExifTags.Base.Software) == MARK
    except Exception:  # whatever a decoder trips over in what is no picture
        return False
