"""`counting`: small marks of two colours on a plate; how many there are of one answers."""

from __future__ import annotations

from fila_lab.config.data import SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_words import QUESTIONS
from fila_lab.data.seam import content, render
from fila_lab.data.seam.page_setup import PageSetup
from fila_lab.data.seam.plates import RGB, Plate
from fila_lab.data.seam.render import Mark
from fila_lab.data.seam.tasks.base import Draft, Task

MOST = 5
"""Marks of the asked colour, at most; 1 to MOST are equally likely."""
OTHERS = 4
"""Marks of another colour on the plate, at most."""
SLOTS = (4, 3)
"""Columns and rows of places for marks, half a patch apart."""
SIDE = 0.45
"""Diameter of a mark over the text height."""


class Counting(Task):
    """A page carries plates with marks; "count red?" asks for the number of red ones; one plate alone has them."""

    benchmark = "TallyQA"
    about = f'Small balls of two colours on a plate; "count red?" asks how many are red: 1 to {MOST}.'
    most_marks = MOST + OTHERS

    def draft(self, page: PageSetup) -> Draft:
        draw = page.draw
        ground = render.plate_colour(draw)
        colours = page.shuffled(list(content.COLOURS))
        asked, rest = colours[0], colours[1:]
        number = 1 + int(draw.integers(MOST))
        marks = [asked] * number + [page.one_of(rest)] * (1 + int(draw.integers(OTHERS)))

        def drawn(colours: list[str], asked: str | None, slots: tuple[int, int]) -> render.Block:
            return page.fitting(lambda: plate_of(page, colours, asked, slots, ground))

        blocks = [drawn(marks, asked, SLOTS)]
        for _ in range(page.count - 1 + page.seam.clutter):
            blocks.append(drawn([page.one_of(rest) for _ in range(1 + int(draw.integers(3)))], None, (3, 2)))

        def smaller(block: render.Block) -> render.Block:
            return drawn([block.marks[0].colour], None, (1, 1))

        return Draft(blocks, QUESTIONS["counting"].format(asked), str(number), "colour", smaller=smaller)

    def chance(self, seam: SeamConfig, geometry: GeometryConfig) -> float:
        return 1 / MOST


TASK = Counting()


def plate_of(page: PageSetup, colours: list[str], asked: str | None, slots: tuple[int, int], ground: RGB) -> render.Block:
    """A plate with a ball of each colour in random slots; those of the asked colour are the ink (all, where none is asked).

    Slots are at least half a patch apart, so that no two balls share a quarter of a token.
    """
    side = max(2, round(SIDE * page.height()))
    pitch = max(page.patch // 2, round(1.25 * side))
    columns, rows = slots
    width, height = (count * pitch + 2 * page.margin - (pitch - side) for count in slots)
    plate = Plate(width, height, ground)
    for colour, slot in zip(colours, page.draw.permutation(columns * rows), strict=False):
        x, y = (page.margin + int(place) * pitch for place in (slot % columns, slot // columns))
        plate.stamp(Mark("ball", colour, "mark", (x, y, x + side, y + side)), asked=asked in (None, colour))
    return plate.block()
