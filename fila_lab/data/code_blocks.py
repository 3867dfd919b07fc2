"""The code blocks of one page: what is written on each plate, in which font, colour and size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fila_lab.config.base import FilaError
from fila_lab.config.run import DataConfig, GeometryConfig
from fila_lab.data import content, render
from fila_lab.data.places import Axis, Placer

MARGIN = 1.5 / 14
"""Plate around the ink, in patches."""

SHRINK = 1.5
"""Canvas px by which a code may be drawn below the text height so that its plate fits into a tile."""


class CodeBlocks:
    """Draws the code blocks of one page: one font and plate; codes, keys and, where colours address, colours all different."""

    def __init__(
        self, data: DataConfig, geometry: GeometryConfig, split: str, axes: tuple[Axis, Axis], draw: np.random.Generator, keyed: bool
    ) -> None:
        self.data, self.tile = data, geometry.tile
        self.split, self.axes, self.draw, self.keyed = split, axes, draw, keyed
        fonts = content.fonts(split)
        self.font = fonts[int(draw.integers(len(fonts)))]
        self.plate = render.plate_colour(draw)
        self.margin = round(MARGIN * axes[0].patch)
        self.colours = [list(content.COLOURS)[i] for i in draw.permutation(len(content.COLOURS))]
        self.keys = content.draw_keys(draw, split, data.codes_per_page)
        self.used = set(self.keys)
        self.scale = axes[0].patch / geometry.patch  # page px per canvas px

    def block(self, length: int | None = None, colour: str | None = None) -> render.Block:
        """A block with a code of `length` (drawn if None). FilaError where the text height leaves no code that fits."""
        low, high = self.data.text_height
        length = length or 1 + weighted(self.draw.random(), list(self.data.code_length))
        cap = round(self.draw.uniform(low, high) * self.scale)
        key_cap = round(self.draw.uniform(low, (low + high) / 2) * self.scale)
        if colour is None:
            colour = self.colours[int(self.draw.integers(len(self.colours)))] if self.keyed else self.colours.pop()
        smallest = max(1, round((low - SHRINK) * self.scale))
        widest = self.axes[0].tile - 2 * self.margin
        head = [(self.keys.pop(), "key", key_cap)] if self.keyed else []
        for tries in range(1000):
            code = content.draw_code(self.draw, self.split, max(1, length - tries // 20))
            fitting = _fit(code, self.font, cap, smallest, widest)
            if code in self.used or fitting is None:
                continue
            block = render.text_block([*head, (code, "code", fitting)], self.font, colour, self.plate, self.margin)
            if Placer(block.ink, self.axes).permitted:
                self.used.add(code)
                return block
        raise FilaError(
            f"data.text_height={list(self.data.text_height)}: no code fits into a tile of {self.tile} px; choose a smaller text height"
        )


def _fit(code: str, font: Path, cap: int, smallest: int, widest: int) -> int | None:
    """The largest cap height up to `cap` at which the code is at most `widest` wide, or None under `smallest`."""
    width = render.draw_text(code, font, cap).coverage.shape[1]
    while width > widest:
        cap = min(cap - 1, int(cap * widest / width))
        if cap < smallest:
            return None
        width = render.draw_text(code, font, cap).coverage.shape[1]
    return cap


def weighted(share: float, weights: list[float]) -> int:
    """The index a uniform `share` in [0, 1) falls on."""
    bounds = np.cumsum(weights) / sum(weights)
    return min(int(np.searchsorted(bounds, share, side="right")), len(weights) - 1)
