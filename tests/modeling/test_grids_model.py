"""Strided tiles and second grids in the model: each token's own window of the one map, against plain loops; order; who sees what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from fila_lab.config.counts import vision_tokens
from fila_lab.config.geometry import GeometryConfig, SecondGridConfig, TilingConfig
from fila_lab.config.tiling import TileLayout, tile_layout
from fila_lab.modeling import build_model
from fila_lab.modeling.detail import DetailMaps
from fila_lab.modeling.projector import RowSeparator, raster

SECOND = SecondGridConfig(min_tiles=2, max_tiles=3)
"""Beside 2 x 1 tiles: 3 x 1."""
TILINGS = {
    "strided": TilingConfig(perspective="strided"),
    "both": TilingConfig(perspective="both"),
    "second": TilingConfig(second=SECOND),
    "all": TilingConfig(perspective="both", second=SECOND),
}


def layout_of(name: str, canvas: tuple[int, int] = (84, 42)) -> TileLayout:
    return tile_layout(GeometryConfig(tile=42, canvases=((84, 42),), detail_cells=3, tiling=TILINGS[name]), canvas)


def resampled(whole: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """True area means of [H, W] over `size` (height, width) equal parts, by loops."""
    out = torch.zeros(size, dtype=torch.float64)
    (high, wide), (down, across) = whole.shape, size
    for y in range(down):
        for x in range(across):
            total = area = 0.0
            for i in range(high):
                for j in range(wide):
                    share = max(0.0, min((y + 1) * high / down, i + 1) - max(y * high / down, i))
                    share *= max(0.0, min((x + 1) * wide / across, j + 1) - max(x * wide / across, j))
                    total, area = total + share * float(whole[i, j]), area + share
            out[y, x] = total / area
    return out


@pytest.mark.parametrize("w", [1, 2])
@pytest.mark.parametrize("name", ["all", "strided"])
def test_a_tokens_window_is_its_own_part_of_the_whole_map(name: str, w: int) -> None:
    """Of a strided tile every n-th cell, as it has every n-th pixel; of a second grid the map laid on that grid's canvas."""
    layout = layout_of(name)
    whole = torch.randn(3 * w, 6 * w, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps = DetailMaps([whole[None, None]], [3 * w], layout)
    tiles = maps.read("cells", 1, torch.float64)[:, 0]
    assert tiles.shape == (1 + layout.tiles, 3 * w, 3 * w)
    torch.testing.assert_close(tiles[0], resampled(whole, (3 * w, 3 * w)))
    number = 1
    for grid in layout.grids:
        laid = resampled(whole, (grid.size[1] * w, grid.size[0] * w))
        for row in range(grid.rows):
            for col in range(grid.cols):
                for y in range(3 * w):
                    for x in range(3 * w):
                        at = (
                            (y * grid.rows + row, x * grid.cols + col)
                            if grid.strided
                            else (grid.starts_y[row] * w + y, grid.starts_x[col] * w + x)
                        )
                        assert abs(tiles[number, y, x] - laid[at]) < 1e-9
                number += 1
    windows = tiles.view(-1, 3, w, 3, w).permute(0, 1, 3, 2, 4).flatten(3)
    fresh = DetailMaps([whole[None, None]], [3 * w], layout)
    torch.testing.assert_close(fresh.read("windows", 1, torch.float64)[..., 0], windows)
    torch.testing.assert_close(fresh.read("means", 1, torch.float64)[:, 0], windows.mean(-1))
    torch.testing.assert_close(maps.means(1)[:, 0], windows.mean(-1))


def test_a_context_knows_where_the_tiles_of_every_grid_lie() -> None:
    maps = DetailMaps.nothing(2, torch.device("cpu"), (24, 12, 6, 3), layout_of("all"))
    context = maps.context(1)
    assert context.image.tolist() == [0] * 8 + [1] * 8
    assert context.row.tolist() == [-1, 0, 0, 0, 0, 0, 0, 0] * 2
    assert context.col.tolist() == [-1, 0, 1, 0, 1, 0, 1, 2] * 2, "overview, two local tiles, two strided ones, three of the second grid"
    assert maps.read("nothing", 1, torch.float32).shape == (16, 0, 3, 3)


def test_tokens_come_grid_by_grid_and_every_row_ends() -> None:
    layout = layout_of("all")
    tile = torch.arange(8).view(1, 8, 1, 1).expand(1, 8, 9, 1)
    place = torch.arange(9).view(1, 1, 9, 1).expand(1, 8, 9, 1)
    tokens = torch.cat([tile, place], -1).float()
    separator = RowSeparator(2)
    out = separator(raster(tokens, layout), layout).detach()[0]
    assert len(out) == 9 + 3 * 7 + 3 * 7 + 3 * 10
    local, strided, second = (part.view(3, -1, 2) for part in out[9:].split([21, 21, 30]))
    for rows in (local, strided, second):
        assert (rows[:, -1] == separator.separator).all()
    assert local[1, :-1].tolist() == [[1, 3], [1, 4], [1, 5], [2, 3], [2, 4], [2, 5]]
    assert strided[1, :-1].tolist() == [[3, 3], [4, 3], [3, 4], [4, 4], [3, 5], [4, 5]], "interleaved: both tiles show the same place"
    assert second[2, :-1].tolist() == [[5, 6], [5, 7], [5, 8], [6, 6], [6, 7], [6, 8], [7, 6], [7, 7], [7, 8]]


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_a_change_of_the_map_reaches_the_tokens_that_show_it_and_no_other(make_config: Any, make_batch: Any, fusion: str) -> None:
    model = build_model(make_config(fusion)).eval()
    with torch.no_grad():
        for parameter in model.fusion_parameters():
            parameter.add_(0.1)
    two, labels = make_batch(cols=2)
    eight, _ = make_batch(cols=7)
    layout = layout_of("all")
    batch = replace(eight, maps=two.maps, detail=None, oracle=None, layout=layout)
    assert model(batch, labels).loss.isfinite()
    config = make_config(fusion)
    geometry = config.geometry.model_copy(update={"tiling": TILINGS["all"]})
    assert model.see(batch).shape[1] == vision_tokens((84, 42), config.model_copy(update={"geometry": geometry}))
    seen = model.encoder(batch)
    moved = [m.clone() for m in two.maps]
    for m in moved:
        m[..., m.shape[-1] // 2 :] += 1.0
    change = (model.encoder(replace(batch, maps=moved)) - seen)[:, 9:].abs().amax((0, 2)) > 0
    local, strided, second = (part.view(3, -1) for part in change.split([18, 18, 27]))
    assert local[:, :3].sum() == 0
    assert local[:, 3:].all(), "the second tile shows the right half"
    assert strided.all(), "every strided tile shows all of it"
    assert not second[:, :3].any()
    assert second[:, 3:].all(), "its middle tile shows both halves, and as a whole takes part in the ViT"
