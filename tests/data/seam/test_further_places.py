"""Places beside a triplet's: their seams, their phases, and that asking for them is the only way to have them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from fila_lab.config import resolve_run
from fila_lab.config.base import FilaError
from fila_lab.config.data import SEAM_TASKS, SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_pages import has_sham_place, phase_step
from fila_lab.data.seam import SeamSuite
from fila_lab.data.seam.further_places import FurtherPlacer
from fila_lab.data.seam.places import Axis, Box, Triplet, cut_tables

FURTHER = ("cross", "shift_1", "shift_2")
PAGE = (Axis(2, 3, 32), Axis(2, 3, 32))


def suite_of(preset: str, **seam: object) -> SeamSuite:
    config = resolve_run(preset)
    tasks = {"tasks": dict.fromkeys(SEAM_TASKS, 1 / len(SEAM_TASKS))}
    return SeamSuite(SeamConfig.model_validate(tasks | seam), config.geometry)


def seams_in(box: Box, axes: tuple[Axis, Axis]) -> tuple[int, int]:
    """Seams that run through a box along x and along y, counted one by one."""
    x, y = (sum(box[i] < seam < box[i + 2] for seam in range(axis.tile, axis.length, axis.tile)) for i, axis in enumerate(axes))
    return x, y


def phases(start: int, axis: Axis, cells: int) -> tuple[Fraction, Fraction, Fraction]:
    """Where in its ViT patch, in its overview's patch and in its ConvNeXt stride a page px lies, each as a share of it.

    The overview shows the whole axis on one tile; the detail input has 32 * cells px a tile.
    """
    place = Fraction(start, axis.length)
    return place * axis.tiles * axis.grid % 1, place * axis.grid % 1, place * axis.tiles * cells % 1


def placed(suite: SeamSuite, count: int) -> Iterator[tuple[tuple[Axis, Axis], Triplet]]:
    for index in range(count):
        yield suite.axes(suite.heading("test", index)[1]), suite.boxes("test", index)


def check_phases(suite: SeamSuite, count: int, *cells: int) -> set[str]:
    """The axes along which the targets of the first `count` items are cut; fails where the sham place has another phase than the cut."""
    seen = set()
    for axes, triplet in placed(suite, count):
        at = "xy".index(triplet.axis)
        assert seams_in(triplet.cut, axes) == ((1, 0), (0, 1))[at]
        assert seams_in(triplet.sham, axes) == (0, 0)
        assert triplet.cut[1 - at] == triplet.sham[1 - at], "only the axis of the cut is moved along"
        for k in cells:
            assert phases(triplet.cut[at], axes[at], k) == phases(triplet.sham[at], axes[at], k)
        if "cross" in triplet.further:
            cross = triplet.further["cross"]
            assert seams_in(cross, axes) == (1, 1)
            assert cross[at] == triplet.cut[at], "cut and cross differ in the seam of the other axis alone"
            for k in cells:
                assert phases(cross[1 - at], axes[1 - at], k) == phases(triplet.sham[1 - at], axes[1 - at], k)
        seen.add(triplet.axis)
    return seen


@pytest.mark.parametrize(("further", "count"), [((), 30), (FURTHER, 16)])
def test_cut_and_sham_share_every_phase(further: tuple[str, ...], count: int) -> None:
    suite = suite_of("mini", further_places=further)
    grid = suite.geometry.grid
    assert check_phases(suite, count, grid, 2 * grid) == {"x", "y"}


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["mini", "paper"])
@pytest.mark.parametrize("further", [(), FURTHER])
def test_cut_and_sham_share_every_phase_over_a_whole_pool(preset: str, further: tuple[str, ...]) -> None:
    suite = suite_of(preset, further_places=further, evidence_apart=0.3)
    assert suite.geometry.cells_a_side == suite.geometry.grid
    assert check_phases(suite, 3000, suite.geometry.grid, 3 * suite.geometry.grid) == {"x", "y"}


def stride_apart(suite: SeamSuite, count: int, cells: int) -> float:
    """Share of the items whose sham place has another phase towards the ConvNeXt's stride than the cut place."""
    apart = []
    for axes, triplet in placed(suite, count):
        at = "xy".index(triplet.axis)
        apart.append(phases(triplet.cut[at], axes[at], cells)[2] != phases(triplet.sham[at], axes[at], cells)[2])
    return float(np.mean(apart))


@pytest.mark.slow
def test_the_strides_phase_is_kept_at_other_resolutions_where_it_is_asked_for() -> None:
    """At paper scale, 512 and 1024 px a tile are 16 and 32 cells against a grid of 24: a step of two patches is 4/3 and 8/3 strides."""
    plain, asked = (suite_of("paper", stride_cells=cells) for cells in ((), (16, 32)))
    for cells in (16, 32):
        assert stride_apart(plain, 300, cells) > 0.5
        assert stride_apart(asked, 300, cells) == 0
    check_phases(asked, 300, 16, 24, 32)


