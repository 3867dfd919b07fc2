"""A page with one or two entities at one of nine places, and what stands where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from fila_lab.config.seam_words import COLOUR_NAMES, SHAPES
from fila_lab.data.seam.content import COLOURS
from fila_lab.data.seam.plates import shape

ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")
PLACES: tuple[str, ...] = tuple(f"{row} {column}" for row in ROWS for column in COLUMNS)
"""The nine places in raster order, as answers name them; their middles lie at one, two and three quarters of a side."""
WHERE = {"corner": 0, "edge": 1, "centre": 2}
"""Place class -> seams through its middle: the middle of a tile, of a seam between two tiles, and where four meet."""
BLANK = (255, 255, 255)
APART = 0.1
"""Gap between two entities, over a side."""


def place_class(place: int) -> str:
    """The class of a place, by how many of its coordinates are a half."""
    seams = sum(at == 1 for at in divmod(place, 3))
    return next(name for name, count in WHERE.items() if count == seams)


@dataclass(frozen=True)
class Entity:
    """A coloured shape."""

    colour: str
    shape: str

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


def entities(draw: np.random.Generator, count: int) -> tuple[Entity, ...]:
    """Different ones, all equally likely."""
    numbers = draw.permutation(len(COLOUR_NAMES) * len(SHAPES))[:count]
    return tuple(Entity(COLOUR_NAMES[number // len(SHAPES)], SHAPES[number % len(SHAPES)]) for number in map(int, numbers))


def paint(side: int, place: int, shown: tuple[Entity, ...], size: int, across: bool) -> Image.Image:
    """A square page of `side` px with entities of `size` px, their common middle at a place; two stand side by side (`across`) or one above
    the other."""
    page = np.empty((side, side, 3), np.uint8)
    page[:] = BLANK
    row, column = divmod(place, 3)
    middle_x, middle_y = (column + 1) * side // 4, (row + 1) * side // 4
    step = round(size * (1 + APART))
    for number, entity in enumerate(shown):
        along = round((number - (len(shown) - 1) / 2) * step)
        x, y = (middle_x + along, middle_y) if across else (middle_x, middle_y + along)
        left, top = x - size // 2, y - size // 2
        page[top : top + size, left : left + size][shape(entity.shape, size)] = COLOURS[entity.colour]
    return Image.fromarray(page)
