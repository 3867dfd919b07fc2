"""The code blocks of one page: what is written on each plate, in which font, colour and size."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from fila_lab.config.base import FilaError
from fila_lab.config.data import SeamConfig
from fila_lab.data.seam import content, render
from fila_lab.data.seam.page_setup import PageSetup

TRIES = 1000
"""Codes tried for one block; they get shorter on the way."""


class CodeBlocks:
    """Draws the code blocks of one page: one font and plate; codes, keys and, where colours address, colours all different."""

    def __init__(self, page: PageSetup, keyed: bool = False) -> None:
        self.page, self.keyed = page, keyed
        draw, seam = page.draw, page.seam
        self.font = page.one_of(page.fonts)
        self.plate = render.plate_colour(draw)
        self.colours = page.shuffled(list(content.COLOURS))
        self.keys = content.draw_keys(draw, page.split, seam.codes_per_page + seam.clutter)
        self.used = set(self.keys)
        self.apart = keyed and page.draws_apart(1)

    def block(self, length: int | None = None, colour: str | None = None) -> render.Block:
        """A block with a code of `length` (drawn if None). FilaError where the knobs leave no code that fits."""
        page, draw = self.page, self.page.draw
        length = length or 1 + weighted(draw.random(), list(page.seam.code_length))
        cap, key_cap = page.height(), page.low_height()
        if colour is None:
            colour = self.colours[int(draw.integers(len(self.colours)))] if self.keyed else self.colours.pop()
        head = [(self.keys.pop(), "key", key_cap)] if self.keyed else []
        for tries in range(TRIES):
            code = content.draw_code(draw, page.split, max(1, length - tries // 20))
            fitting = fit(code, self.font, cap, page.smallest, page.tile - 2 * page.margin, page.pitch)
            if code in self.used or fitting is None:
                continue
            block = render.text_block([*head, (code, "code", fitting)], self.font, colour, self.plate, page.margin, self.apart, page.pitch)
            if page.fits(block):
                self.used.add(code)
                return block
        raise page.no_room()

    def others(self, count: int, avoid: Collection[str]) -> list[render.Block]:
        """`count` blocks that are never asked for: clutter, and company of another task's target; none in a colour of `avoid`."""
        allowed = [colour for colour in content.COLOURS if colour not in avoid]
        return [self.block(colour=self.page.one_of(allowed)) for _ in range(count)]

    def short(self, block: render.Block) -> render.Block:
        """A code of one character in the block's colour, for where the block found no room: else distractors would be cut less often
        than targets."""
        return self.block(length=1, colour=block.marks[0].colour)


def check_colours(seam: SeamConfig) -> None:
    """FilaError where a page would have more code blocks than colours."""
    if seam.codes_per_page > len(content.COLOURS):
        raise FilaError(
            f"data.seam.codes_per_page={seam.codes_per_page}: only {len(content.COLOURS)} colours tell codes apart; "
            "choose fewer, and data.seam.clutter for more distractors"
        )


def fit(code: str, font: Path, cap: int, smallest: int, widest: int, pitch: int = 0) -> int | None:
    """The largest cap height up to `cap` at which the code is at most `widest` wide, or None under `smallest`."""
    width = render.draw_text(code, font, cap, pitch).coverage.shape[1]
    while width > widest:
        cap = min(cap - 1, int(cap * widest / width))
        if cap < smallest:
            return None
        width = render.draw_text(code, font, cap, pitch).coverage.shape[1]
    return cap


def weighted(share: float, weights: list[float]) -> int:
    """The index a uniform `share` in [0, 1) falls on."""
    bounds = np.cumsum(weights) / sum(weights)
    return min(int(np.searchsorted(bounds, share, side="right")), len(weights) - 1)
