"""The contact sheet: triplets side by side, to look at the instrument before believing it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from fila_lab.config.base import FilaError
from fila_lab.data.seam.content import fonts
from fila_lab.data.seam.suite import SeamItem, SeamSuite
from fila_lab.imaging import Geometry, prepare
from fila_lab.imaging.pictures import check_replaceable, draw_seams, grid_pictures, picture_format, save_picture

CELL = 384
"""Side of a picture on the sheet, px."""

TEXT = 44
"""Height of the words above a row, px."""

SEAM, PATCH, TARGET = (255, 0, 200), (120, 170, 255), (0, 200, 60)
SEEN = ("cut, as the ViT sees it", "overview of cut")
DETAIL = "cut, as the ConvNeXt sees it"


def contact_sheet(suite: SeamSuite, split: str, n: int, path: Path, tasks: Sequence[str] = ()) -> None:
    """Writes a picture with `n` triplets of a split: of the suite's own mixture, or of each of `tasks`.

    A row shows all places with seams (magenta), patch borders (thin blue) and the target's plate (green), then the cut page at canvas
    resolution and its overview, both enlarged; where some text is below the canvas's legibility the detail input, and where the tiling has
    strided tiles or a second grid, the grids of tiles; above it id, question, answer and cut fraction.

    Raises:
        FilaError: it cannot be written, or a file of something else stands there.
    """
    if n < 1:
        raise FilaError(f"n={n} triplets cannot be drawn; choose at least 1")
    if picture_format(Path(path)) is None:
        raise FilaError(f"--out={path} is no picture's name; give one that ends in .png, .jpg or .webp")
    check_replaceable(Path(path))
    font = ImageFont.truetype(str(fonts("train")[0]), 17)
    gap, head = 8, 30
    rows = [(source, index) for source in [suite.only(name) for name in tasks] or [suite] for index in range(n)]
    grids = () if suite.geometry.tiling.one_grid else ("cut, the grids of tiles",)
    fine = suite.seam.below_share > 0 and suite.geometry.has_detail
    columns = (*suite.seam.test_places, *SEEN, *((DETAIL,) if fine else ()), *grids)
    sheet = Image.new("RGB", (len(columns) * (CELL + gap) + gap, head + len(rows) * (CELL + TEXT + gap)), (250, 250, 250))
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(columns):
        draw.text((gap + column * (CELL + gap), 6), title, fill=(0, 0, 0), font=font)
    for row, (source, index) in enumerate(rows):
        items = source.placed(split, index)
        cut = items[0]
        top = head + row * (CELL + TEXT + gap)
        draw.text((gap, top + 4), _words(cut), fill=(0, 0, 0), font=font)
        prepared = prepare(cut.image, suite.geometry)
        plain = Image.fromarray(prepared.canvas)
        pictures = [_marked(item, suite) for item in items] + [_enlarged(plain), _enlarged(Image.fromarray(prepared.overview))]
        if fine and prepared.detail is not None:
            pictures.append(_enlarged(Image.fromarray(prepared.detail)))
        if grids:
            pictures.append(_beside([picture for _, picture in grid_pictures(prepared, SEAM)]))
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (gap + column * (CELL + gap), top + TEXT))
    try:
        save_picture(sheet, Path(path))
    except (OSError, ValueError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or error
        raise FilaError(f"path={path}: the contact sheet cannot be written ({said}); choose another file") from error


def _words(item: SeamItem) -> str:
    how = f" by {item.addressing}" if item.addressing else ""
    canvas = f"canvas {item.canvas[0]}x{item.canvas[1]}"
    cut = f"cut {item.cut_fraction:.0%} along {item.axis}, {item.evidence}"
    cut += f"   text {item.height_class}" if item.height_class == "below" else ""
    text = f"{item.item_id}   question  {item.question}   answer  {item.answer}   {how}   {cut}"
    return f"{text}   {canvas}   {item.image_id}   distractors {', '.join(item.shown) or 'none'}"


def _marked(item: SeamItem, suite: SeamSuite) -> Image.Image:
    """The page with patch borders, seams and the target's plate drawn, scaled into a cell."""
    image = item.image.copy()
    geometry = Geometry.of(image.width, image.height, suite.geometry.reference)
    draw = ImageDraw.Draw(image)
    for step in range(suite.patch, max(image.size), suite.patch):
        draw.line([(step, 0), (step, image.height)], fill=PATCH)
        draw.line([(0, step), (image.width, step)], fill=PATCH)
    draw_seams(image, geometry, suite.patch / suite.geometry.patch, SEAM, width=3)
    x0, y0, x1, y1 = item.target_box
    draw.rectangle((x0 - 3, y0 - 3, x1 + 2, y1 + 2), outline=TARGET, width=3)
    return _enlarged(image)


def _beside(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of any size in one cell, two a row, each as large as it fits."""
    sheet, half, gap = Image.new("RGB", (CELL, CELL), (250, 250, 250)), CELL // 2, 4
    side = CELL if len(pictures) == 1 else half
    for number, picture in enumerate(pictures):
        factor = (side - gap) / max(picture.size)
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        sheet.paste(picture.resize(size, Image.Resampling.NEAREST), (number % 2 * half, number // 2 * half))
    return sheet


def _enlarged(image: Image.Image) -> Image.Image:
    factor = CELL / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BOX)
