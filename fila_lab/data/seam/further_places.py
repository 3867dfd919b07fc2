"""Places of a block beside its triplet's: on two seams, and a pixel or two off its sham place.

With `cross`, a cut block stands at its sham place of the other axis too: cut and cross differ in the seam of that axis alone, and cut,
cross and sham have the same phase towards patches, overview and stride along both axes. So accuracy over none, one and two seams is one
curve.

Other blocks stand at the three places of a triplet alone: where two seams cross there is room for one block, the target's. A model that is
trained on `cross` can thus learn that what stands there is asked for; one that is not cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fila_lab.data.seam.places import ANY_CUT, Axis, Box, Cuts, CutTable, Placer, Triplet, cut_tables, pick

CORNER_SHARE = 0.02
"""A block is crossed when at least this share of its ink lies in each of four tiles, beside what holds for each of the two cuts."""


class FurtherPlacer(Placer):
    """As `Placer`, for blocks that can stand at the further places too."""

    def __init__(
        self,
        ink: np.ndarray,
        axes: tuple[Axis, Axis],
        cuts: Cuts = ANY_CUT,
        between: tuple[int, int, int] | None = None,
        *,
        cross: bool = False,
        shifts: Mapping[str, int] | None = None,
    ) -> None:
        """cross: whether there is a place on two seams; shifts: place -> page px off the sham place, along the axis of the cut."""
        super().__init__(ink, axes, cuts, between)
        self.axes, self.cross, self.shifts = axes, cross, dict(shifts or {})
        self.seconds: list[list[CutTable]] = [[], []]
        if self.shifts:
            self.tables = [[part for table in tables if (part := self._shiftable(i, table))] for i, tables in enumerate(self.tables)]
        if cross:
            self.seconds = [cut_tables(axis, profile, cuts) for axis, profile in zip(axes, (ink.sum(0), ink.sum(1)), strict=True)]
            corners = _in_four(ink)
            self.crossed = (corners.T, corners)
            """For each axis of the cut: [px before its seam, px before the other seam], whether the ink lies in four tiles."""
            self.tables = [[part for table in tables if (part := self._crossable(i, table))] for i, tables in enumerate(self.tables)]
        self.permitted = [i for i in (0, 1) if self.tables[i] and self.other[1 - i]]

    def draw(self, generator: np.random.Generator) -> Triplet:
        """The triplet and its further places."""
        crossing, table, row, sham = self.draw_cut(generator)
        further: dict[str, Box] = {}
        if self.cross:
            second, across = self._second(generator, crossing, table.before[row])
            further["cross"] = self.box(crossing, table.start[row], second)
        else:
            across = pick(generator, self.other[1 - crossing])
        if self.shifts:
            sign = pick(generator, [sign for sign, free in zip((-1, 1), self._free(crossing, np.array(sham)), strict=True) if free])
            further |= {place: self.box(crossing, sham + sign * px, across) for place, px in self.shifts.items()}
        return self.triplet(generator, crossing, (table.start[row], sham, across), table.share[row], further)

    def _second(self, generator: np.random.Generator, crossing: int, before: int) -> tuple[int, int]:
        """Start and sham start along the other axis than the cut's, so that the ink lies in four tiles."""
        own = self.crossed[crossing][before]
        table = pick(generator, [part for table in self.seconds[1 - crossing] if (part := _rows(table, own[table.before]))])
        row = self.nearest(table.share, generator.random())
        return table.start[row], pick(generator, [start for start in table.sham[row] if start >= 0])

    def _crossable(self, crossing: int, table: CutTable) -> CutTable | None:
        """The rows of a table that a second seam can cross."""
        partners = sorted({before for second in self.seconds[1 - crossing] for before in second.before})
        return _rows(table, np.asarray(self.crossed[crossing][np.ix_(table.before, partners)].any(axis=1)))

    def _shiftable(self, crossing: int, table: CutTable) -> CutTable | None:
        """A table without the sham starts that cannot be shifted."""
        starts = np.array(table.sham)
        sham = np.where((starts >= 0) & self._free(crossing, starts).any(axis=0), starts, -1)
        return _rows(replace(table, sham=sham.tolist()), np.asarray(sham.max(axis=1) >= 0))

    def _free(self, crossing: int, sham: np.ndarray) -> np.ndarray:
        """bool [2, ...]: whether sham places can be shifted back, and on, without touching a seam."""
        most, width = max(self.shifts.values()), self.size[crossing]
        return np.stack([self.axes[crossing].uncut(sham + move, width) for move in (-most, most)])


def _rows(table: CutTable, kept: NDArray[np.bool_]) -> CutTable | None:
    """Some rows of a table; None where none is left."""
    rows = np.flatnonzero(kept).tolist()
    columns = ([column[row] for row in rows] for column in (table.before, table.share, table.start, table.sham))
    return CutTable(*columns) if rows else None  # type: ignore[arg-type]


def _in_four(ink: np.ndarray) -> np.ndarray:
    """bool [h + 1, w + 1]: whether seams before row y and column x leave enough ink in each of the four tiles."""
    total = np.zeros((ink.shape[0] + 1, ink.shape[1] + 1), np.int32)
    np.cumsum(np.cumsum(ink, axis=0, dtype=np.int32), axis=1, out=total[1:, 1:])
    above, left, whole = total[:, -1:], total[-1:], total[-1, -1]
    least = CORNER_SHARE * whole
    return (total >= least) & (above - total >= least) & (left - total >= least) & (whole - above - left + total >= least)
