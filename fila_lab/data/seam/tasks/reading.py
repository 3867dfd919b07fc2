"""`reading`: words and codes in scenes, addressed by their colour or by the key above them."""

from __future__ import annotations

from fila_lab.config.data import SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_words import QUESTIONS
from fila_lab.data.seam import content, render
from fila_lab.data.seam.code_blocks import CodeBlocks, check_colours
from fila_lab.data.seam.page_setup import PageSetup
from fila_lab.data.seam.tasks.base import Draft, Task


class Reading(Task):
    """A page carries code blocks; "red?" or "FR?" addresses one of them; the answer is its code."""

    benchmark = "TextVQA"
    about = 'Plates with codes of 1 to 4 characters; "red?" asks for the code in red, "FR?" for the one under the key FR.'
    fine_print = True
    most_marks = 6

    def draft(self, page: PageSetup) -> Draft:
        seam = page.seam
        keyed = page.draw.random() < page.by_key
        codes = CodeBlocks(page, keyed)
        blocks = [codes.block() for _ in range(page.count)]
        target = blocks[0]
        answer, key = written(target, "code"), written(target, "key")
        question = QUESTIONS["reading"].format(key or target.marks[0].colour)
        blocks += codes.others(seam.clutter, () if keyed else {target.marks[0].colour})
        return Draft(blocks, question, answer, "key" if key else "colour", len(answer), None if keyed else codes.short)

    def check(self, seam: SeamConfig) -> None:
        check_colours(seam)

    def chance(self, seam: SeamConfig, geometry: GeometryConfig) -> float:
        return likeliest_code(seam)


TASK = Reading()


def written(block: render.Block, role: str) -> str:
    """The characters of a role on a block, in order."""
    return "".join(mark.name for mark in block.marks if mark.role == role)


def likeliest_code(seam: SeamConfig) -> float:
    """Share of test codes that are the likeliest string: a single character, unless nearly all codes are longer."""
    shares = [share / sum(seam.code_length) for share in seam.code_length]
    return max(share * content.likeliest("test", length) for length, share in enumerate(shares, 1))
