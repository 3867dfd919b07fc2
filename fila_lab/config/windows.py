"""Where the windows of `shifted_window` lie: closed forms that strategy, plan and costs share. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from fila_lab.config.fusion_options import ShiftedWindowOptions

TEXTMONKEY = 12
"""Tokens a side of TextMonkey's windows; they are moved by half of it."""


@dataclass(frozen=True)
class AxisWindows:
    """The windows along one axis. Of each token: its window, its slot in it, and its run: the tokens of a window that lie side by side.

    Every window has `width` slots. Half a window at the one edge of the canvas shares one with the half at the other edge, as after the
    cyclic shift of Swin Transformer (Liu et al., 2021); they are two runs, and never see each other.
    """

    width: int
    count: int
    window: tuple[int, ...]
    slot: tuple[int, ...]
    run: tuple[int, ...]


def window_side(options: ShiftedWindowOptions, grid: int) -> int:
    """Tokens a window's side, for tiles of grid x grid tokens.

    Raises:
        ValueError: windows that do not fit the tiles.
    """
    if options.placement == "textmonkey":
        if options.window is not None:
            raise ValueError(
                f"window = {options.window} stands beside placement = 'textmonkey', whose windows have {TEXTMONKEY}; leave it out"
            )
        return TEXTMONKEY
    if grid == 1:
        raise ValueError(": tiles of one token have no seam that could lie mid-window; choose a larger geometry.tile, or another fusion")
    width = options.window or 2 * ((grid + 2) // 4)
    most = grid // 2 * 2
    if width > grid:
        raise ValueError(
            f"window = {width} is wider than a tile of {grid} tokens, so windows about two seams would overlap; choose an even number of "
            f"at most {most}"
        )
    if width % 2:
        near = [str(side) for side in (width - 1, width + 1) if side <= most]
        raise ValueError(f"window = {width} is odd, so no seam could lie in its middle; choose {' or '.join(near)}")
    return width


@cache
def axis_windows(options: ShiftedWindowOptions, tiles: int, grid: int, whole: bool = True) -> AxisWindows:
    """The windows along an axis of `tiles` tiles. whole: windows lie about the seams of the canvas; else each tile is cut by itself, from
    its border on, into as many of the same size.

    Raises:
        ValueError: windows that do not fit the tiles, or the canvas.
    """
    width, length = window_side(options, grid), tiles * grid
    if options.placement == "textmonkey" and length < TEXTMONKEY:
        raise ValueError(
            f"placement = 'textmonkey' has windows of {TEXTMONKEY} tokens, more than a canvas's side of {length}; choose placement mid_seam"
        )
    shift = width // 2 if whole else 0
    period = length + shift if whole and options.placement == "textmonkey" else grid  # one row of windows, or one for each tile
    each = -(-period // width)
    places = [divmod(token + shift, period) for token in range(length)]
    run = [lap * each + place // width for lap, place in places]
    slot = [place % width for _, place in places]
    last, first = ({s for s, r in zip(slot, run, strict=True) if r == number} for number in (run[-1], 0))
    merged = run[-1] > 0 and not last & first
    count = run[-1] if merged else run[-1] + 1
    return AxisWindows(width, count, tuple(number % count for number in run), tuple(slot), tuple(run))
