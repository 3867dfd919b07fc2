"""`coarse`: one panel's layout and colour, recognisable at the overview's resolution: no fine detail, so nothing for a fusion to win."""

from __future__ import annotations

from fila_lab.config.data import SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_words import LAYOUTS, QUESTIONS
from fila_lab.data.seam import content, render
from fila_lab.data.seam.code_blocks import CodeBlocks, check_colours
from fila_lab.data.seam.page_setup import PageSetup
from fila_lab.data.seam.tasks.base import Draft, Task

PANEL_SIDE = (22 / 14, 26 / 14)
"""Range of a panel's side, in patches."""


class Coarse(Task):
    """A page carries one panel among code blocks; the answer to "layout?" is two words ("red top")."""

    benchmark = "scene and layout questions, e.g. of SEED-Bench"
    about = 'One panel among codes; "layout?" asks for its colour and layout. The control without fine detail.'
    most_marks = 6

    def draft(self, page: PageSetup) -> Draft:
        draw = page.draw
        codes = CodeBlocks(page)
        blocks = [codes.block() for _ in range(page.count)]
        layout, colour = page.one_of(LAYOUTS), page.one_of(content.PANEL_COLOURS)

        def panel() -> render.Block:
            return render.panel_block(layout, colour, round(page.patch * page.size * draw.uniform(*PANEL_SIDE)), codes.plate, page.margin)

        blocks[0] = page.fitting(panel)
        blocks += codes.others(page.seam.clutter, ())
        return Draft(blocks, QUESTIONS["coarse"], f"{colour} {layout}", smaller=codes.short)

    def check(self, seam: SeamConfig) -> None:
        check_colours(seam)

    def chance(self, seam: SeamConfig, geometry: GeometryConfig) -> float:
        return 1 / (len(LAYOUTS) * len(content.PANEL_COLOURS))


TASK = Coarse()
