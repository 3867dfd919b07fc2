"""Resampling of maps against a plain loop over rectangles, and against what libraries do where they agree with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from fila_lab.config.base import FilaError
from fila_lab.config.tiling import TileLayout
from fila_lab.modeling import resample
from fila_lab.modeling.detail import DetailMaps
from fila_lab.modeling.fusion import window_side

SIZE = st.integers(1, 9)


def share(length: int, count: int) -> np.ndarray:
    """[count, length]: how much of each of `count` equal parts of an axis each of its `length` cells fills."""
    filled = np.zeros((count, length))
    for part in range(count):
        for cell in range(length):
            inside = min((part + 1) * length, (cell + 1) * count) - max(part * length, cell * count)
            filled[part, cell] = max(0, inside) / length
    return filled


def rectangles(detail: Tensor, size: tuple[int, int]) -> Tensor:
    """The area mean, rectangle by rectangle, float64."""
    down, across = share(detail.shape[-2], size[0]), share(detail.shape[-1], size[1])
    cells = detail.double().numpy()
    out = np.zeros((*detail.shape[:-2], *size))
    for y, weights in enumerate(down):
        reached = np.flatnonzero(weights)
        for x, others in enumerate(across):
            along = np.flatnonzero(others)
            patch = cells[..., reached[0] : reached[-1] + 1, along[0] : along[-1] + 1]
            out[..., y, x] = (patch * np.outer(weights[reached], others[along])).sum((-2, -1))
    return torch.from_numpy(out)


@settings(max_examples=60, deadline=None)
@given(SIZE, SIZE, SIZE, SIZE, st.booleans())
def test_area_is_the_mean_over_every_rectangle(height: int, width: int, rows: int, cols: int, last: bool) -> None:
    torch.manual_seed(height * width + rows * cols)
    detail = torch.randn(2, 3, height, width, dtype=torch.float64)
    detail = detail.contiguous(memory_format=torch.channels_last) if last else detail
    found = resample(detail, (rows, cols), "area")
    torch.testing.assert_close(found, rectangles(detail, (rows, cols)), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.mean((-2, -1)), detail.mean((-2, -1)), rtol=0, atol=1e-12)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        low = resample(detail.to(dtype), (rows, cols), "area")
        assert low.dtype is dtype
        limit = 4 * torch.finfo(dtype).eps
        torch.testing.assert_close(low.double(), rectangles(detail.to(dtype), (rows, cols)), rtol=limit, atol=limit)
        constant = torch.full((2, 3, height, width), 0.7, dtype=dtype)
        torch.testing.assert_close(resample(constant, (rows, cols), "area"), constant[..., :1, :1].expand(2, 3, rows, cols))


def test_a_seam_cell_of_four_over_three_counts_by_its_share() -> None:
    """k = 4, g = 3, stage 4: three quarters and one quarter, two halves, one quarter and three quarters."""
    weights = resample(torch.eye(4).view(4, 1, 1, 4), (1, 3), "area").view(4, 3).T
    assert weights.tolist() == [[0.75, 0.25, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0.25, 0.75]]


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize(("k", "g"), [(2, 3), (4, 3), (5, 3), (7, 3), (1, 3), (3, 1), (5, 4), (4, 5)])
def test_every_cell_of_a_tile_has_its_due_in_the_tokens_means_at_every_stage(k: int, g: int, rows: int, cols: int) -> None:
    """Tokens' windows and means, tiles and overview, against the rectangles of the tokens themselves."""
    sizes = [k * n for n in (8, 4, 2, 1)]
    maps = [torch.randn(1, 2, rows * n, cols * n, dtype=torch.float64) for n in sizes]
    details = DetailMaps(maps, sizes, TileLayout.side_by_side(g, rows, cols))
    for stage in (1, 2, 3, 4):
        side = window_side(sizes[stage - 1], g)
        wanted = rectangles(maps[stage - 1], (rows * g, cols * g))
        tiles = wanted.unflatten(3, (cols, g)).unflatten(2, (rows, g)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        overview = rectangles(maps[stage - 1], (g, g))
        whole = torch.cat([overview, tiles])
        torch.testing.assert_close(details.means(stage), whole)
        windows = details.windows(stage, torch.float64)
        assert windows.shape == (1 + rows * cols, g, g, side * side, 2)
        torch.testing.assert_close(windows.mean(3).permute(0, 3, 1, 2), whole)
        fine = rectangles(maps[stage - 1], (rows * g * side, cols * g * side))
        torch.testing.assert_close(details.tiles(stage)[1], fine[0, :, : g * side, : g * side])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("height", "width", "rows", "cols"), [(6, 9, 3, 3), (8, 8, 1, 4), (5, 10, 5, 2)])
