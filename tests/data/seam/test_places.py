"""Places of a block against a plain search over every start on the axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fila_lab.config.data import CUT_SHARE
from fila_lab.config.seam_pages import has_sham_place
from fila_lab.data.seam import places
from fila_lab.data.seam.places import Axis, Box, Placer, arrange, cut_tables

AXES = st.builds(Axis, tiles=st.integers(1, 4), grid=st.integers(2, 5), patch=st.integers(2, 6))


def profiles(axis: Axis) -> st.SearchStrategy[list[int]]:
    ink = st.lists(st.integers(0, 9), min_size=1, max_size=axis.tile + 2)
    return ink.map(lambda own: [own[0] + 1, *own[1:]])  # some ink


def whole(axis: Axis, start: int, width: int) -> bool:
    """Every px of the block is on the page, and all of one tile."""
    own = range(start, start + width)
    return own[0] >= 0 and own[-1] < axis.length and len({px // axis.tile for px in own}) == 1


@settings(deadline=None)
@given(AXES, st.data())
def test_uncut_is_on_the_page_and_within_one_tile(axis: Axis, data: st.DataObject) -> None:
    width = data.draw(st.integers(1, axis.tile + 2))
    starts = np.arange(-axis.tile - 3, axis.length + axis.tile + 3)
    assert axis.uncut(starts, width).tolist() == [whole(axis, int(start), width) for start in starts]


@settings(deadline=None, max_examples=60)
@given(AXES, st.data())
def test_cut_places_are_those_of_a_search_over_every_start(axis: Axis, data: st.DataObject) -> None:
    ink = data.draw(profiles(axis))
    width, total = len(ink), sum(ink)
    between = data.draw(st.none() | st.tuples(st.integers(0, width), st.integers(0, width)).map(lambda pair: (min(pair), max(pair))))
    found = {
        start: (share, tuple(sham))
        for table in cut_tables(axis, np.array(ink), between=between)
        for share, start, sham in zip(table.share, table.start, table.sham, strict=True)
    }
    wanted = {}
    for start in range(axis.length - width + 1):
        for seam in range(axis.tile, axis.length, axis.tile):
            before = seam - start
            if not 0 <= before <= width or width > axis.tile:
                continue
            share = sum(ink[:before]) / total
            if min(share, 1 - share) < CUT_SHARE or (between is not None and not between[0] <= before <= between[1]):
                continue
            for j in range(1, axis.length):
                sham = tuple(at if whole(axis, at, width) else -1 for at in (start - j * axis.unit, start + j * axis.unit))
                if sham != (-1, -1):
                    wanted[start] = (pytest.approx(share), sham)
                    break
    assert found == wanted


def test_cuts_of_exactly_the_least_and_the_greatest_share_count() -> None:
    """In eighths, which are exact: eight px of equal ink, of which the seam may leave a quarter to a half on its smaller side."""
    (table,) = cut_tables(Axis(2, 4, 3), np.ones(8, int), (0.25, 0.5))
    assert table.before == [2, 3, 4, 5, 6]
    (table,) = cut_tables(Axis(2, 4, 3), np.ones(8, int), (0.25, 0.375))
    assert table.before == [2, 3, 5, 6]
    (table,) = cut_tables(Axis(2, 5, 6), np.ones(20, int), (0.25, 0.5), (2, 5))
    assert table.before == [3, 4, 5], "between two parts of the evidence: three twentieths are CUT_SHARE, which counts"


@settings(deadline=None, max_examples=60)
@given(AXES, AXES, st.data())
def test_intact_places_are_those_whose_ink_crosses_the_fewest_patches(x: Axis, y: Axis, data: st.DataObject) -> None:
    across, down = (data.draw(profiles(axis).filter(lambda ink, axis=axis: len(ink) <= axis.tile)) for axis in (x, y))
    ink = np.minimum(np.outer(down, across), 1)
    placer = Placer(ink, (x, y))
    for axis, profile, starts in zip((x, y), (ink.sum(0), ink.sum(1)), placer.intact, strict=True):
        inked = np.flatnonzero(profile)
        crossed = {
            start: sum((start + px) % axis.patch == 0 for px in range(inked[0] + 1, inked[-1] + 1))
            for start in range(axis.length)
            if whole(axis, start, len(profile))
        }
        assert starts == [start for start, count in crossed.items() if count == min(crossed.values())]
    assert placer.permitted == [i for i, axis in enumerate((x, y)) if cut_tables(axis, (ink.sum(0), ink.sum(1))[i])]


class Script:
    """A generator whose random numbers are given, the last one for ever."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)

    def random(self) -> float:
        return self.numbers.pop(0) if len(self.numbers) > 1 else self.numbers[0]


PAGE = (Axis(2, 3, 32), Axis(2, 3, 32))


@pytest.mark.parametrize("cuts", [(0.15, 0.5), (0.3, 0.4), (0.15, 0.2)])
def test_the_cut_is_the_one_nearest_to_a_share_drawn_evenly(cuts: tuple[float, float]) -> None:
    """On either side of the middle: first low to high, then high to low."""
    ink = np.ones((12, 23), int)
    placer = Placer(ink, PAGE, cuts)
    shares = placer.tables[0][0].share
    low, high = cuts
    for uniform in np.linspace(0, 0.999, 60):
        wanted = low + 2 * (high - low) * uniform
        wanted = wanted if wanted <= high else 1 - high + (wanted - high)
        triplet = placer.draw(Script(0.0, 0.0, uniform, 0.0))  # type: ignore[arg-type]
        share = (96 - triplet.cut[0]) / 23
        assert abs(share - wanted) == pytest.approx(min(abs(own - wanted) for own in shares))
        assert triplet.cut_fraction == pytest.approx(min(share, 1 - share))
        assert triplet.axis == "x"


