"""Strided tiles and second grids against plain loops over pixels and tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fila_lab.config.canvas_rules import second_canvas
from fila_lab.config.geometry import GeometryConfig, SecondGridConfig, TilingConfig
from fila_lab.config.tiling import TileLayout, tile_layout
from fila_lab.imaging import Geometry, cut_fraction, join_tiles, prepare
from fila_lab.imaging.pictures import grid_pictures
from fila_lab.imaging.prepare import render

CANVASES = ((42, 84), (84, 84), (126, 84), (126, 126))
SECOND = SecondGridConfig(min_tiles=2, max_tiles=7)
TILINGS = {
    "strided": TilingConfig(perspective="strided"),
    "both": TilingConfig(perspective="both", padding_tokens="drop"),
    "second": TilingConfig(second=SECOND, padding_tokens="drop"),
    "overlapping": TilingConfig(perspective="both", second=SECOND, overlap=1),
    "stretched": TilingConfig(perspective="strided", second=SECOND, fit="stretch", padding_tokens="drop"),
}
sizes = st.tuples(st.integers(1, 400), st.integers(1, 400))
names = st.sampled_from(sorted(TILINGS))


def config(name: str) -> GeometryConfig:
    return GeometryConfig(tile=42, canvases=CANVASES, detail_cells=3, tiling=TILINGS[name])


def shown_by(grid: TileLayout, geometry: Geometry) -> np.ndarray:
    """For each tile and token of a grid: its (x0, y0, x1, y1) on the canvas in px, [tiles, g, g, 4]; of strided tiles what lies between
    their pixels too."""
    across, down = (side / (14 * tokens) for side, tokens in zip(geometry.canvas, grid.size, strict=True))
    boxes = np.zeros((grid.rows * grid.cols, 3, 3, 4))
    for tile in range(grid.rows * grid.cols):
        row, col = divmod(tile, grid.cols)
        for v in range(3):
            for u in range(3):
                if grid.strided:
                    wide, high = 14 * grid.cols, 14 * grid.rows
                    boxes[tile, v, u] = u * wide, v * high, (u + 1) * wide, (v + 1) * high
                else:
                    x, y = 14 * (grid.starts_x[col] + u) * across, 14 * (grid.starts_y[row] + v) * down
                    boxes[tile, v, u] = x, y, x + 14 * across, y + 14 * down
    return boxes


@settings(max_examples=30, deadline=None)
@given(sizes, names)
def test_every_pixel_of_every_tile_is_that_of_its_canvas(size: tuple[int, int], name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    prepared = prepare(image, config(name), detail=False)
    geometry, before = prepared.geometry, 0
    assert len(prepared.tiles) == geometry.tiles
    for grid, whole in zip(geometry.layout.grids, prepared.canvases, strict=True):
        laid = render(image, geometry, (grid.size[0] * 14, grid.size[1] * 14), "bicubic")
        assert np.array_equal(whole, laid)
        for tile in range(grid.rows * grid.cols):
            row, col = divmod(tile, grid.cols)
            for y, x in ((0, 0), (1, 5), (41, 41), (20, 3)):
                at = (
                    (y * grid.rows + row, x * grid.cols + col)
                    if grid.strided
                    else (14 * grid.starts_y[row] + y, 14 * grid.starts_x[col] + x)
                )
                assert np.array_equal(prepared.tiles[before + tile, y, x], laid[at])
        before += grid.rows * grid.cols
    plain = prepare(image, config(name).model_copy(update={"tiling": TilingConfig(fit=TILINGS[name].fit)}), detail=False)
    assert np.array_equal(plain.canvas, prepared.canvas)
    assert np.array_equal(plain.overview, prepared.overview)


@settings(max_examples=40, deadline=None)
@given(sizes, names)
def test_tokens_are_handed_over_grid_by_grid_in_raster_order(size: tuple[int, int], name: str) -> None:
    """Strided ones interleaved: tile (a, b)'s at (u, v) stands at (cols * u + a, rows * v + b). One stays where it shows the image."""
    geometry = Geometry.of(*size, config(name))
    wanted, before = [], 0
    left, top = geometry.offset
    right, bottom = left + geometry.resized[0], top + geometry.resized[1]
    for grid in geometry.layout.grids:
        owner: dict[tuple[int, int], tuple[int, int, int]] = {}
        boxes = shown_by(grid, geometry)
        for tile in range(grid.rows * grid.cols):
            row, col = divmod(tile, grid.cols)
            for v in range(3):
                for u in range(3):
                    at = (grid.rows * v + row, grid.cols * u + col) if grid.strided else (grid.starts_y[row] + v, grid.starts_x[col] + u)
                    inside = (min(v, 2 - v), min(u, 2 - u))
                    x0, y0, x1, y1 = boxes[tile, v, u]
                    if TILINGS[name].padding_tokens == "keep" or (
                        x0 < right - 1e-9 and left < x1 - 1e-9 and y0 < bottom - 1e-9 and top < y1 - 1e-9
                    ):
                        deeper = at not in owner or (inside[0] >= owner[at][0] and inside[1] >= owner[at][2] and inside != owner[at][::2])
                        if deeper:
                            owner[at] = (inside[0], (before + tile) * 9 + 3 * v + u, inside[1])
        wanted += [owner[at][1] for at in sorted(owner)]
        before += grid.rows * grid.cols
    assert list(geometry.layout.sources()) == wanted
    assert len(wanted) == sum(grid.handed[0] * grid.handed[1] for grid in geometry.layout.grids)