def test_where_cells_divide_it_is_average_pooling_bit_for_bit(height: int, width: int, rows: int, cols: int, dtype: torch.dtype) -> None:
    detail = torch.randn(2, 3, height, width, dtype=torch.float64).to(dtype)
    found = resample(detail, (rows, cols), "area")
    assert torch.equal(found, F.interpolate(detail, size=(rows, cols), mode="area"))
    torch.testing.assert_close(found, F.avg_pool2d(detail, (height // rows, width // cols)))
    assert torch.equal(resample(detail, (3 * height, 2 * width), "area"), detail.repeat_interleave(3, -2).repeat_interleave(2, -1))


def test_pillows_box_filter_agrees_where_it_takes_whole_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20)).astype(np.float32)
    box = np.asarray(Image.fromarray(pixels).resize((5, 4), Image.Resampling.BOX))
    np.testing.assert_allclose(resample(torch.from_numpy(pixels), (4, 5), "area").numpy(), box, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(SIZE, SIZE, SIZE, SIZE)
def test_nearest_takes_the_cell_over_each_centre_and_bilinear_is_linear_between_them(h: int, w: int, rows: int, cols: int) -> None:
    detail = torch.randn(2, h, w, dtype=torch.float64)
    place = [[min(int((i + 0.5) * n / count), n - 1) for i in range(count)] for n, count in ((h, rows), (w, cols))]
    assert torch.equal(resample(detail, (rows, cols), "nearest"), detail[:, place[0]][..., place[1]])
    down, across = (
        torch.stack([F.relu(1 - (torch.arange(n) - min(max((i + 0.5) * n / count - 0.5, 0), n - 1)).abs()) for i in range(count)])
        for n, count in ((h, rows), (w, cols))
    )
    torch.testing.assert_close(resample(detail, (rows, cols), "bilinear"), down.double() @ detail @ across.double().T, rtol=0, atol=1e-6)


@pytest.mark.parametrize("operator", ["area", "bilinear", "nearest"])
def test_any_batch_dimensions_types_and_autocast(operator: str) -> None:
    detail = torch.randn(2, 3, 2, 7, 5)
    found = resample(detail, (4, 6), operator)
    assert found.shape == (2, 3, 2, 4, 6)
    for one, other in ((found[1, 2], detail[1, 2]), (found[0, 0, 1], detail[0, 0, 1]), (found[1], detail[1])):
        torch.testing.assert_close(one, resample(other, (4, 6), operator))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(resample(detail, (4, 6), operator), found)
    whole = torch.randint(0, 2, (2, 7, 5))
    for values in (whole, whole.bool(), whole.byte()):
        torch.testing.assert_close(resample(values, (4, 6), operator), resample(whole.float(), (4, 6), operator))
    assert resample(detail, (7, 5), operator) is detail
    assert torch.autograd.gradcheck(lambda x: resample(x, (4, 6), operator), torch.randn(2, 7, 5, dtype=torch.float64, requires_grad=True))


def test_what_cannot_be_resampled_is_refused_by_name() -> None:
    with pytest.raises(FilaError, match=r"operator='aera' is unknown \(did you mean 'area'\?\); choose area, bilinear, nearest"):
        resample(torch.zeros(1, 1, 4, 4), (3, 3), "aera")
    for detail, size in ((torch.zeros(1, 1, 4, 4), (0, 3)), (torch.zeros(1, 1, 0, 4), (3, 3)), (torch.zeros(4), (3, 3))):
        with pytest.raises(FilaError, match=r"cannot be resampled to \d x 3 cells"):
            resample(detail, size, "area")
