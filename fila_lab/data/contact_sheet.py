"""A contact sheet of any suite: images with their seams, questions and answers, to look at the data before training on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from fila_lab.config.base import FilaError
from fila_lab.config.geometry import GeometryConfig, Size
from fila_lab.config.texts import one_line
from fila_lab.data.suite import Item, Suite, UnusableRow
from fila_lab.imaging import Geometry
from fila_lab.imaging.pictures import check_replaceable, picture_format, save_picture

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

CARD, PICTURE, GAP, LINE = 420, 320, 12, 18
"""Width of a card and height of its picture, px; space between cards; height of a line of text."""
COLUMNS = 4
LINES = {"question": 5, "answer": 3}
"""Lines that a text may take."""
TURNS = 2
"""Turns of a row that are shown."""
SEAM, PAPER, INK, FAINT, ANSWER = (255, 0, 200), (250, 250, 250), (0, 0, 0), (110, 110, 110), (0, 110, 40)


def draw_sheet(suite: Suite, split: str, geometry: GeometryConfig, count: int, path: Path) -> list[str]:
    """Write a picture of `count` items of a split, spread over its tasks; returns what cannot be shown of them.

    Seams are magenta, as the canvas puts them over the image. Raises FilaError where the picture cannot be written.
    """
    path = Path(path)
    if picture_format(path) is None:
        raise FilaError(f"--out={path} is no picture's name; give one that ends in .png, .jpg or .webp")
    check_replaceable(path)
    items = _chosen(suite, split, count)
    font, bad = _font(), []
    texts = [_lines(item, size, geometry, font) for item, size in items]
    columns = min(COLUMNS, len(items))
    heights = [PICTURE + max(map(len, texts[i : i + columns])) * LINE + 3 * GAP for i in range(0, len(items), columns)]
    sheet = Image.new("RGB", (columns * (CARD + GAP) + GAP, sum(heights) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (item, _) in enumerate(items):
        left, top = GAP + number % columns * (CARD + GAP), GAP + sum(heights[: number // columns])
        try:
            picture = _picture(item, geometry)
        except UnusableRow as error:
            bad.append(str(error))
            picture = None
        if picture is not None:
            sheet.paste(picture, (left + (CARD - picture.width) // 2, top))
        else:
            words = "text only" if item.image is None else "cannot be read"
            draw.text((left + CARD // 2, top + PICTURE // 2), words, fill=FAINT, font=font, anchor="mm")
        for place, (colour, text) in enumerate(texts[number]):
            draw.text((left, top + PICTURE + GAP + place * LINE), text, fill=colour, font=font)
    try:
        save_picture(sheet, path)
    except (OSError, ValueError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or error
        raise FilaError(f"--out={path}: the contact sheet cannot be written ({said}); choose another file") from error
    return bad


def _chosen(suite: Suite, split: str, count: int) -> list[tuple[Item, Size | None]]:
    """The first item of so many headings and its image's size, of every task in turn, each task's spread evenly over the split."""
    places: dict[str, list[int]] = {}
    lost: list[str] = []
    for index in range(suite.length(split)):
        try:
            places.setdefault(suite.heading(split, index).task, []).append(index)
        except UnusableRow as error:
            lost.append(str(error))
    if not places:
        raise FilaError(f"{suite.name}: no row of {split} can be shown, the first because {lost[0]}; mend the files")
    share = -(-count // len(places))
    spread = [[own[number * len(own) // min(share, len(own))] for number in range(min(share, len(own)))] for own in places.values()]
    indices = [own[turn] for turn in range(share) for own in spread if turn < len(own)][:count]
    return [(suite.items(split, index)[0], suite.heading(split, index).size) for index in indices]


def _picture(item: Item, geometry: GeometryConfig) -> Image.Image | None:
    """The image with the seams of its canvas, made to fit a card."""
    image = item.pixels()
    if image is None:
        return None
    own = Geometry.of(*image.size, geometry)
    factor = min(CARD / image.width, PICTURE / image.height)
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    picture = image.resize(size, Image.Resampling.BOX if factor < 1 else Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    for axis, seams in enumerate((own.seams_x, own.seams_y)):
        for seam in seams:
            place = round((seam - own.offset[axis]) / own.scales[axis] * factor)
            if 0 < place < size[axis]:
                draw.line([(place, 0), (place, size[1])] if axis == 0 else [(0, place), (size[0], place)], fill=SEAM, width=2)
    return picture


def _lines(item: Item, size: Size | None, geometry: GeometryConfig, font: FreeTypeFont) -> list[tuple[tuple[int, int, int], str]]:
    """(colour, text) of each line below a picture."""
    head = [f"{item.task}   {item.item_id}"]
    if size is not None:
        own = Geometry.of(*size, geometry)
        head.append(
            f"{size[0]} x {size[1]} px, canvas {own.canvas[0]} x {own.canvas[1]}, {own.tiles} {'tile' if own.tiles == 1 else 'tiles'}"
        )
    lines = [(FAINT, line) for text in head for line in _wrapped(text, font, 1)]
    for turn in item.turns[:TURNS]:
        lines += [(INK, line) for line in _wrapped(turn.question or "(no question)", font, LINES["question"])]
        answers = " | ".join(dict.fromkeys(turn.answers)) or "(answer not known)"
        lines += [(ANSWER, line) for line in _wrapped(answers, font, LINES["answer"])]
    if more := len(item.turns) - TURNS:
        lines += [(FAINT, f"and {more} more")] if more > 0 else []
    return lines


def _wrapped(text: str, font: FreeTypeFont, most: int) -> list[str]:
    """A text in at most so many lines of a card's width; what is left out is an ellipsis."""
    left = one_line(text)
    lines: list[str] = []
    while left and len(lines) < most:
        end = _fitting(left, font)
        if end < len(left) and len(lines) == most - 1:
            lines.append(left[: max(1, end - 2)].rstrip() + "…")
            break
        space = left.rfind(" ", 1, end + 1) if end < len(left) else -1
        end = space if space > 0 else end
        lines.append(left[:end].rstrip())
        left = left[end:].lstrip()
    return lines


def _fitting(text: str, font: FreeTypeFont) -> int:
    """How many characters go on a line, at least one."""
    low, high = 1, min(len(text), CARD // 2)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(text[:middle]) <= CARD else (low, middle - 1)
    return low


def _font() -> FreeTypeFont:
    from matplotlib import get_data_path

    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 13)