def test_draws_reach_every_place_and_keep_a_triplets_promises() -> None:
    ink = np.zeros((20, 14), int)
    ink[3:17, 2:12] = 1
    placer, generator = Placer(ink, PAGE), np.random.default_rng(0)
    triplets = [placer.draw(generator) for _ in range(1500)]
    assert {triplet.axis for triplet in triplets} == {"x", "y"}
    for triplet in triplets:
        at = "xy".index(triplet.axis)
        for box in (triplet.cut, triplet.sham, triplet.intact):
            assert (box[2] - box[0], box[3] - box[1]) == (14, 20)
            assert 0 <= box[0] < box[2] <= 192
            assert 0 <= box[1] < box[3] <= 192
        assert triplet.cut[at] < 96 < triplet.cut[at + 2]
        assert abs(triplet.sham[at] - triplet.cut[at]) == 64
        assert triplet.sham[1 - at] == triplet.cut[1 - at]
        for box in (triplet.sham, triplet.intact):
            assert all(whole(axis, box[i], box[i + 2] - box[i]) for i, axis in enumerate(PAGE))
    assert {triplet.intact[0] for triplet in triplets} == set(placer.intact[0])
    assert {triplet.intact[1] for triplet in triplets} == set(placer.intact[1])
    for place in ("cut", "sham", "intact"):
        one = [placer.draw_one(generator, place) for _ in range(400)]
        if place == "cut":
            assert all(box[0] < 96 < box[2] or box[1] < 96 < box[3] for box in one)
        else:
            assert not any(box[0] < 96 < box[2] or box[1] < 96 < box[3] for box in one)


@pytest.mark.parametrize("axis", [0, 1])
def test_where_the_seam_may_run_is_drawn_evenly(axis: int) -> None:
    ink = np.ones((30, 10) if axis else (10, 30), int)
    placer = Placer(ink, PAGE, between=(axis, 10, 19))
    generator = np.random.default_rng(0)
    runs = [96 - placer.draw(generator).cut[axis] for _ in range(2000)]
    assert sorted(set(runs)) == list(range(10, 20))
    assert max(runs.count(at) for at in set(runs)) < 270  # 200 each, and five standard deviations


def clear(box: Box, others: Sequence[Box], gap: int) -> bool:
    return all(
        box[2] + gap <= other[0] or other[2] + gap <= box[0] or box[3] + gap <= other[1] or other[3] + gap <= box[1] for other in others
    )


@pytest.mark.parametrize("tiles", range(1, 7))
@pytest.mark.parametrize("grid", range(1, 8))
def test_an_axis_permits_triplets_where_a_block_of_one_patch_has_a_place(tiles: int, grid: int) -> None:
    for patch in (4, 32):
        assert has_sham_place(tiles, grid) is bool(cut_tables(Axis(tiles, grid, patch), np.ones(patch)))


def test_a_cut_is_drawn_up_to_the_middle_where_nothing_else_is_said() -> None:
    """Evenly between CUT_SHARE and a half: no share is more frequent."""
    placer, generator = Placer(np.ones((60, 60), int), PAGE), np.random.default_rng(0)
    shares = [placer.draw(generator).cut_fraction for _ in range(1500)]
    counts, _ = np.histogram(shares, np.linspace(CUT_SHARE, 0.5, 6))
    assert max(abs(counts - 300)) < 75, counts


class Scripted(Placer):
    """Draws as it is told."""

    def __init__(self, boxes: list[Box]) -> None:
        super().__init__(np.ones((8, 8), int), PAGE)
        self.boxes = iter(boxes)

    def draw_one(self, generator: np.random.Generator, place: str) -> Box:
        return next(self.boxes)


def test_of_arrangements_with_equally_many_blocks_the_first_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages must not depend on how often the search goes on in vain."""
    monkeypatch.setattr(places, "TRIES", 1)
    monkeypatch.setattr(places, "ATTEMPTS", 3)
    target, far = Placer(np.ones((8, 8), int), PAGE), [(150 + n, 150, 158 + n, 158) for n in range(3)]
    boxes = arrange(np.random.default_rng(0), target, [Scripted(far), Scripted(far)], ["cut", "cut"], gap=0)[1]
    assert boxes == [far[0], None], "the second block lies on the first"


class Counting(Placer):
    """Counts how often a whole triplet is drawn."""

    drawn = 0

    def draw(self, generator):  # type: ignore[no-untyped-def]
        self.drawn += 1
        return super().draw(generator)


@pytest.mark.parametrize(("count", "side"), [(0, 10), (3, 10), (9, 40)])
def test_blocks_are_clear_of_each_other_and_of_the_targets_places(count: int, side: int) -> None:
    others = [Placer(np.ones((side, side), int), PAGE) for _ in range(count)]
    shown = [("cut", "sham", "intact")[i % 3] for i in range(count)]
    for seed in range(8):
        target = Counting(np.ones((8, 8), int), PAGE)
        triplet, boxes = arrange(np.random.default_rng(seed), target, others, shown, gap=3)
        assert len(boxes) == count
        placed = [box for box in boxes if box is not None]
        for number, box in enumerate(placed):
            assert clear(box, [triplet.cut, triplet.sham, triplet.intact, *placed[:number]], 3)
            assert (box[2] - box[0], box[3] - box[1]) == (side, side)
        if side == 10:
            assert len(placed) == count
        if count == 0:
            assert target.drawn == 1, "nothing is left to improve"
        if len(placed) < count:
            assert target.drawn == 24
