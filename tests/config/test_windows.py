"""Where the windows of `shifted_window` lie: seams in their middle, none lost, none shared by what does not lie side by side."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from fila_lab.config.fusion_options import ShiftedWindowOptions
from fila_lab.config.windows import AxisWindows, axis_windows, window_side

TEXTMONKEY = ShiftedWindowOptions(placement="textmonkey")


def runs(axis: AxisWindows) -> list[range]:
    """Spans of tokens that see each other."""
    length = len(axis.run)
    starts = [0, *(token for token in range(1, length) if axis.run[token] != axis.run[token - 1]), length]
    return [range(start, end) for start, end in pairwise(starts)]


@pytest.mark.parametrize("options", [ShiftedWindowOptions(), ShiftedWindowOptions(window=2), TEXTMONKEY], ids=["half", "two", "textmonkey"])
@pytest.mark.parametrize("grid", [2, 3, 4, 5, 7, 14, 16, 24, 32])
def test_every_token_has_a_slot_of_its_own_and_runs_are_whole(options: ShiftedWindowOptions, grid: int) -> None:
    for tiles in range(1, 5):
        if options.placement == "textmonkey" and tiles * grid < 12:
            continue
        for whole in (True, False):
            axis = axis_windows(options, tiles, grid, whole)
            assert len({*zip(axis.window, axis.slot, strict=True)}) == tiles * grid
            assert max(axis.window) + 1 == axis.count == len({*axis.window})
            assert max(axis.slot) < axis.width
            assert len({*axis.run}) == len(runs(axis))
            for run in runs(axis):
                assert [axis.slot[token] for token in run] == [axis.slot[run[0]] + step for step in range(len(run))]
                assert len({axis.window[token] for token in run}) == 1
                assert whole or run[0] // grid == run[-1] // grid, "a tile by itself is cut at its borders"


@pytest.mark.parametrize("grid", [2, 3, 4, 7, 14, 24])
def test_every_seam_lies_in_the_middle_of_a_window(grid: int) -> None:
    for window in (None, *range(2, grid + 1, 2)):
        for tiles in (2, 3):
            axis = axis_windows(ShiftedWindowOptions(window=window), tiles, grid)
            for seam in range(grid, tiles * grid, grid):
                assert range(seam - axis.width // 2, seam + axis.width // 2) in runs(axis)
            assert axis.count == axis_windows(ShiftedWindowOptions(window=window), tiles, grid, whole=False).count


def test_half_the_tile_is_a_window_where_that_is_even() -> None:
    assert [axis_windows(ShiftedWindowOptions(), 2, grid).width for grid in (2, 3, 4, 8, 14, 16, 24)] == [2, 2, 2, 4, 8, 8, 12]


def test_textmonkeys_windows_begin_at_the_sixth_token_and_are_lopsided_by_its_seams() -> None:
    """Tiles of 32 tokens: of its windows one lies over the seam, columns 30 to 41, two on this side of it and ten on that."""
    assert runs(axis_windows(TEXTMONKEY, 2, 32)) == [range(6), *(range(at, at + 12) for at in (6, 18, 30, 42)), range(54, 64)]
    assert axis_windows(TEXTMONKEY, 2, 24) == axis_windows(ShiftedWindowOptions(), 2, 24)


@pytest.mark.parametrize(
    ("options", "grid", "words"),
    [
        ({"window": 3}, 4, "window = 3 is odd, so no seam could lie in its middle; choose 2 or 4"),
        ({"window": 6}, 4, "wider than a tile of 4 tokens"),
        ({"placement": "textmonkey"}, 3, "more than a canvas's side of 6; choose placement mid_seam"),
        ({"placement": "textmonkey", "window": 12}, 24, "leave it out"),
        ({}, 1, "tiles of one token"),
    ],
)
def test_windows_that_do_not_fit(options: dict[str, object], grid: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        axis_windows(ShiftedWindowOptions.model_validate(options), 2, grid)


@pytest.mark.parametrize("grid", [2, 3, 4, 5, 24])
def test_a_width_that_a_refusal_names_is_taken(grid: int) -> None:
    for width in range(2, grid + 4):
        try:
            assert window_side(ShiftedWindowOptions(window=width), grid) == width
        except ValueError as error:
            remedy = str(error).partition("choose")[2]
            for named in map(int, re.findall(r"\d+", remedy)):
                assert window_side(ShiftedWindowOptions(window=named), grid) == named
            assert re.search(r"\d", remedy)
