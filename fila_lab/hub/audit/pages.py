"""Pages of the seam suite made for a model's own tiles: as many px as its canvas, so that nothing is resampled before it is cut."""

from __future__ import annotations

from dataclasses import dataclass

from fila_lab.config.base import ConfigError, FilaError, did_you_mean
from fila_lab.config.data import SEAM_TASKS, SeamConfig, SeamTask
from fila_lab.config.geometry import GeometryConfig, Size
from fila_lab.config.seam_pages import has_sham_place
from fila_lab.data.seam import SeamSuite
from fila_lab.hub.audit.tilings import Tiling

TASKS: tuple[SeamTask, ...] = tuple(name for name in SEAM_TASKS if name != "coarse")
"""Tasks whose targets are as large as the text height says: the others have no height to look for."""
SPLIT = "test"
"""Whose fonts, photos and strings are drawn."""
MOST = 12
"""Tiles along an axis, among which grids are looked for."""
SMALLEST = 6
"""px; of lower letters thin fonts leave no ink."""
TALLEST = 4
"""A text height is at most so small a part of the tile: nearly all items can then be drawn and cut. Codes that are too wide for a tile, the
suite replaces by shorter ones."""


@dataclass(frozen=True)
class Page:
    """The pages of an audit: `size` in px, cut into `tiles` (across, down) of `tile` px with `patch` px a token.

    `control`: the model sees the page in one crop. Its tiles are then only said to be some, and nothing is cut where they meet.
    """

    size: Size
    tiles: Size
    tile: int
    patch: int
    control: bool

    @property
    def heights(self) -> tuple[int, int]:
        """The smallest and the greatest text height that pages can have, px.

        Raises:
            FilaError: the tiles are too small for any.
        """
        tallest = self.tile // TALLEST
        if tallest < SMALLEST:
            raise FilaError(f"tiles of {self.tile} px are too small for text of {SMALLEST} px or more; choose a page of fewer --tiles")
        return SMALLEST, tallest

    def check_height(self, height: int | None) -> None:
        """Refuse a text height that pages cannot have; None is none yet.

        Raises:
            ConfigError: naming those they can.
            FilaError: they can have none.
        """
        smallest, tallest = self.heights
        if height is not None and not smallest <= height <= tallest:
            raise ConfigError(
                f"--text-height {height}: pages of tiles of {self.tile} px take {smallest} to {tallest} px; choose one of these"
            )

    def suite(self, task: str, height: int) -> SeamSuite:
        """Items of one task, all text of one cap height in px.

        Raises:
            FilaError: no page can be drawn so.
        """
        seam = SeamConfig(tasks={task: 1.0}, text_height=(float(height), float(height)))  # type: ignore[dict-item]
        geometry = GeometryConfig(tile=self.tile, patch=self.patch, canvases=(self.size,), detail_cells=1)
        return SeamSuite(seam, geometry, self.patch)


def check_task(task: str) -> None:
    """Refuse a task that the audit has no items of.

    Raises:
        ConfigError: naming those it has.
    """
    if task not in TASKS:
        there = "its panels are as large as a patch, whatever the text height"
        why = there if task in SEAM_TASKS else f"there is no such task{did_you_mean(task, TASKS)}"
        raise ConfigError(f"--task {task}: {why}; choose {', '.join(TASKS)}")


def page_of(tiling: Tiling, tiles: Size | None = None) -> Page:
    """The page of a tiling: of the grid `tiles` (across, down), or of the fewest tiles with seams along both axes, else along one.

    Raises:
        FilaError: the model never shows a page so, or no target can be moved off a seam there.
    """
    grids = _cut_grids(tiling) if tiling.cuts else _control_grids(tiling)
    what = "is cut into" if tiling.cuts else "can be a control of"
    usable = [grid for grid in grids if any(has_sham_place(count, _grid(tiling, grid)) for count in grid)]
    if not usable:
        raise FilaError(
            f"no page that this model's processor ({tiling.name}, tiles of {tiling.tile} px, {tiling.patch} px a token) cuts has a seam "
            "that a target can be moved off by whole tokens; such a model cannot be audited"
        )
    if tiles is not None and tiles not in usable:
        listed = ", ".join(f"{across}x{down}" for across, down in usable)
        raise ConfigError(f"--tiles {tiles[0]}x{tiles[1]}: no page {what} so many tiles across and down by this model; choose {listed}")
    across, down = tiles or min(usable, key=lambda grid: (min(grid) < 2, grid[0] * grid[1], -grid[0]))
    if tiling.cuts:
        return Page((across * tiling.tile, down * tiling.tile), (across, down), tiling.tile, tiling.patch, control=False)
    return Page((tiling.tile, tiling.tile), (across, down), tiling.tile // across, tiling.patch, control=True)


def _cut_grids(tiling: Tiling) -> list[Size]:
    """The grids whose pages, of just as many px, the processor lays on them unchanged."""
    found = []
    for across in range(1, MOST + 1):
        for down in range(1, MOST + 1):
            size = (across * tiling.tile, down * tiling.tile)
            geometry = tiling.geometry(size)
            if geometry.canvas == size and geometry.resized == size and geometry.tiles > 1:
                found.append((across, down))
    return found


def _control_grids(tiling: Tiling) -> list[Size]:
    """Square grids into which the one tile could be divided between tokens."""
    tokens = tiling.tile // tiling.patch
    return [(count, count) for count in range(2, MOST + 1) if tokens % count == 0]


def _grid(tiling: Tiling, tiles: Size) -> int:
    tokens = tiling.tile // tiling.patch
    return tokens if tiling.cuts else tokens // tiles[0]
