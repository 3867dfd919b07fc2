"""`attribute`: a small light mark on a coloured object; which mark it is answers."""

from __future__ import annotations

from functools import partial

from fila_lab.config.data import SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_words import QUESTIONS, SHAPES
from fila_lab.data.seam import content, render
from fila_lab.data.seam.page_setup import PageSetup
from fila_lab.data.seam.plates import RGB, Plate
from fila_lab.data.seam.render import Mark
from fila_lab.data.seam.tasks.base import Draft, Task

OBJECT, MARK = 1.5, 0.65
"""Sides of an object and of the mark on it, over the text height."""


class Attribute(Task):
    """A page carries coloured objects with a mark each; "mark on red?" asks for the shape of the mark on the red one."""

    benchmark = "V*Bench (attributes)"
    about = 'Coloured squares with a small light mark anywhere on them; "mark on red?" asks for its shape.'
    most_marks = 1

    def draft(self, page: PageSetup) -> Draft:
        draw = page.draw
        ground = render.plate_colour(draw)
        colours = page.shuffled(list(content.COLOURS))
        asked, rest = colours[0], colours[1:]
        answer = page.one_of(SHAPES)
        blocks = [page.fitting(partial(_drawn, page, answer, asked, ground))]
        for number in range(page.count - 1 + page.seam.clutter):
            name, colour = page.one_of(SHAPES), rest[number % len(rest)]
            blocks.append(page.fitting(partial(_drawn, page, name, colour, ground)))

        def smaller(block: render.Block) -> render.Block:
            (mark,) = block.marks
            return page.fitting(lambda: marked(page, mark.name, mark.colour, page.smallest, ground))

        return Draft(blocks, QUESTIONS["attribute"].format(asked), answer, "colour", smaller=smaller)

    def chance(self, seam: SeamConfig, geometry: GeometryConfig) -> float:
        return 1 / len(SHAPES)


TASK = Attribute()


def _drawn(page: PageSetup, name: str, colour: str, ground: RGB) -> render.Block:
    return marked(page, name, colour, page.height(), ground)


def marked(page: PageSetup, name: str, colour: str, cap: int, ground: RGB) -> render.Block:
    """An object with a mark, sized by a text height; the mark alone is the ink, and it counts as of its object's colour."""
    margin = page.margin // 2
    body, side = max(6, round(OBJECT * cap)), max(2, round(MARK * cap))
    plate = Plate(body + 2 * margin, body + 2 * margin, ground)
    plate.fill((margin, margin, margin + body, margin + body), content.COLOURS[colour])
    rim = max(1, body // 10)
    x, y = (margin + rim + int(page.draw.integers(body - side - 2 * rim + 1)) for _ in range(2))
    plate.stamp(Mark(name, colour, "mark", (x, y, x + side, y + side)), asked=True, paint=ground)
    return plate.block()
