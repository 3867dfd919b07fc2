"""Where a block may stand: cut by a seam, at its sham place, intact. All in whole page pixels.

The sham place lies `patch x tiles of the axis x j` from the cut place, for the smallest |j| at which the block stays on the page and
touches no seam. So the phase towards the ViT's patches, the overview's patches (one of them spans `tiles` patches of the canvas) and the
ConvNeXt's stride is the same, and only the seam differs. (The stride's phase is kept at native detail resolution and its multiples; at
other k it differs, as it does between any two tokens there, unless `data.seam.stride_cells` names it, which makes the steps longer.) Where
every such step lands on a seam again (an axis with 3 tiles of 3 patches), the axis permits no triplet.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

import numpy as np

from fila_lab.config.data import CUT_SHARE
from fila_lab.config.seam_pages import phase_step

Box = tuple[int, int, int, int]
T = TypeVar("T")
Cuts = tuple[float, float]
"""Range of the smaller share of ink at cut places."""
ANY_CUT: Cuts = (CUT_SHARE, 0.5)
ATTEMPTS = 24
"""Arrangements of a page that are tried, each with places of the target of its own."""
TRIES = 10
"""Places of another block that are tried in one arrangement."""


@dataclass(frozen=True)
class Axis:
    """One axis of a page: `tiles` tiles of `grid` patches of `patch` page px; `stride_cells` as in `data.seam`."""

    tiles: int
    grid: int
    patch: int
    stride_cells: tuple[int, ...] = ()

    @property
    def tile(self) -> int:
        return self.grid * self.patch

    @property
    def length(self) -> int:
        return self.tiles * self.tile

    @property
    def unit(self) -> int:
        """The smallest step that keeps every phase."""
        return self.patch * phase_step(self.tiles, self.grid, self.stride_cells)

    def uncut(self, start: np.ndarray, width: int) -> np.ndarray:
        """Where [start, start + width) stays on the page and touches no seam."""
        return (start >= 0) & (start + width <= self.length) & (start // self.tile == (start + width - 1) // self.tile)


@dataclass(frozen=True)
class CutTable:
    """The places where one seam cuts a block, by ascending share of the ink before the seam, with two sham starts for each (-1: none);
    `before`: px of the block before the seam."""

    before: list[int]
    share: list[float]
    start: list[int]
    sham: list[list[int]]


def cut_tables(axis: Axis, profile: np.ndarray, cuts: Cuts = ANY_CUT, between: tuple[int, int] | None = None) -> list[CutTable]:
    """Every cut place of a block that has a sham place, seam by seam; `profile` is its ink summed along the other axis, [width].

    `between`: the first and last px of the block at which the seam may run.
    """
    width = len(profile)
    if width > axis.tile:
        return []
    cumulative = np.concatenate([[0], np.cumsum(profile)]) / profile.sum()
    smaller = np.minimum(cumulative, 1 - cumulative)
    if between is None:
        before = np.flatnonzero((smaller >= cuts[0]) & (smaller <= cuts[1]))
    else:
        before = between[0] + np.flatnonzero(smaller[between[0] : between[1] + 1] >= CUT_SHARE)
    tables = []
    for seam in range(axis.tile, axis.length, axis.tile):
        start = seam - before
        sham = np.full((len(start), 2), -1)
        for steps in range(1, axis.length // axis.unit + 1):
            waiting = (sham < 0).all(1)
            if not waiting.any():
                break
            for side, sign in enumerate((-1, 1)):
                moved = start + sign * steps * axis.unit
                sham[:, side] = np.where(waiting & axis.uncut(moved, width), moved, sham[:, side])
        valid = (start >= 0) & (start + width <= axis.length) & (sham >= 0).any(1)
        if valid.any():
            tables.append(CutTable(before[valid].tolist(), cumulative[before][valid].tolist(), start[valid].tolist(), sham[valid].tolist()))
    return tables


@cache
def _uncut_starts(axis: Axis, width: int) -> list[int]:
    starts = np.arange(axis.length)
    return starts[axis.uncut(starts, width)].tolist()


@cache
def _intact_starts(axis: Axis, width: int, first: int, last: int) -> list[int]:
    """Starts without a seam where the ink [first, last) crosses the fewest patch borders."""
    starts = np.array(_uncut_starts(axis, width), int)
    borders = (starts + last - 1) // axis.patch - (starts + first) // axis.patch
    return starts[borders == borders.min(initial=axis.length)].tolist()


@dataclass(frozen=True)
class Triplet:
    """The three boxes (x0, y0, x1, y1) of a block in page px, the axis ("x", "y") along which it is cut, the smaller share of ink, and the
    boxes of further places, where they are asked for."""

    cut: Box
    sham: Box
    intact: Box
    axis: str
    cut_fraction: float
    further: Mapping[str, Box] = field(default_factory=dict)

    def __getitem__(self, place: str) -> Box:
        return self.boxes[place]

    @property
    def boxes(self) -> dict[str, Box]:
        """Place -> box."""
        return {"cut": self.cut, "sham": self.sham, "intact": self.intact, **self.further}


class Placer:
    """Draws places for one block, given its ink [h, w], on a page with the given axes."""

    def __init__(self, ink: np.ndarray, axes: tuple[Axis, Axis], cuts: Cuts = ANY_CUT, between: tuple[int, int, int] | None = None) -> None:
        """`between`: (axis, first, last), the only axis along which the seam may run, and the block px where it may."""
        self.size = (ink.shape[1], ink.shape[0])
        self.cuts, self.between = cuts, between
        profiles = (ink.sum(0), ink.sum(1))
        if between is None:
            self.tables = [cut_tables(axis, profile, cuts) for axis, profile in zip(axes, profiles, strict=True)]
        else:
            only, *span = between
            self.tables = [cut_tables(axes[i], profiles[i], cuts, (span[0], span[1])) if i == only else [] for i in (0, 1)]
        self.other = [_uncut_starts(axis, width) for axis, width in zip(axes, self.size, strict=True)]
        spans = [np.flatnonzero(profile)[[0, -1]] for profile in profiles]
        self.intact = [
            _intact_starts(axis, width, int(first), int(last) + 1)
            for axis, width, (first, last) in zip(axes, self.size, spans, strict=True)
        ]
        self.permitted = [i for i in (0, 1) if self.tables[i] and self.other[1 - i]]
        """Axes (0 is x) along which the block has a triplet; without any, nothing can be drawn."""

    def draw(self, generator: np.random.Generator) -> Triplet:
        """Three places; every cut fraction the block permits is about equally likely."""
        crossing, table, row, sham = self.draw_cut(generator)
        across = pick(generator, self.other[1 - crossing])
        return self.triplet(generator, crossing, (table.start[row], sham, across), table.share[row])

    def triplet(
        self,
        generator: np.random.Generator,
        crossing: int,
        starts: tuple[int, int, int],
        share: float,
        further: dict[str, Box] | None = None,
    ) -> Triplet:
        """The triplet of a cut along the axis `crossing`; `intact` is drawn. starts: of cut and sham on that axis, of both on the other."""
        cut, sham, across = starts
        boxes = self.box(crossing, cut, across), self.box(crossing, sham, across), self.draw_intact(generator)
        return Triplet(*boxes, "xy"[crossing], min(share, 1 - share), further or {})

    def draw_one(self, generator: np.random.Generator, place: str) -> Box:
        """One place only, as `draw` draws it."""
        if place == "intact":
            return self.draw_intact(generator)
        crossing, table, row, sham = self.draw_cut(generator)
        return self.box(crossing, table.start[row] if place == "cut" else sham, pick(generator, self.other[1 - crossing]))

    def draw_cut(self, generator: np.random.Generator) -> tuple[int, CutTable, int, int]:
        """(axis of the cut, table, its row, sham start)."""
        crossing = pick(generator, self.permitted)
        table = pick(generator, self.tables[crossing])
        uniform = generator.random()
        row = int(uniform * len(table.share)) if self.between else self.nearest(table.share, uniform)
        shams = [start for start in table.sham[row] if start >= 0]
        return crossing, table, row, pick(generator, shams)

    def nearest(self, shares: list[float], uniform: float) -> int:
        """The row whose share is nearest to one drawn from the range of cuts, on either side of the middle."""
        low, high = self.cuts
        wanted = low + 2 * (high - low) * uniform
        if wanted > high:
            wanted += 1 - 2 * high
        row = bisect.bisect(shares, wanted)
        if row == len(shares) or (row and wanted - shares[row - 1] < shares[row] - wanted):
            row -= 1
        return row

    def draw_intact(self, generator: np.random.Generator) -> Box:
        """A place without a seam, across the fewest patch borders."""
        return self.box(0, pick(generator, self.intact[0]), pick(generator, self.intact[1]))

    def box(self, crossing: int, along: int, across: int) -> Box:
        """The block where it starts at `along` on the axis of the cut and at `across` on the other."""
        x, y = (along, across) if crossing == 0 else (across, along)
        return x, y, x + self.size[0], y + self.size[1]


def pick(generator: np.random.Generator, values: Sequence[T]) -> T:
    """One of them, all equally likely."""
    return values[int(generator.random() * len(values))]


def arrange(
    generator: np.random.Generator, target: Placer, others: list[Placer], shown: list[str], gap: int
) -> tuple[Triplet, list[Box | None]]:
    """Places of the target and a box for each other block at its `shown` place.

    The boxes are clear by `gap` of all three target places and of each other. Never fails: after ATTEMPTS the arrangement with the most
    blocks is taken, None standing for those left out.
    """
    best: tuple[int, Triplet, list[Box | None]] | None = None
    for _ in range(ATTEMPTS):
        triplet = target.draw(generator)
        taken: list[Box] = list(triplet.boxes.values())
        boxes: list[Box | None] = []
        for other, place in zip(others, shown, strict=True):
            box = _free(generator, other, place, taken, gap)
            boxes.append(box)
            if box is not None:
                taken.append(box)
        placed = len(taken) - len(triplet.boxes)
        if best is None or placed > best[0]:
            best = (placed, triplet, boxes)
        if placed == len(others):
            break
    assert best is not None
    return best[1], best[2]


def _free(generator: np.random.Generator, block: Placer, place: str, taken: list[Box], gap: int) -> Box | None:
    for _ in range(TRIES):
        box = block.draw_one(generator, place)
        x0, y0, x1, y1 = box[0] - gap, box[1] - gap, box[2] + gap, box[3] + gap
        if all(x1 <= a0 or a1 <= x0 or y1 <= b0 or b1 <= y0 for a0, b0, a1, b1 in taken):
            return box
    return None
