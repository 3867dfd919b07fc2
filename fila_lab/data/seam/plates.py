"""A plate that is composed of text, shapes and bars, piece by piece, and becomes a block."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fila_lab.config.seam_words import SHAPES
from fila_lab.data.seam import content, render
from fila_lab.data.seam.render import Box

RGB = tuple[int, int, int]
LINE: RGB = (150, 150, 150)
"""Colour of frames, rules and grid lines."""


@lru_cache(maxsize=1024)
def shape(name: str, side: int) -> np.ndarray:
    """One of `SHAPES` as a bool mask [side, side] that touches all four sides."""
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side - 0.5
    radius = np.hypot(x, y)
    masks = {
        "ball": radius <= 0.5,
        "ring": (radius <= 0.5) & (radius > 0.26),
        "square": np.ones_like(x, bool),
        "triangle": abs(x) <= (y + 0.5) / 2 + 0.5 / side,
        "diamond": abs(x) + abs(y) <= 0.5 + 0.5 / side,
        "plus": np.minimum(abs(x), abs(y)) < 0.17,
    }
    return masks[name]


class Plate:
    """A plate under construction; lengths are page px. Only what is `asked` counts as ink."""

    def __init__(self, width: int, height: int, colour: RGB) -> None:
        self.rgb = np.empty((height, width, 3), np.uint8)
        self.rgb[:] = colour
        self.ink = np.zeros((height, width), bool)
        self.marks: list[render.Mark] = []

    def write(self, line: render.Line, text: str, colour: str, role: str, x: int, y: int, asked: bool = False) -> Box:
        """A drawn line of text with its ink box at (x, y); one mark a character. Returns the ink box."""
        height, width = line.coverage.shape
        render.paint(self.rgb, line.coverage, x, y, content.COLOURS[colour])
        if asked:
            self.ink[y : y + height, x : x + width] |= line.coverage > 127
        for character, (x0, y0, x1, y1) in zip(text, line.boxes, strict=True):
            self.marks.append(render.Mark(character, colour, role, (x + x0, y + y0, x + x1, y + y1)))
        return x, y, x + width, y + height

    def stamp(self, mark: render.Mark, asked: bool = False, paint: RGB | None = None) -> None:
        """A mark: a shape of `SHAPES`, or a filled box where its name is none; in `paint` instead of its own colour."""
        x0, y0, x1, y1 = mark.box
        mask = shape(mark.name, x1 - x0) if mark.name in SHAPES else np.ones((y1 - y0, x1 - x0), bool)
        self.rgb[y0:y1, x0:x1][mask] = paint or content.COLOURS[mark.colour]
        if asked:
            self.ink[y0:y1, x0:x1] |= mask
        self.marks.append(mark)

    def fill(self, box: Box, colour: RGB) -> None:
        """Paints a box that means nothing by itself: an object's body, a rule, a grid line."""
        x0, y0, x1, y1 = box
        self.rgb[y0:y1, x0:x1] = colour

    def frame(self, thickness: int) -> None:
        """A frame along the plate's edge."""
        height, width = self.ink.shape
        for box in ((0, 0, width, thickness), (0, height - thickness, width, height)):
            self.fill(box, LINE)
        for box in ((0, 0, thickness, height), (width - thickness, 0, width, height)):
            self.fill(box, LINE)

    def block(self, between: tuple[int, int, int] | None = None) -> render.Block:
        return render.Block(self.rgb, self.ink, tuple(self.marks), between)


def shape_block(name: str, colour: str, role: str, side: int, plate: RGB, margin: int) -> render.Block:
    """A plate with a single shape on it, which is all of the ink."""
    made = Plate(side + 2 * margin, side + 2 * margin, plate)
    made.stamp(render.Mark(name, colour, role, (margin, margin, margin + side, margin + side)), asked=True)
    return made.block()
