"""Whether a target is cut by a seam: the shares of its ink on the two sides.

Where tiles overlap, a target is cut when no tile holds it whole; what then counts at two neighbouring tiles is what the second lacks before
its first pixel and what the first lacks after its last. For tiles that only touch, these are the two sides of the seam.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fila_lab.config.base import FilaError
from fila_lab.config.data import CUT_SHARE
from fila_lab.imaging.geometry import EPSILON, Geometry

Ink = np.ndarray | Sequence[float]
"""Ink is a bool mask [H, W] in image px, or a box (x0, y0, x1, y1) in image px whose ink is its area."""


def cut_fraction(ink_or_box: Ink, geometry: Geometry) -> float:
    """The smaller side's share of the ink, 0 to 0.5, at the seam that divides it most evenly; 0 where some tile holds all of it.

    Raises FilaError for a mask of another size than the image, or without ink, and for a box without area.
    """
    if isinstance(ink_or_box, np.ndarray) and ink_or_box.ndim == 2:
        width, height = geometry.image_size
        if ink_or_box.shape != (height, width):
            raise FilaError(f"ink has shape {ink_or_box.shape} but the image is {height} rows x {width} columns; give the mask in image px")
        ink = ink_or_box.astype(bool, copy=False)
        profiles = (_Profile.of_ink(ink, 0), _Profile.of_ink(ink, 1))
    else:
        if len(ink_or_box) != 4:
            raise FilaError("ink_or_box must be a bool mask [H, W] or a box (x0, y0, x1, y1)")
        x0, y0, x1, y1 = (float(value) for value in ink_or_box)
        profiles = (_Profile.of_interval(x0, x1), _Profile.of_interval(y0, y1))
    best = 0.0
    for profile, zones, offset, scale in zip(profiles, geometry.zones, geometry.offset, geometry.scales, strict=True):
        for second, first in zones:
            best = max(best, profile.smaller_side((second - offset) / scale, (first - offset) / scale, EPSILON / scale))
    return best


def cut_by_seam(ink_or_box: Ink, geometry: Geometry) -> bool | None:
    """True: cut. False: uncut, some tile holds all of it. None: in between, to be excluded."""
    fraction = cut_fraction(ink_or_box, geometry)
    if fraction >= CUT_SHARE - 1e-9:
        return True
    return None if fraction > 0 else False


class _Profile:
    """The ink summed along one axis, as a piecewise linear cumulative share over image px."""

    def __init__(self, positions: np.ndarray, shares: np.ndarray) -> None:
        self.positions, self.shares = positions, shares

    @classmethod
    def of_ink(cls, ink: np.ndarray, axis: int) -> _Profile:
        counts = np.count_nonzero(ink, axis=axis)
        inked = np.flatnonzero(counts)
        if not len(inked):
            raise FilaError("ink: the mask is empty, so it cannot be cut or uncut; give a target with at least one pixel of ink")
        first, last = int(inked[0]), int(inked[-1]) + 1
        cumulative = np.concatenate([[0], np.cumsum(counts[first:last])])
        return cls(np.arange(first, last + 1, dtype=float), cumulative / cumulative[-1])

    @classmethod
    def of_interval(cls, start: float, stop: float) -> _Profile:
        if not start < stop:
            raise FilaError(f"box: its side from {start} to {stop} has no length; boxes are (x0, y0, x1, y1) with x0 < x1 and y0 < y1")
        return cls(np.array([start, stop]), np.array([0.0, 1.0]))

    def smaller_side(self, second: float, first: float, tolerance: float) -> float:
        """The smaller of the shares of the ink before `second` and after `first`; 0 where the ink does not reach beyond both."""
        if not (self.positions[0] + tolerance < second and first < self.positions[-1] - tolerance):
            return 0.0
        before, after = (float(np.interp(position, self.positions, self.shares)) for position in (second, first))
        return min(before, 1.0 - after)
