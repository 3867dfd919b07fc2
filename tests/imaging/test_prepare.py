"""Pixels: tiles, overview and detail input come from one map of the original image."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fila_lab.config import resolve_run
from fila_lab.config.base import FilaError
from fila_lab.config.geometry import GeometryConfig
from fila_lab.imaging import PAD_COLOUR, Geometry, join_tiles, load_image, overview_of, prepare, split_tiles
from fila_lab.imaging.prepare import render
from fila_lab.imaging.resample import OPERATORS, resample_axes

CONFIG = GeometryConfig(tile=42, canvases=((42, 84), (84, 42), (84, 84), (126, 42), (42, 126)), detail_cells=3)
SQUARE = CONFIG.model_copy(update={"canvases": ((84, 84),)})


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from(OPERATORS))
def test_shapes_and_reassembly(width: int, height: int, operator: str) -> None:
    config = CONFIG.model_copy(update={"resample": operator})
    prepared = prepare(noise(width, height), config)
    geometry = prepared.geometry
    assert prepared.tiles.shape == (geometry.tiles, 42, 42, 3)
    assert prepared.overview.shape == (42, 42, 3)
    assert prepared.detail is not None
    assert prepared.detail.shape == (geometry.detail_size[1], geometry.detail_size[0], 3)
    assert {prepared.tiles.dtype, prepared.overview.dtype, prepared.detail.dtype} == {np.dtype(np.uint8)}
    assert np.array_equal(split_tiles(prepared.canvas, 42), prepared.tiles)
    for tile in range(geometry.tiles):
        row, col = divmod(tile, geometry.cols)
        assert np.array_equal(prepared.canvas[row * 42 : row * 42 + 42, col * 42 : col * 42 + 42], prepared.tiles[tile])
    (left, top), (wide, high) = geometry.offset, geometry.resized
    pad = np.ones(prepared.canvas.shape[:2], bool)
    pad[top : top + high, left : left + wide] = False
    assert (prepared.canvas[pad] == PAD_COLOUR).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.data())
def test_a_changed_canvas_px_changes_only_its_tile_and_the_overview(rows: int, cols: int, data: st.DataObject) -> None:
    canvas = np.random.default_rng(rows * 3 + cols).integers(60, 200, (rows * 14, cols * 14, 3), dtype=np.uint8)
    y, x = data.draw(st.integers(0, rows * 14 - 1)), data.draw(st.integers(0, cols * 14 - 1))
    changed = canvas.copy()
    changed[y, x] += 50  # at most 9 px are averaged, so the overview moves by at least 5
    tiles = np.flatnonzero((split_tiles(canvas, 14) != split_tiles(changed, 14)).any((1, 2, 3)))
    assert tiles.tolist() == [y // 14 * cols + x // 14]
    overview = np.argwhere((overview_of(canvas, 14) != overview_of(changed, 14)).any(-1))
    assert overview.tolist() == [[y // rows, x // cols]]
    assert np.array_equal(join_tiles(split_tiles(canvas, 14), rows, cols), canvas)


def test_overview_is_the_mean_and_holds_the_pad() -> None:
    prepared = prepare(noise(300, 100), CONFIG)
    rows, cols = prepared.geometry.rows, prepared.geometry.cols
    means = prepared.canvas.reshape(42, rows, 42, cols, 3).mean((1, 3))
    assert np.abs(prepared.overview - means).max() <= 0.5


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("whole_image", [None, 192])
@pytest.mark.parametrize(
    ("width", "height", "vertical"), [(517, 389, True), (517, 389, False), (389, 517, True), (389, 517, False), (63, 31, False)]
)
def test_an_edge_lands_in_the_same_place_on_canvas_and_detail(
    operator: str, whole_image: int | None, width: int, height: int, vertical: bool
) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    edge = (width if vertical else height) * 3 // 8
    pixels[:, edge:] = 255
    if not vertical:
        pixels[:] = 0
        pixels[edge:] = 255
    config = SQUARE.model_copy(update={"resample": operator, "whole_image": whole_image})
    prepared = prepare(Image.fromarray(pixels), config)
    assert prepared.detail is not None
    geometry, axis = prepared.geometry, 0 if vertical else 1
    corner = geometry.to_canvas((edge, edge, edge, edge))[axis]

    def position(image: np.ndarray, scale: float) -> float:
        """Where the image's dark part ends, in canvas px: its content's start plus the missing brightness."""
        start, stop = (geometry.offset[axis] * scale, (geometry.offset[axis] + geometry.resized[axis]) * scale)
        line = image[image.shape[0] // 2, :, 0] if vertical else image[:, image.shape[1] // 2, 0]
        first, last = int(np.ceil(start)), int(np.floor(stop))
        dark = (255.0 - line[first:last]).sum() / 255
        return (first + dark) / scale

    assert position(prepared.canvas, 1.0) == pytest.approx(corner, abs=0.05)
    assert position(prepared.detail, geometry.detail_scales[axis]) == pytest.approx(corner, abs=0.05)


def test_image_edges_inside_a_detail_px_mix_with_the_pad_by_area() -> None:
    geometry = Geometry.of(100, 33, SQUARE)  # 84 x 28 on the canvas from y = 28; detail scale 16/7 puts its edges at 64 and 128
    assert (geometry.resized, geometry.offset) == ((84, 28), (0, 28))
    geometry = Geometry.of(100, 31, SQUARE)  # 84 x 27 from y = 28: ends at 55 * 16 / 7 = 125 + 5/7
    image = Image.new("RGB", (100, 31), (255, 255, 255))
    detail = render(image, geometry, geometry.detail_size, "bicubic")
    pad = np.array(PAD_COLOUR)
    assert (detail[64:125] == 255).all()
    assert (detail[126:] == pad).all()
    assert np.abs(detail[125].astype(float) - (255 * 5 / 7 + pad * 2 / 7)).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (20000, 100), (100, 20000)])
def test_extreme_sizes(size: tuple[int, int]) -> None:
    prepared = prepare(Image.new("RGB", size, (255, 0, 0)), CONFIG)
    (left, top), (wide, high) = prepared.geometry.offset, prepared.geometry.resized
    assert (prepared.canvas[top : top + high, left : left + wide] == (255, 0, 0)).all()
    assert prepared.detail is not None
    assert (prepared.detail == (255, 0, 0)).all(-1).any()


def test_deterministic_and_detail_optional() -> None:
    image = noise(333, 111)
    first, second = prepare(image, CONFIG), prepare(image, CONFIG)
    assert np.array_equal(first.tiles, second.tiles)
    assert first.detail is not None
    assert second.detail is not None
    assert np.array_equal(first.detail, second.detail)
    assert prepare(image, CONFIG, detail=False).detail is None


def test_modes_become_rgb() -> None:
    transparent = Image.new("RGBA", (84, 84), (0, 0, 0, 0))
    assert (prepare(transparent, SQUARE).tiles == 255).all()
    grey16 = Image.fromarray(np.full((84, 84), 0x80FF, np.uint16))
    assert (prepare(grey16, SQUARE).tiles == 0x80).all()
    assert (prepare(Image.new("1", (84, 84), 1), SQUARE).tiles == 255).all()


def test_load_image(tmp_path: Path) -> None:
    page = noise(30, 20)
    page.save(tmp_path / "page.png")
    assert np.array_equal(np.asarray(load_image(tmp_path / "page.png")), np.asarray(page))
    turned = Image.Exif()
    turned[0x0112] = 6
    page.save(tmp_path / "turned.jpg", exif=turned)
    assert load_image(tmp_path / "turned.jpg").size == (20, 30)
    data = (tmp_path / "page.png").read_bytes()
    (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.png").write_text("no image", encoding="utf-8")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("half.png", "text.png", "empty.png", "missing.png", "."):
        with pytest.raises(FilaError, match="image '") as caught:
            load_image(tmp_path / name)
        assert str(tmp_path) in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(1, 60)] * 4), st.tuples(*[st.floats(-2, 2)] * 4))
def test_area_is_the_true_mean(sizes: tuple[int, ...], overhang: tuple[float, ...]) -> None:
    width, height, out_width, out_height = sizes
    pixels = np.asarray(noise(width, height))
    spans = ((min(overhang[0], 0.4), width + max(overhang[1], -0.4)), (min(overhang[2], 0.4), height + max(overhang[3], -0.4)))

    def means(values: np.ndarray, span: tuple[float, float], count: int) -> np.ndarray:
        """By the integral of the px as a step function: values [n, ...] -> [count, ...]."""
        margin = 3
        stretched = np.concatenate([values[:1]] * margin + [values] + [values[-1:]] * margin).astype(float)
        integral = np.concatenate([np.zeros_like(stretched[:1]), np.cumsum(stretched, 0)])
        edges = np.linspace(*span, count + 1) + margin
        whole = np.minimum(np.floor(edges).astype(int), len(stretched) - 1)
        part = (edges - whole).reshape(-1, *[1] * (values.ndim - 1))
        return np.diff(integral[whole] + part * stretched[whole], axis=0) / ((span[1] - span[0]) / count)

    expected = means(means(pixels, spans[1], out_height).swapaxes(0, 1), spans[0], out_width).swapaxes(0, 1)
    found = resample_axes(Image.fromarray(pixels), *spans, (out_width, out_height), "area")
    assert np.abs(found - expected).max() <= 0.51


def test_area_without_remainder_is_the_same_mean() -> None:
    image = noise(60, 40)
    means = np.asarray(image).reshape(10, 4, 20, 3, 3).mean((1, 3))
    assert np.abs(resample_axes(image, (0, 60), (0, 40), (20, 10), "area") - means).max() <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 30), st.integers(1, 30), st.sampled_from(["bicubic", "bilinear"]), st.data())
def test_a_box_within_the_image_is_pillows_own_resize(
    width: int, height: int, across: int, down: int, operator: str, data: st.DataObject
) -> None:
    """Bit for bit, also where the box begins or ends at the image's edge."""
    spans = []
    for length in (width, height):
        low = data.draw(st.one_of(st.just(0.0), st.floats(0.01, length - 0.5))) if length > 1 else 0.0
        spans.append((low, data.draw(st.one_of(st.just(float(length)), st.floats(low + 0.4, length)))))
    image = noise(width, height)
    method = Image.Resampling[operator.upper()]
    wanted = image.resize((across, down), method, box=(spans[0][0], spans[1][0], spans[0][1], spans[1][1]))
    assert np.array_equal(resample_axes(image, spans[0], spans[1], (across, down), operator), np.asarray(wanted))


