"""`chart`: bars told apart by their colour; a bar's height, counted in grid lines, answers."""

from __future__ import annotations

from functools import cache

import numpy as np

from fila_lab.config.data import SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_words import QUESTIONS
from fila_lab.data.seam import content, render
from fila_lab.data.seam.code_blocks import CodeBlocks
from fila_lab.data.seam.page_setup import PageSetup
from fila_lab.data.seam.plates import LINE, RGB, Plate
from fila_lab.data.seam.render import Mark
from fila_lab.data.seam.tables import LONGEST, columns, tables
from fila_lab.data.seam.tasks.base import Draft, Task

LEVELS = 6
"""Grid lines; a bar ends on one of them."""
BARS = (3, 4)
STEP, WIDTH = 0.3, 0.55
"""Distance of grid lines, and width of a bar, over the text height."""


class Chart(Task):
    """A page carries a bar chart among codes; "bar red?" asks for the height of the red bar."""

    benchmark = "ChartQA"
    about = (
        f'A bar chart of 3 or 4 colours over {LEVELS} grid lines; "bar red?" asks for the line a bar reaches. Bars are consecutive rows of '
        f"a real table's column, its range cut into {LEVELS} equal steps."
    )
    most_marks = 6

    def draft(self, page: PageSetup) -> Draft:
        codes = CodeBlocks(page)
        level = 1 + int(page.draw.integers(LEVELS))
        block = page.fitting(lambda: bars(page, level, codes.plate))
        (asked,) = (mark.colour for mark in block.marks if block.ink[mark.box[1], mark.box[0]])
        others = codes.others(page.count - 1 + page.seam.clutter, {mark.colour for mark in block.marks})
        return Draft([block, *others], QUESTIONS["chart"].format(asked), str(level), "colour", smaller=codes.short)

    def chance(self, seam: SeamConfig, geometry: GeometryConfig) -> float:
        return 1 / LEVELS


TASK = Chart()


def bars(page: PageSetup, level: int, ground: RGB) -> render.Block:
    """A chart with a bar of `level` among others, which is the ink."""
    count = page.one_of(BARS)
    levels = _window(page, level, count)
    asked = page.one_of([bar for bar, other in enumerate(levels) if other == level])
    colours = page.shuffled(list(content.COLOURS))[:count]
    cap = page.height()
    step, width = max(2, round(STEP * cap)), max(2, round(WIDTH * cap))
    margin, rule, gap = page.margin, max(1, round(0.3 * page.scale)), max(1, width // 3)
    size = (count * width + (count + 1) * gap + 2 * margin, LEVELS * step + 2 * margin)
    plate = Plate(*size, ground)
    bottom = size[1] - margin
    for line in range(LEVELS + 1):
        plate.fill((margin, bottom - line * step, size[0] - margin, bottom - line * step + rule), LINE)
    for bar, (own, colour) in enumerate(zip(levels, colours, strict=True)):
        x = margin + gap + bar * (width + gap)
        plate.stamp(Mark(str(own), colour, "bar", (x, bottom - own * step, x + width, bottom)), asked=bar == asked)
    return plate.block()


def _window(page: PageSetup, level: int, count: int) -> list[int]:
    """Levels of `count` consecutive rows of a real column (its end joined to its beginning), one of which has `level`."""
    column = page.one_of(_levels(page.split))
    row = page.one_of(np.flatnonzero(column == level).tolist())
    start = row - int(page.draw.integers(count))
    return [int(column[(start + i) % len(column)]) for i in range(count)]


@cache
def _levels(split: str) -> tuple[np.ndarray, ...]:
    """The columns of a split in levels 1 to LEVELS, those in which each level occurs."""
    found = []
    for table, column in columns(split, LONGEST, LEVELS):
        source = tables(split)[table]
        numbers = source.values[source.rows(column, LONGEST), column]
        low, high = numbers.min(), numbers.max()
        levels = 1 + np.minimum((numbers - low) * LEVELS // (high - low), LEVELS - 1)
        if len(set(levels.tolist())) == LEVELS:
            found.append(levels)
    return tuple(found)