@settings(max_examples=40, deadline=None)
@given(sizes, st.tuples(*[st.floats(0, 1)] * 4), names)
def test_tokens_of_a_box_are_those_that_show_some_of_it(size: tuple[int, int], corners: tuple[float, ...], name: str) -> None:
    geometry = Geometry.of(*size, config(name))
    x0, x1 = sorted(round(share * size[0]) for share in corners[:2])
    y0, y1 = sorted(round(share * size[1]) for share in corners[2:])
    found = geometry.tokens_of((x0, y0, x1, y1))
    assert len(set(found)) == len(found)
    a0, b0, a1, b1 = geometry.to_canvas((x0, y0, x1, y1))
    wanted, before = set(), 0
    for grid in geometry.layout.grids:
        for tile, row, col in np.ndindex(grid.rows * grid.cols, 3, 3):
            u0, v0, u1, v1 = shown_by(grid, geometry)[tile, row, col]
            if x0 < x1 and y0 < y1 and a0 < u1 - 1e-6 and u0 < a1 - 1e-6 and b0 < v1 - 1e-6 and v0 < b1 - 1e-6:
                wanted.add((before + tile, row, col))
        before += grid.rows * grid.cols
    assert set(found) == wanted


def mini_monkey(cols: int, rows: int, least: int, most: int, exclusion: str) -> tuple[int, int] | None:
    """Columns and rows of the second grid by plain loops over grids; ties to the larger, whose half the canvas fills."""
    best: tuple[int, int] | None = None
    for count in range(least, most + 1):
        for i in range(1, count + 1):
            if count % i:
                continue
            j = count // i
            divides = (cols % i == 0, rows % j == 0)
            if (exclusion == "both" and all(divides)) or (exclusion == "either" and any(divides)):
                continue
            distance = abs(cols / rows - i / j)
            known = None if best is None else abs(cols / rows - best[0] / best[1])
            if known is None or distance < known or (distance == known and 2 * cols * rows > i * j):
                best = (i, j)
    return best


@pytest.mark.parametrize(("first", "second"), [((2, 2), (2, 3)), ((3, 3), (2, 2)), ((4, 3), (3, 2)), ((2, 3), (2, 2)), ((4, 4), (2, 3))])
def test_the_second_grid_of_three_to_seven_tiles_is_that_of_the_published_rule(first: tuple[int, int], second: tuple[int, int]) -> None:
    assert second_canvas((42 * first[0], 42 * first[1]), 42, (3, 7), "both") == (42 * second[0], 42 * second[1])


@pytest.mark.parametrize("first", [(2, 2), (2, 3), (3, 4), (4, 3), (4, 4)])
def test_the_training_version_leaves_nothing_beside_some_grids(first: tuple[int, int]) -> None:
    assert second_canvas((first[0] * 42, first[1] * 42), 42, (1, 4), "either") is None


@pytest.mark.parametrize("exclusion", ["both", "either", "none"])
def test_the_second_grid_is_that_of_a_search(exclusion: str) -> None:
    for cols in range(1, 6):
        for rows in range(1, 6):
            wanted = mini_monkey(cols, rows, 2, 9, exclusion)
            found = second_canvas((42 * cols, 42 * rows), 42, (2, 9), exclusion)
            assert found == (None if wanted is None else (42 * wanted[0], 42 * wanted[1]))
    assert second_canvas((126, 84), 42, (6, 6), "none") == (126, 84), "the control: the same grid again"


def test_strided_tiles_have_no_seam_and_see_everything() -> None:
    geometry = Geometry.of(84, 84, config("strided"))
    assert geometry.seams_x == geometry.seams_y == ()
    assert cut_fraction((30, 30, 60, 60), geometry) == 0
    tokens = geometry.tokens_of((0, 0, 84, 84))
    assert len(tokens) == 36
    assert Geometry.of(84, 84, config("both")).seams_x == (42,)


def test_one_grid_is_in_no_record_and_layouts_of_one_are_as_they_were() -> None:
    assert not {"perspective", "second"} & set(TilingConfig().model_dump(mode="json"))
    plain = GeometryConfig(tile=42, canvases=CANVASES, detail_cells=3)
    assert tile_layout(plain, (126, 84)) == TileLayout.side_by_side(3, 2, 3)


def test_pictures_show_each_grid_as_it_is_cut() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (84, 84, 3), dtype=np.uint8))
    prepared = prepare(noise, config("overlapping"), detail=False)
    pictures = grid_pictures(prepared, (255, 0, 0))
    assert [name for name, _ in pictures] == ["tiles, 3 x 3", "strided tiles, 2 x 2", "second grid, 3 x 4"]
    strided = np.asarray(pictures[1][1])
    assert (strided[:, 42] == (255, 0, 0)).all()
    assert np.array_equal(strided[:42, :42], join_tiles(prepared.tiles[9:13], 2, 2)[:42, :42])
    assert pictures[2][1].size == (84, 126)
