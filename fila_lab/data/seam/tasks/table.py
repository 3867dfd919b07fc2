"""`table`: a small table with numbers of a real one; row (and column) address a cell, its number answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fila_lab.config.data import SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_words import QUESTIONS
from fila_lab.data.seam import render
from fila_lab.data.seam.code_blocks import CodeBlocks
from fila_lab.data.seam.page_setup import TRIES, PageSetup
from fila_lab.data.seam.plates import LINE, Plate
from fila_lab.data.seam.tables import LONGEST, columns, tables
from fila_lab.data.seam.tasks.base import Draft, Task

ROWS = "ABCDEFGHJKLNPRSTUVXYZ"
"""Names of rows. The real ones (years, states) could be answered without looking."""
MOST_ROWS, MOST_COLUMNS = 4, 2
DISTINCT = 8
"""A column has at least so many different numbers."""
FILLED = 0.85
"""Share of a tile that a table may fill."""

SIZES = ((4, 2), (3, 2), (4, 1), (3, 1), (2, 1))
"""(rows, columns) of numbers that are tried in turn; the smallest again and again, with other numbers."""


@dataclass(frozen=True)
class Cells:
    """What a table says: names of its rows, headers of its columns (none for a single column), numbers [rows][columns]."""

    rows: tuple[str, ...]
    headers: tuple[str, ...]
    numbers: tuple[tuple[str, ...], ...]


def digits(seam: SeamConfig, geometry: GeometryConfig) -> int:
    """Digits of numbers: two where a tile holds little text."""
    return LONGEST if geometry.tile >= 6 * seam.text_height[1] else 2


class Table(Task):
    """A page carries a table among codes; "cell B?" or "cell B CPI?" asks for the number there."""

    benchmark = "ChartQA (tables)"
    about = 'A table with numbers of real ones; "cell B?", or "cell B CPI?" where its two columns have headers, asks for one.'
    fine_print = True
    most_marks = MOST_ROWS * (1 + LONGEST * MOST_COLUMNS) + 4 * MOST_COLUMNS

    def draft(self, page: PageSetup) -> Draft:
        codes = CodeBlocks(page)
        colour = codes.colours.pop()
        apart = page.draws_apart(0)
        most = digits(page.seam, page.geometry)
        for rows, across in (*SIZES, *[SIZES[-1]] * TRIES):
            if across > 1 and most < LONGEST:
                continue
            cells = draw_cells(page, rows, across, most)
            asked = (int(page.draw.integers(rows)), int(page.draw.integers(across)))
            block = draw_table(page, codes, cells, asked, colour, apart)
            if block is not None and page.fits(block):
                break
        else:
            raise page.no_room()
        name, answer = cells.rows[asked[0]], cells.numbers[asked[0]][asked[1]]
        question = QUESTIONS["table"].format(f"{name} {cells.headers[asked[1]]}" if cells.headers else name)
        blocks = [block, *codes.others(page.count - 1 + page.seam.clutter, {colour})]
        return Draft(blocks, question, answer, "cell" if cells.headers else "row", len(answer), codes.short)

    def chance(self, seam: SeamConfig, geometry: GeometryConfig) -> float:
        return likeliest_number("test", digits(seam, geometry))


TASK = Table()


def draw_cells(page: PageSetup, rows: int, across: int, most: int) -> Cells:
    """Rows of one real table: a random column of those that have numbers enough, whose asked numbers are all different and all equally
    likely; a second column, where asked for, says what the table says in the same rows."""
    split = page.split
    table, column = page.one_of(columns(split, most, DISTINCT))
    source = tables(split)[table]
    usable = source.rows(column, most)
    different = np.unique(source.values[usable, column])
    numbers = page.draw.permutation(different)[:rows]
    lines = [page.one_of(usable[source.values[usable, column] == number].tolist()) for number in numbers]
    taken = [column]
    others = [other for other in range(len(source.headers)) if other != column and (source.values[lines, other] >= 0).all()]
    if across > 1 and others:
        taken.insert(int(page.draw.integers(2)), page.one_of(others))
    names = tuple(page.shuffled(ROWS)[:rows])
    headers = tuple(source.headers[i] for i in taken) if across > 1 else ()
    return Cells(names, headers, tuple(tuple(str(source.values[line, i]) for i in taken) for line in lines))


def draw_table(page: PageSetup, codes: CodeBlocks, cells: Cells, asked: tuple[int, int], colour: str, apart: bool) -> render.Block | None:
    """The table on a plate, ruled, its columns right-aligned; None where it fills more of a tile than it may."""
    lines = [
        *([("", *cells.headers)] if cells.headers else []),
        *((name, *row) for name, row in zip(cells.rows, cells.numbers, strict=True)),
    ]
    layout = _layout(page, codes.font, lines)
    if layout is None:
        return None
    cap, widths, height, size = layout
    margin, gap, rule = page.margin, _gap(page), max(1, round(0.5 * page.scale))
    step = _step(page, height)
    plate = Plate(*size, codes.plate)
    edge = margin + widths[0] + gap // 2
    plate.fill((edge, 0, edge + rule, size[1]), LINE)
    first = len(lines) - len(cells.rows)
    if first:
        below = step + margin // 2
        plate.fill((0, below, size[0], below + rule), LINE)
    seam = (0, 0)
    for row, texts in enumerate(lines):
        right = margin
        for column, text in enumerate(texts):
            right += widths[column] + (gap if column else 0)
            if not text:
                continue
            line = render.draw_text(text, codes.font, cap, page.pitch)
            here = row - first == asked[0]
            name, value = here and column == 0, here and column - 1 == asked[1]
            role = "code" if column and row >= first else "key"
            at = (right - line.coverage.shape[1], margin + row * step)
            box = plate.write(line, text, colour, role, *at, asked=value or (name and apart))
            seam = (box[2] if name else seam[0], box[0] if value else seam[1])
    return plate.block((0, *seam) if apart else None)


def _layout(page: PageSetup, font: Path, lines: list[tuple[str, ...]]) -> tuple[int, list[int], int, tuple[int, int]] | None:
    """Cap height, widths of the columns, height of a line and size of the plate; the largest that fits, None where none does."""
    margin, gap, most = page.margin, _gap(page), FILLED * page.tile
    cap = page.low_height()
    while cap >= page.smallest:
        boxes = [[render.draw_text(text, font, cap, page.pitch).coverage.shape if text else (0, 0) for text in line] for line in lines]
        widths = [max(box[1] for box in column) for column in zip(*boxes, strict=True)]
        height = max(box[0] for line in boxes for box in line)
        step = _step(page, height)
        size = (sum(widths) + gap * (len(widths) - 1) + 2 * margin, (len(lines) - 1) * step + height + 2 * margin)
        if max(size) <= most:
            return cap, widths, height, size
        cap = min(cap - 1, int(cap * most / max(size)))
    return None


def _gap(page: PageSetup) -> int:
    """Between two columns."""
    return max(2 * page.margin, page.pitch)


def _step(page: PageSetup, height: int) -> int:
    """From a line of this height to the next."""
    return max(height + page.margin, page.pitch)


def likeliest_number(split: str, most: int) -> float:
    """Probability of the likeliest number of `draw_cells`."""
    found: dict[int, float] = {}
    usable = columns(split, most, DISTINCT)
    for table, column in usable:
        source = tables(split)[table]
        numbers = np.unique(source.values[source.rows(column, most), column])
        for number in numbers.tolist():
            found[number] = found.get(number, 0.0) + 1 / len(numbers) / len(usable)
    return max(found.values())
