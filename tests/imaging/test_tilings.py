"""Other tilings: the ratio rule, stretched images, overlapping tiles, dropped padding; pixels, boxes and cuts must follow."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fila_lab.config.canvas_rules import grids_up_to
from fila_lab.config.geometry import GeometryConfig, TilingConfig
from fila_lab.config.tiling import axis_starts, tile_layout
from fila_lab.imaging import PAD_COLOUR, Geometry, choose_canvas, cut_by_seam, cut_fraction, prepare

PLAIN = GeometryConfig(tile=42, canvases=((42, 84), (84, 42), (84, 84), (126, 42), (42, 126)), resample="area", detail_cells=3)
TILINGS: dict[str, TilingConfig] = {
    "larger": TilingConfig(canvases=((42, 84), (84, 42), (84, 84), (126, 84), (84, 126), (126, 126), (168, 42), (42, 168))),
    "internvl": TilingConfig(rule="internvl", fit="stretch"),
    "single": TilingConfig(canvases=((42, 42),)),
    "single_drop": TilingConfig(canvases=((42, 42),), padding_tokens="drop"),
    "stretched": TilingConfig(canvases=((84, 84),), fit="stretch"),
    "overlap_1": TilingConfig(overlap=1),
    "overlap_2": TilingConfig(overlap=2),
    "drop": TilingConfig(padding_tokens="drop"),
    "overlap_drop": TilingConfig(canvases=((126, 126),), overlap=1, padding_tokens="drop"),
}
EXTREMES = [(1, 1), (20000, 100), (100, 20000), (1, 3000), (384, 192), (37, 411)]
sizes = st.one_of(st.sampled_from(EXTREMES), st.tuples(st.integers(1, 3000), st.integers(1, 3000)))
tilings = st.sampled_from(sorted(TILINGS))


def config(name: str) -> GeometryConfig:
    return PLAIN.model_copy(update={"tiling": TILINGS[name]})


def windows(geometry: Geometry) -> list[tuple[int, int, int, int]]:
    """Each tile's (x0, y0, x1, y1) in canvas px, raster order."""
    layout, patch, tile = geometry.layout, geometry.patch, geometry.tile
    return [(x * patch, y * patch, x * patch + tile, y * patch + tile) for y in layout.starts_y for x in layout.starts_x]


@pytest.mark.parametrize(
    ("size", "max_tiles", "grid"),
    [  # tiles of 448 px, by hand: the nearest of the grids' ratios; of equal ones the largest that the image's pixels fill by half
        ((800, 1300), 12, (2, 3)),  # 0.615: 2/3 is 0.051 off, 1/2 0.115; 3/5 would need 15 tiles
        ((640, 480), 12, (4, 3)),  # exactly 4/3, whatever the image's size
        ((640, 480), 6, (3, 2)),  # 1.333: 3/2 is 0.167 off, 1 is 0.333 off
        ((1000, 1000), 12, (3, 3)),  # 1,000,000 px are more than half of 9 tiles, 903,168 px
        ((900, 900), 12, (2, 2)),  # 810,000 px are not
        ((300, 300), 12, (1, 1)),  # 90,000 px are less than half of a tile, 100,352 px, and of 4 tiles
        ((2000, 500), 12, (4, 1)),
        ((20000, 100), 12, (12, 1)),
        ((1, 1), 12, (1, 1)),
        ((750, 1000), 4, (2, 2)),  # 0.75 is 0.25 off both 1 and 1/2: 750,000 px fill half of 1x2 and of 2x2 tiles
        ((300, 400), 4, (1, 1)),  # 120,000 px fill half of one tile only
    ],
)
def test_the_ratio_rule_by_hand(size: tuple[int, int], max_tiles: int, grid: tuple[int, int]) -> None:
    assert choose_canvas(*size, grids_up_to(max_tiles, 448), "internvl") == (grid[0] * 448, grid[1] * 448)


