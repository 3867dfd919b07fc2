"""`presence`: is there an object of this colour and shape? Where not, one of the colour has another shape."""

from __future__ import annotations

from fila_lab.config.data import SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_words import NO, QUESTIONS, SHAPES, YES
from fila_lab.data.seam import content, render
from fila_lab.data.seam.page_setup import PageSetup
from fila_lab.data.seam.plates import shape_block
from fila_lab.data.seam.tasks.base import Draft, Task


class Presence(Task):
    """A page carries objects; "red ring?" is answered yes or no, equally often.

    Exactly one object has the asked colour; it is the target, and its shape decides. Others may have the asked shape.
    """

    benchmark = "POPE"
    about = 'Coloured shapes; "red ring?" asks whether there is a red ring. Where not, the red one has another shape.'
    most_marks = 1

    def draft(self, page: PageSetup) -> Draft:
        draw = page.draw
        ground = render.plate_colour(draw)
        colours = page.shuffled(list(content.COLOURS))
        shapes = page.shuffled(SHAPES)
        there = bool(draw.integers(2))

        def drawn(name: str, colour: str) -> render.Block:
            return page.fitting(lambda: shape_block(name, colour, "object", page.height(), ground, page.margin))

        blocks = [drawn(shapes[0] if there else shapes[1], colours[0])]
        for _ in range(page.count - 1 + page.seam.clutter):
            blocks.append(drawn(shapes[0] if draw.integers(2) else page.one_of(shapes[1:]), page.one_of(colours[1:])))

        def smaller(block: render.Block) -> render.Block:
            (mark,) = block.marks
            return page.fitting(lambda: shape_block(mark.name, mark.colour, "object", page.smallest, ground, page.margin))

        return Draft(blocks, QUESTIONS["presence"].format(colours[0], shapes[0]), YES if there else NO, "colour", smaller=smaller)

    def chance(self, seam: SeamConfig, geometry: GeometryConfig) -> float:
        return 0.5


TASK = Presence()
