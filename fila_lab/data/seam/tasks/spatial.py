"""`spatial`: two marks beside or above each other, with a seam between them; where one lies from the other answers."""

from __future__ import annotations

from dataclasses import replace

from fila_lab.config.data import SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_words import QUESTIONS, RELATIONS, SHAPES
from fila_lab.data.seam import content, render
from fila_lab.data.seam.page_setup import PageSetup
from fila_lab.data.seam.plates import RGB, Plate, shape_block
from fila_lab.data.seam.render import Mark
from fila_lab.data.seam.tasks.base import Draft, Task

SIDE = 0.7
"""Side of a mark over the text height."""
GAP = (0.4, 0.9)
"""Range of the gap between the marks over the text height."""
ASIDE = 0.3
"""How far the second mark may be out of line, over the text height."""


class Spatial(Task):
    """A page carries single marks and one pair; "red from blue?" asks where red lies, seen from blue.

    The seam runs between the two wherever the page has one in that direction, else through both.
    """

    benchmark = "VSR, GQA (relations)"
    about = 'Two shapes on a plate; "red from blue?" asks where red lies: left, right, above or below. The seam runs between them.'
    most_marks = 2

    def draft(self, page: PageSetup) -> Draft:
        draw = page.draw
        ground = render.plate_colour(draw)
        colours = page.shuffled(list(content.COLOURS))
        relation = page.one_of(RELATIONS)
        blocks = [page.fitting(lambda: pair(page, colours[0], colours[1], relation, ground))]
        for _ in range(page.count - 1 + page.seam.clutter):
            blocks.append(page.fitting(lambda: single(page, page.one_of(SHAPES), page.one_of(colours[2:]), page.height(), ground)))

        def smaller(block: render.Block) -> render.Block:
            (mark,) = block.marks
            return page.fitting(lambda: single(page, mark.name, mark.colour, page.smallest, ground))

        return Draft(blocks, QUESTIONS["spatial"].format(colours[0], colours[1]), relation, "pair", smaller=smaller)

    def chance(self, seam: SeamConfig, geometry: GeometryConfig) -> float:
        return 1 / len(RELATIONS)


TASK = Spatial()


def single(page: PageSetup, name: str, colour: str, cap: int, ground: RGB) -> render.Block:
    """A plate with one mark, sized by a text height."""
    return shape_block(name, colour, "mark", max(2, round(SIDE * cap)), ground, page.margin)


def pair(page: PageSetup, first: str, second: str, relation: str, ground: RGB) -> render.Block:
    """Two marks on a plate, `first` in the relation to `second`; both are the ink."""
    draw, margin = page.draw, page.margin
    cap = page.height()
    side, gap, aside = max(2, round(SIDE * cap)), round(draw.uniform(*GAP) * cap), round(draw.uniform(0, ASIDE) * cap)
    along, across = 2 * side + gap + 2 * margin, side + aside + 2 * margin
    shift = (0, aside) if draw.integers(2) else (aside, 0)
    axis = RELATIONS.index(relation) // 2  # 0: beside each other
    plate = Plate(along, across, ground) if axis == 0 else Plate(across, along, ground)
    order = (first, second) if relation in ("left", "above") else (second, first)
    for place, colour in enumerate(order):
        at = (margin + place * (side + gap), margin + shift[place])
        x, y = at if axis == 0 else at[::-1]
        plate.stamp(Mark(page.one_of(SHAPES), colour, "mark", (x, y, x + side, y + side)), asked=True)
    between = (axis, margin + side, margin + side + gap) if page.crossed(axis) else None
    block = plate.block(between)
    return block if page.fits(block) else replace(block, between=None)