@settings(max_examples=60, deadline=None)
@given(st.integers(16, 300), st.integers(16, 300), st.integers(1, 90), st.integers(1, 90), st.booleans(), st.booleans())
def test_pytorchs_bicubic_is_pillows_but_for_rounding(
    width: int, height: int, across: int, down: int, whole_x: bool, whole_y: bool
) -> None:
    """On each axis the whole, or a box that reaches over the image's edges; of a smooth picture."""
    spans = [(0.0, float(n)) if whole else (-0.3 * n, n + 0.45) for n, whole in ((width, whole_x), (height, whole_y))]
    image = noise(width // 8 + 1, height // 8 + 1).resize((width, height), Image.Resampling.BICUBIC)
    own, other = (resample_axes(image, spans[0], spans[1], (across, down), name).astype(int) for name in ("bicubic_torch", "bicubic"))
    assert np.abs(own - other).max() <= 8
    assert np.abs(own - other).mean() <= 0.5
    if not whole_x and not whole_y:
        assert np.array_equal(own, other)


@pytest.mark.parametrize(("width", "height"), [(800, 600), (672, 672), (300, 900), (1601, 397)])
def test_tiles_of_the_paper_preset_are_those_of_transformers(width: int, height: int) -> None:
    """Where the image lies, to the byte; the pad is ours."""
    from transformers import LlavaNextImageProcessor

    config = resolve_run("paper").geometry
    image = noise(width // 8 + 1, height // 8 + 1).resize((width, height), Image.Resampling.BILINEAR)
    prepared = prepare(image, config, detail=False)
    places = [[tall, wide] for wide, tall in config.canvases]
    theirs = LlavaNextImageProcessor(image_grid_pinpoints=places, do_rescale=False, do_normalize=False, do_convert_rgb=True)
    crops = theirs(image, size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}, return_tensors="np")["pixel_values"]
    tiles = np.asarray(crops)[0, 1:].transpose(0, 2, 3, 1)
    (left, top), (wide, high) = prepared.geometry.offset, prepared.geometry.resized
    canvas = join_tiles(tiles, prepared.geometry.rows, prepared.geometry.cols)[top : top + high, left : left + wide]
    assert np.array_equal(canvas, prepared.canvas[top : top + high, left : left + wide])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(1, 3), st.data())
def test_area_is_the_mean_of_each_part_edge_px_repeated_beyond_the_image(
    width: int, height: int, across: int, down: int, data: st.DataObject
) -> None:
    """In whole eighths of a px, so that every part is a whole number of pieces: a plain mean."""
    image = noise(width, height)
    pixels = np.asarray(image).astype(float)
    spans, places = [], []
    for length, count in ((width, across), (height, down)):
        low, part = data.draw(st.integers(-8, 8 * length - 1)), data.draw(st.integers(1, 12))
        spans.append((low / 8, (low + part * count) / 8))
        pieces = np.arange(low, low + part * count) // 8
        places.append(np.clip(pieces, 0, length - 1).reshape(count, part))
    rows = pixels[places[1]].mean(axis=1)
    wanted = rows[:, places[0]].mean(axis=2)
    found = resample_axes(image, spans[0], spans[1], (across, down), "area")
    assert np.abs(found - wanted).max() <= 0.5 + 1e-3
