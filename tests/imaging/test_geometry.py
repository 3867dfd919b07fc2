"""Geometry: sizes, seams, and boxes to tiles, tokens and cells."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fila_lab.config.base import ConfigError, FilaError
from fila_lab.config.geometry import GeometryConfig
from fila_lab.imaging import Geometry

PAPER = GeometryConfig(tile=336, canvases=((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)), detail_cells=24)
SMALL = GeometryConfig(tile=42, canvases=((42, 84), (84, 42), (84, 84), (126, 42), (42, 126)), detail_cells=2)

sizes = st.tuples(st.integers(1, 3000), st.integers(1, 3000))
shares = st.tuples(*[st.floats(0, 1)] * 4)


@pytest.mark.parametrize(
    ("size", "resized", "offset"),
    [
        ((640, 480), (672, 504), (0, 84)),
        ((480, 640), (504, 672), (84, 0)),
        ((2000, 500), (1008, 252), (0, 42)),
        ((1000, 1000), (672, 672), (0, 0)),
    ],
)
def test_published_resized_sizes(size: tuple[int, int], resized: tuple[int, int], offset: tuple[int, int]) -> None:
    geometry = Geometry.of(*size, PAPER)
    assert geometry.resized == resized
    assert geometry.offset == offset


@settings(max_examples=100, deadline=None)
@given(sizes)
def test_resized_size_and_pad_equal_transformers(size: tuple[int, int]) -> None:
    import numpy as np
    from transformers.image_processing_utils import get_patch_output_size

    geometry = Geometry.of(*size, PAPER)
    image = np.broadcast_to(np.zeros((), np.uint8), (3, size[1], size[0]))
    assert get_patch_output_size(image, geometry.canvas[::-1], input_data_format="channels_first") == geometry.resized[::-1]


@settings(max_examples=50, deadline=None)
@given(sizes, st.integers(2, 4))
def test_a_vit_scale_enlarges_the_canvas_the_image_has_anyway(size: tuple[int, int], scale: int) -> None:
    plain, fine = Geometry.of(*size, PAPER), Geometry.of(*size, PAPER.model_copy(update={"vit_scale": scale}))
    assert fine.canvas == (scale * plain.canvas[0], scale * plain.canvas[1])
    assert fine.tiles == scale**2 * plain.tiles
    assert set(plain.seams_x) <= {seam / scale for seam in fine.seams_x}
    assert fine.scale == pytest.approx(scale * plain.scale)


def test_sizes_of_a_wide_image() -> None:
    geometry = Geometry.of(2000, 500, PAPER)
    assert (geometry.canvas, geometry.rows, geometry.cols, geometry.tiles, geometry.grid) == ((1008, 336), 1, 3, 3, 24)
    assert (geometry.seams_x, geometry.seams_y) == ((336, 672), ())
    assert geometry.detail_size == (2304, 768)
    assert [geometry.cells(stage) for stage in (1, 2, 3, 4)] == [(192, 192), (96, 96), (48, 48), (24, 24)]
    assert geometry.scale == pytest.approx(0.504)


def test_whole_image_is_a_fixed_square_split_per_tile() -> None:
    config = PAPER.model_copy(update={"whole_image": 768})
    geometry = Geometry.of(2000, 500, config)
    assert geometry.detail_size == (768, 768)
    assert geometry.cells(4) == (8, 24)
    with pytest.raises(ConfigError, match=r"whole_image=512.*multiple of 96"):
        Geometry.of(2000, 500, PAPER.model_copy(update={"whole_image": 512}))


@settings(max_examples=200, deadline=None)
@given(sizes, shares, st.sampled_from([PAPER, SMALL]))
def test_every_token_of_a_box_touches_it(size: tuple[int, int], corners: tuple[float, ...], config: GeometryConfig) -> None:
    (left, right), (top, bottom) = sorted(corners[:2]), sorted(corners[2:])
    box = (left * size[0], top * size[1], right * size[0], bottom * size[1])
    geometry = Geometry.of(*size, config)
    tokens = geometry.tokens_of(box)
    assert all(0 <= tile < geometry.tiles and 0 <= row < geometry.grid and 0 <= col < geometry.grid for tile, row, col in tokens)
    x0, y0, x1, y1 = geometry.to_canvas(box)
    for tile, row, col in tokens:  # every token named does touch the box
        cell_x = tile % geometry.cols * geometry.tile + col * geometry.patch
        cell_y = tile // geometry.cols * geometry.tile + row * geometry.patch
        assert x0 - 1e-4 - geometry.patch < cell_x < x1 + 1e-4
        assert y0 - 1e-4 - geometry.patch < cell_y < y1 + 1e-4


def test_boxes_are_half_open() -> None:
    geometry = Geometry.of(84, 84, SMALL)
    for box, tiles in (((0, 0, 42, 42), {0}), ((42, 42, 84, 84), {3}), ((41, 0, 43, 1), {0, 1}), ((0, 0, 84, 84), {0, 1, 2, 3})):
        assert {tile for tile, _, _ in geometry.tokens_of(box)} == tiles
    assert geometry.tokens_of((13, 0, 15, 14)) == ((0, 0, 0), (0, 0, 1))
    assert geometry.tokens_of((40, 28, 44, 42)) == ((0, 2, 2), (1, 2, 0))
    assert geometry.tokens_of((5, 5, 5, 9)) == ()
    assert geometry.tokens_of((200, 0, 300, 9)) == ()
    with pytest.raises(FilaError, match="negative"):
        geometry.tokens_of((9, 0, 5, 9))


@pytest.mark.parametrize("size", [(1, 1), (20000, 100), (100, 20000), (1, 20000)])
@pytest.mark.parametrize("config", [PAPER, SMALL])
def test_extreme_sizes(size: tuple[int, int], config: GeometryConfig) -> None:
    geometry = Geometry.of(*size, config)
    assert geometry.canvas in config.canvases
    assert all(1 <= side <= canvas for side, canvas in zip(geometry.resized, geometry.canvas, strict=True))
    assert geometry.tokens_of((0, 0, *size))


@settings(max_examples=100, deadline=None)
@given(sizes, st.sampled_from([PAPER, SMALL]), st.sampled_from([None, 384, 1152]))
def test_scales_are_those_of_the_pixels(size: tuple[int, int], config: GeometryConfig, whole: int | None) -> None:
    """The nominal scale lets the whole image on the canvas and fills one side; detail px a canvas px follow from the two sizes."""
    tile = 336 if config is PAPER else 42
    geometry = Geometry.of(*size, config.model_copy(update={"whole_image": whole}))
    along = [canvas / side for canvas, side in zip(geometry.canvas, size, strict=True)]
    assert geometry.scale in along
    assert all(geometry.scale * side <= canvas + 1e-6 for canvas, side in zip(geometry.canvas, size, strict=True))
    assert all(abs(geometry.scale * side - own) < 1 + 1e-6 for own, side in zip(geometry.resized, size, strict=True))
    x, y = geometry.detail_scales
    if whole is None:
        assert x == y == pytest.approx(32 * config.detail_cells / tile)
    else:
        assert (x, y) == pytest.approx((whole / geometry.canvas[0], whole / geometry.canvas[1]))


@pytest.mark.parametrize("size", [(300, 900), (900, 300), (777, 777)])
@pytest.mark.parametrize("side", [96, 192, 224, 288, 320, 672, 768])
def test_a_whole_image_must_split_into_the_canvass_tiles(size: tuple[int, int], side: int) -> None:
    config = PAPER.model_copy(update={"whole_image": side})
    across, down = Geometry.of(*size, PAPER).canvas_tiles
    if side // 32 % across or side // 32 % down:
        with pytest.raises(ConfigError, match=rf"whole_image={side} gives {side // 32} .* {across}x{down} tiles") as error:
            Geometry.of(*size, config)
        remedy = int(str(error.value).rpartition(" ")[2])
        assert Geometry.of(*size, config.model_copy(update={"whole_image": remedy})).detail_size == (remedy, remedy)
    else:
        assert Geometry.of(*size, config).cells(4) == (side // 32 // across, side // 32 // down)
