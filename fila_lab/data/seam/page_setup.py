"""What a task knows of the page it furnishes: its axes, its split, the knobs, and the stream of random numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from fila_lab.config.base import FilaError
from fila_lab.config.data import SHIFTS, SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_pages import has_sham_place, phase_step
from fila_lab.data.seam import render
from fila_lab.data.seam.further_places import FurtherPlacer
from fila_lab.data.seam.places import Axis, Placer

T = TypeVar("T")

TRIES = 100
"""Blocks drawn before a page is given up."""

MARGIN = 1.5 / 14
"""Plate around the ink, in patches."""

PITCH = 0.54
"""Distance of characters that are too small for the canvas, in patches."""

SHRINK = 1.5
"""Canvas px by which text of `data.seam.text_height` may be drawn lower so that its plate fits."""


@dataclass(frozen=True)
class PageSetup:
    """The setting of one page. Lengths are page px unless a name says otherwise."""

    seam: SeamConfig
    geometry: GeometryConfig
    split: str
    axes: tuple[Axis, Axis]
    """The page's x and y axis."""
    draw: np.random.Generator
    """Read in a fixed order: an item is a function of its index."""
    by_key: float = 0.0
    """Share of reading pages on this canvas that address by key."""
    below: bool = False
    """Whether its text is of `data.seam.below_height`."""
    fonts: tuple[Path, ...] = ()
    """Files of the fonts it may be written in."""
    size: float = 1.0
    """Factor on the sizes of what it shows, text below legibility apart."""

    @property
    def patch(self) -> int:
        return self.axes[0].patch

    @property
    def scale(self) -> float:
        """Page px per canvas px."""
        return self.patch / self.geometry.patch

    @property
    def margin(self) -> int:
        return round(MARGIN * self.patch)

    @property
    def tile(self) -> int:
        return self.axes[0].tile

    @property
    def count(self) -> int:
        """Blocks on the page, clutter apart: never more than tiles."""
        return min(self.seam.codes_per_page, self.axes[0].tiles * self.axes[1].tiles)

    @property
    def heights(self) -> tuple[float, float]:
        """The range of its cap heights, canvas px."""
        if self.below and self.seam.below_height is not None:
            return self.seam.below_height
        low, high = self.seam.text_height
        return low * self.size, high * self.size

    @property
    def pitch(self) -> int:
        """Least distance of characters, and of lines, on a page whose text is below legibility: half a patch and a little, about what it is
        between legible ones. So the two differ in the size of glyphs alone, and no two share a quarter of a token. 0 elsewhere."""
        return round(PITCH * self.patch) if self.below else 0

    @property
    def smallest(self) -> int:
        """The smallest cap height at which text may be drawn: of text below legibility no lower than it says."""
        return max(1, round((self.heights[0] - (0 if self.below else SHRINK * self.size)) * self.scale))

    def height(self) -> int:
        """A cap height, drawn from the whole range of the knob."""
        return round(self.draw.uniform(*self.heights) * self.scale)

    def low_height(self) -> int:
        """A cap height from the lower half of the range: keys, and text that shares its plate."""
        low, high = self.heights
        return round(self.draw.uniform(low, (low + high) / 2) * self.scale)

    def placer(self, block: render.Block) -> Placer:
        """FilaError for a block whose letters are too low to leave ink."""
        if not block.ink.any():
            raise FilaError(
                f"data.seam.{self._knob}={list(self.heights)}: letters so low leave no ink with {self.scale:.3g} page px a canvas "
                "px; choose a greater text height"
            )
        if not self.seam.further_places:
            return Placer(block.ink, self.axes, self.seam.cut_share, block.between)
        asked: tuple[str, ...] = self.seam.further_places
        shifts = {place: max(1, round(px * self.scale)) for place, px in SHIFTS.items() if place in asked}
        return FurtherPlacer(block.ink, self.axes, self.seam.cut_share, block.between, cross="cross" in asked, shifts=shifts)

    def fits(self, block: render.Block) -> bool:
        """Whether the block can stand at all places."""
        return bool(self.placer(block).permitted)

    def fitting(self, make: Callable[[], render.Block]) -> render.Block:
        """The first block of `make` that can stand at all places; what `make` draws anew must not be the answer.

        FilaError where none can.
        """
        for _ in range(TRIES):
            block = make()
            if self.fits(block):
                return block
        raise self.no_room()

    def no_room(self) -> FilaError:
        """What to say where nothing can be drawn that fits a tile and can be cut as asked."""
        text, cut = list(self.heights), list(self.seam.cut_share)
        return FilaError(
            f"data.seam.{self._knob}={text}, data.seam.cut_share={cut}: nothing can be drawn that fits into a tile of {self.tile} page px "
            "and can be cut so; choose a smaller text height, larger tiles, or a wider range of shares"
        )

    @property
    def _knob(self) -> str:
        return "below_height" if self.below else "text_height"

    def crossed(self, axis: int) -> bool:
        """Whether the page has a seam along the axis (0: vertical seams, between left and right) that permits a triplet."""
        one = self.axes[axis]
        return has_sham_place(one.tiles, one.grid, phase_step(one.tiles, one.grid, one.stride_cells))

    def draws_apart(self, axis: int) -> bool:
        """Whether this page's evidence is to be cut apart along an axis; draws only where the knob asks for it."""
        return self.seam.evidence_apart > 0 and self.crossed(axis) and self.draw.random() < self.seam.evidence_apart

    def one_of(self, values: Sequence[T]) -> T:
        """One value, all equally likely."""
        return values[int(self.draw.integers(len(values)))]

    def shuffled(self, values: Sequence[T]) -> list[T]:
        """The values in random order."""
        return [values[i] for i in self.draw.permutation(len(values))]