@pytest.mark.parametrize("tiles", [2, 4])
@pytest.mark.parametrize("grid", [3, 4, 24])
@pytest.mark.parametrize("cells", [(), (2,), (16, 32), (5,)])
def test_the_step_is_the_smallest_that_keeps_every_phase(tiles: int, grid: int, cells: tuple[int, ...]) -> None:
    axis = Axis(tiles, grid, 8, cells)
    wanted = next(
        step
        for step in range(1, 10000)
        if all(phases(step * 8, axis, k) == phases(0, axis, k) for k in (grid, *cells)) and step % tiles == 0
    )
    assert phase_step(tiles, grid, cells) == wanted
    assert axis.unit == 8 * wanted
    assert has_sham_place(tiles, grid, wanted) is bool(cut_tables(axis, np.ones(8)))


def test_a_block_stands_on_two_seams_with_ink_in_four_tiles_and_a_pixel_off_its_sham_place() -> None:
    ink = np.zeros((20, 14), int)
    ink[3:17, 2:12] = 1
    ink[3:8, 8:12] = 0
    placer, generator = FurtherPlacer(ink, PAGE, cross=True, shifts={"shift_1": 2, "shift_2": 5}), np.random.default_rng(0)
    signs = set()
    for triplet in (placer.draw(generator) for _ in range(400)):
        at, cross = "xy".index(triplet.axis), triplet.further["cross"]
        before_x, before_y = 96 - cross[0], 96 - cross[1]
        parts = [part.sum() for rows in (ink[:before_y], ink[before_y:]) for part in (rows[:, :before_x], rows[:, before_x:])]
        assert min(parts) >= 0.02 * ink.sum()
        for first in (parts[0] + parts[1], parts[0] + parts[2]):
            assert 0.15 <= first / ink.sum() <= 0.85
        moves = [triplet.further[name][at] - triplet.sham[at] for name in ("shift_1", "shift_2")]
        assert moves in ([2, 5], [-2, -5])
        signs.add(np.sign(moves[0]))
        for name in ("shift_1", "shift_2"):
            assert seams_in(triplet.further[name], PAGE) == (0, 0)
            assert triplet.further[name][1 - at] == triplet.sham[1 - at]
    assert signs == {-1, 1}


def test_ink_that_no_two_seams_divide_in_four_cannot_be_placed() -> None:
    assert not FurtherPlacer(np.eye(40, dtype=int), PAGE, cross=True).permitted, "a diagonal leaves two of four tiles empty"
    assert FurtherPlacer(np.eye(40, dtype=int), PAGE).permitted == [0, 1]


def test_pages_are_the_same_but_for_the_place_and_say_where_the_target_lies() -> None:
    suite = suite_of("mini", further_places=FURTHER)
    items = suite.placed("test", 0)
    assert [item.place for item in items] == ["cut", "sham", "intact", *FURTHER]
    for item in items:
        x0, y0, x1, y1 = item.target_box
        assert np.array_equal(
            np.asarray(item.image)[y0:y1, x0:x1],
            np.asarray(items[0].image)[slice(*items[0].target_box[1::2]), slice(*items[0].target_box[::2])],
        )
        assert item.centre == pytest.approx(suite.centres("test", 0)[item.place])
    with pytest.raises(FilaError, match="place='cross' does not exist; choose one of cut, sham, intact"):
        suite_of("mini").item("test", 0, "cross")


@pytest.mark.parametrize(
    ("seam", "words"),
    [
        ({"places": ("cut", "cross")}, "add cross to further_places"),
        ({"further_places": ("cross",), "page_aspect": (0.1, 0.6)}, "two tiles along both axes, as data.seam.further_places=cross needs"),
        ({"stride_cells": (2,)}, re.escape("in the phase of data.seam.stride_cells=[2]")),
    ],
)
def test_what_has_no_place_is_refused_by_name(seam: dict[str, object], words: str) -> None:
    geometry = GeometryConfig(tile=42, patch=14, canvases=((42, 84), (84, 84)), detail_cells=3)
    with pytest.raises((FilaError, ValueError), match=words):
        SeamSuite(SeamConfig.model_validate(seam), geometry)


def test_what_is_not_asked_for_is_not_in_records() -> None:
    assert not {"further_places", "stride_cells"} & set(SeamConfig().model_dump(mode="json"))
    assert SeamConfig(further_places=("cross",)).model_dump(mode="json")["further_places"] == ["cross"]