def test_the_ratio_rule_equals_transformers_over_random_sizes() -> None:
    from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

    rng = random.Random(0)
    for index in range(1500):
        top, most = (30, 400, 1500, 5000)[index % 4], (1, 4, 6, 12)[index // 4 % 4]
        width, height = rng.randint(1, top), rng.randint(1, top)
        cols, rows = get_optimal_tiled_canvas((height, width), (448, 448), 1, most)
        assert choose_canvas(width, height, grids_up_to(most, 448), "internvl") == (cols * 448, rows * 448), (width, height, most)


@given(st.integers(1, 9), st.integers(1, 8), st.data())
def test_overlapping_tiles_are_the_fewest_that_cover_the_axis(tiles: int, grid: int, data: st.DataObject) -> None:
    length, overlap = tiles * grid, data.draw(st.integers(0, grid - 1))
    starts = axis_starts(length, grid, overlap)
    assert (starts[0], starts[-1] + grid) == (0, length)
    steps = [second - first for first, second in pairwise(starts)]
    assert all(0 < step <= grid - overlap for step in steps)
    assert len(starts) == 1 + math.ceil((length - grid) / (grid - overlap))  # one fewer could not reach the end
    assert not steps or max(steps) - min(steps) <= 1
    if not overlap:
        assert starts == tuple(range(0, length, grid))


@settings(max_examples=150, deadline=None)
@given(sizes, tilings)
def test_every_pixel_is_seen_and_every_position_handed_over_at_most_once(size: tuple[int, int], name: str) -> None:
    geometry = Geometry.of(*size, config(name))
    layout, g = geometry.layout, geometry.grid
    assert geometry.canvas == (layout.size[0] * geometry.patch, layout.size[1] * geometry.patch)
    covered = np.zeros(layout.size[::-1], bool)
    for y in layout.starts_y:
        for x in layout.starts_x:
            covered[y : y + g, x : x + g] = True
    assert covered.all()
    handed = []
    for source in layout.sources():
        tile, place = divmod(source, g * g)
        handed.append((layout.starts_y[tile // layout.cols] + place // g, layout.starts_x[tile % layout.cols] + place % g))
    kept = [(row, col) for row in range(*layout.kept_y) for col in range(*layout.kept_x)]
    assert handed == kept  # each once, in raster order
    (left, top), (wide, high) = geometry.offset, geometry.resized
    for row in range(layout.size[1]):  # what is left out shows none of the image, and what padding is kept was to be kept
        for col in range(layout.size[0]):
            x, y = col * geometry.patch, row * geometry.patch
            shows = x < left + wide and x + geometry.patch > left and y < top + high and y + geometry.patch > top
            assert ((row, col) in set(kept)) is (shows or TILINGS[name].padding_tokens == "keep")


def test_dropped_padding_by_hand() -> None:
    """A page of 1 x 4 in one tile: 11 of 42 px from px 15 on, so the middle of three columns; of 1 x 2: 21 px from px 10 on, all three."""
    narrow, half = (tile_layout(config("single_drop"), (42, 42), size) for size in ((192, 768), (192, 384)))
    assert (narrow.kept_x, narrow.kept_y, narrow.handed) == ((1, 2), (0, 3), (1, 3))
    assert half.plain
    square = GeometryConfig(canvases=((672, 672),), detail_cells=24, tiling=TilingConfig(padding_tokens="drop"))
    assert tile_layout(square, (672, 672), (640, 480)).kept_y == (6, 42)  # 504 px from px 84 on, tokens of 14 px
    assert tile_layout(square, (672, 672)).plain  # nothing is known of an image


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), tilings, st.data())
def test_a_changed_page_pixel_changes_only_the_tiles_that_hold_it(size: tuple[int, int], name: str, data: st.DataObject) -> None:
    pixels = np.random.default_rng(0).integers(0, 100, (size[1], size[0], 3), dtype=np.uint8)
    x, y = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    changed = pixels.copy()
    changed[y, x] += 150
    before, after = (prepare(Image.fromarray(page), config(name), detail=False) for page in (pixels, changed))
    tiles = set(np.flatnonzero((before.tiles != after.tiles).any((1, 2, 3))).tolist())
    assert tiles <= {tile for tile, _, _ in before.geometry.tokens_of((x, y, x + 1, y + 1))}
    if min(before.geometry.scales) >= 1:
        assert tiles


@settings(max_examples=60, deadline=None)
@given(sizes.filter(lambda size: max(size) < 4000), tilings)
def test_tiles_are_windows_of_one_canvas_and_go_together_again(size: tuple[int, int], name: str) -> None:
    page = Image.fromarray(np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    prepared = prepare(page, config(name))
    geometry = prepared.geometry
    assert prepared.tiles.shape == (geometry.tiles, 42, 42, 3)
    assert prepared.canvas.shape == (geometry.canvas[1], geometry.canvas[0], 3)
    for (x0, y0, x1, y1), tile in zip(windows(geometry), prepared.tiles, strict=True):
        assert np.array_equal(prepared.canvas[y0:y1, x0:x1], tile)
    assert prepared.detail is not None
    assert prepared.detail.shape[1::-1] == geometry.detail_size
    assert geometry.detail_size == tuple(side // 42 * 96 for side in geometry.canvas)  # overlap adds tiles, no cells
    (left, top), (wide, high) = geometry.offset, geometry.resized
    pad = np.ones(prepared.canvas.shape[:2], bool)
    pad[top : top + high, left : left + wide] = False
    assert (prepared.canvas[pad] == PAD_COLOUR).all()
    if geometry.fit == "stretch":
        assert not pad.any()


@settings(max_examples=150, deadline=None)
@given(sizes, st.tuples(*[st.floats(0, 1)] * 4), tilings)
def test_tokens_of_a_box_are_those_it_overlaps(size: tuple[int, int], corners: tuple[float, ...], name: str) -> None:
    (left, right), (top, bottom) = sorted(corners[:2]), sorted(corners[2:])
    geometry = Geometry.of(*size, config(name))
    page_box = (left * size[0], top * size[1], right * size[0], bottom * size[1])
    x0, y0, x1, y1 = geometry.to_canvas(page_box)
    noise = 2e-6
    tokens = geometry.tokens_of(page_box)
    assert len(set(tokens)) == len(tokens)
    for tile, (tile_x, tile_y, _, _) in enumerate(windows(geometry)):
        for row in range(3):
            for col in range(3):
                left, top = tile_x + col * 14, tile_y + row * 14
                shared = min(min(x1, left + 14) - max(x0, left), min(y1, top + 14) - max(y0, top), x1 - x0, y1 - y0)
                if abs(shared) > noise:
                    assert ((tile, row, col) in tokens) is (shared > 0)


@settings(max_examples=150, deadline=None)
@given(st.tuples(*[st.integers(0, 383)] * 4), st.sampled_from(["overlap_1", "overlap_2", "stretched", "larger", "internvl"]))
def test_uncut_means_that_some_tile_holds_all_of_it(corners: tuple[int, ...], name: str) -> None:
    box = (min(corners[0], corners[1]), min(corners[2:]), max(corners[:2]) + 1, max(corners[2:]) + 1)
    geometry = Geometry.of(384, 384, config(name))
    x0, y0, x1, y1 = geometry.to_canvas(box)
    whole = any(a <= x0 + 1e-6 and b <= y0 + 1e-6 and x1 - 1e-6 <= c and y1 - 1e-6 <= d for a, b, c, d in windows(geometry))
    assert (cut_by_seam(box, geometry) is False) is whole
    assert 0 <= cut_fraction(box, geometry) <= 0.5


def test_what_overlap_saves_from_being_cut_by_hand() -> None:
    """A page of 84 canvas px is 384 px; tiles of 42 px start at 0, 28, 42 px with an overlap of one patch (14 px = 64 page px)."""
    plain, overlapping = (Geometry.of(384, 384, c) for c in (PLAIN, config("overlap_1")))
    assert (plain.seams_x, overlapping.seams_x, overlapping.seams_y) == ((42,), (28, 42, 70), (28, 42, 70))
    assert overlapping.zones[0] == ((28, 42), (42, 70))
    assert (overlapping.rows, overlapping.cols, overlapping.canvas) == (3, 3, (84, 84))
    glyph = (172, 140, 212, 180)  # 40 px across page px 192: in the second tile, which shows 128 to 320
    assert cut_by_seam(glyph, plain) is True
    assert cut_by_seam(glyph, overlapping) is False
    line = (92, 140, 292, 180)  # 200 px: no tile of 192 px holds it; the second lacks 36 px on the left, the first 100 on the right
    assert cut_fraction(line, overlapping) == pytest.approx(36 / 200)
    assert cut_by_seam(line, overlapping) is True
    assert overlapping.tokens_of((128, 0, 129, 1)) == ((0, 0, 2), (1, 0, 0))  # canvas column 2, in two tiles


def test_the_single_square_and_the_stretched_canvas_by_hand() -> None:
    single, stretched = Geometry.of(192, 384, config("single")), Geometry.of(192, 384, config("stretched"))
    assert (single.canvas, single.resized, single.offset, single.tiles) == ((42, 42), (21, 42), (10, 0), 1)
    assert (stretched.canvas, stretched.resized, stretched.offset, stretched.tiles) == ((84, 84), (84, 84), (0, 0), 4)
    assert stretched.scales == (84 / 192, 84 / 384)
    page = np.zeros((384, 192, 3), np.uint8)
    page[:, 64:] = 255
    prepared = prepare(Image.fromarray(page), config("stretched"))
    assert prepared.detail is not None
    for image in (prepared.canvas, prepared.detail):  # the edge at a third of the page is at a third of canvas and detail input
        third = image.shape[1] // 3
        assert (image[:, :third] == 0).all()
        assert (image[:, third:] == 255).all()


@given(st.integers(1, 6), st.integers(2, 9), st.data())
def test_a_shared_position_is_handed_over_from_the_tile_it_lies_deepest_in(tiles: int, grid: int, data: st.DataObject) -> None:
    """By px: how far a token's middle is from the nearer border of each tile that holds it; of equal tiles the first."""
    overlap = data.draw(st.integers(0, grid - 1))
    across = PLAIN.model_copy(
        update={"tile": 14 * grid, "canvases": ((14 * grid * tiles, 14 * grid),), "tiling": TilingConfig(overlap=overlap)}
    )
    layout = tile_layout(across, (14 * grid * tiles, 14 * grid))
    wanted = []
    for row in range(grid):
        for token in range(tiles * grid):
            depths = {
                tile: min(token + 0.5 - start, start + grid - token - 0.5)
                for tile, start in enumerate(layout.starts_x)
                if start <= token < start + grid
            }
            tile = min(depths, key=lambda tile: (-depths[tile], tile))
            wanted.append((tile * grid + row) * grid + token - layout.starts_x[tile])
    assert list(layout.sources()) == wanted
