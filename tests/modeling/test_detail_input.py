"""Resolution x context: what each of the four ways of feeding the ConvNeXt can know, and that they cost the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fila_lab.config import ConfigError, resolve_run
from fila_lab.config.tiling import TileLayout
from fila_lab.cost.count import count_flops
from fila_lab.modeling import HybridEncoder, VisionBatch, build_convnext, build_vit, normalise
from fila_lab.modeling.detail import split_tiles
from fila_lab.modeling.detail_input import area_means, canvas_level, join_maps, split_pixels, stage_maps

FOUR = [(resolution, context) for resolution in ("high", "canvas") for context in ("canvas", "tile")]
IDS = [f"{resolution}-{context}" for resolution, context in FOUR]


def arm(make_config, resolution: str, context: str):
    return make_config(detail_resolution=resolution, detail_context=context)


def pixels(rows: int = 1, cols: int = 2, images: int = 2) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (images, 96 * rows, 96 * cols, 3), dtype=torch.uint8, generator=draw)


@pytest.mark.parametrize("shape", [(1, 2), (2, 2), (3, 1)])
@pytest.mark.parametrize(("resolution", "context"), FOUR, ids=IDS)
def test_all_four_give_maps_of_the_same_cells(make_config, resolution, context, shape) -> None:
    config = arm(make_config, resolution, context)
    with torch.no_grad():
        maps = stage_maps(build_convnext(config), pixels(*shape), config, *shape)
    assert [tuple(m.shape) for m in maps] == [
        (2, dim, shape[0] * n, shape[1] * n) for dim, n in zip(config.convnext.dims, (24, 12, 6, 3), strict=True)
    ]


def test_tiles_are_those_of_the_canvas_however_many_the_vit_sees(make_config) -> None:
    """Tiles that overlap are more; the detail input's own size says into how many it divides."""
    config = arm(make_config, "canvas", "tile")
    tower = build_convnext(config)
    with torch.no_grad():
        for here, plain in zip(*(stage_maps(tower, pixels(1, 2), config, *shape) for shape in ((2, 3), (1, 2))), strict=True):
            assert torch.equal(here, plain)


def test_high_resolution_of_the_whole_canvas_is_what_it_was(make_config) -> None:
    config = make_config()
    tower = build_convnext(config)
    with torch.no_grad():
        for here, plain in zip(stage_maps(tower, pixels(), config, 1, 2), tower(normalise(pixels())), strict=True):
            assert torch.equal(here, plain)


@pytest.mark.parametrize("resolution", ["high", "canvas"])
@pytest.mark.parametrize("context", ["canvas", "tile"])
def test_a_tile_alone_knows_nothing_of_another_tile(make_config, resolution, context) -> None:
    """Everything right of the seam is changed: left of it nothing may move with `tile`, and something does with `canvas`."""
    config = arm(make_config, resolution, context)
    tower, before = build_convnext(config), pixels()
    after = before.clone()
    after[:, :, 96:] = 255 - after[:, :, 96:]
    with torch.no_grad():
        pairs = zip(*(stage_maps(tower, x, config, 1, 2) for x in (before, after)), strict=True)
        moved = [split_tiles(b, 1, 2)[:, 1].sub(split_tiles(a, 1, 2)[:, 1]).abs().max().item() for a, b in pairs]
    assert all(m == 0 for m in moved) == (context == "tile")
    assert any(m > 1e-4 for m in moved) == (context == "canvas")


def test_a_tile_alone_is_seen_as_if_it_were_the_whole_canvas(make_config) -> None:
    config = arm(make_config, "high", "tile")
    tower, page = build_convnext(config), pixels(2, 2)
    with torch.no_grad():
        joined = stage_maps(tower, page, config, 2, 2)
        alone = tower(normalise(page[:, 96:, :96]))
    for whole, own in zip(joined, alone, strict=True):
        torch.testing.assert_close(split_tiles(whole, 2, 2)[:, 1 + 2], own, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("context", ["canvas", "tile"])
@pytest.mark.parametrize("resolution", ["high", "canvas"])
def test_what_is_finer_than_a_canvas_pixel_is_lost_at_canvas_level_only(make_config, resolution, context) -> None:
    """Brightness moves between two detail pixels that lie in one canvas pixel (16 detail pixels hold 7 canvas pixels)."""
    config = arm(make_config, resolution, context)
    tower, before = build_convnext(config), pixels()
    after = before.clone()
    after[:, 0, 0], after[:, 0, 1] = before[:, 0, 1], before[:, 0, 0]  # canvas pixel 0 covers detail pixels 0, 1 and a part of 2
    after[:, 50, 16], after[:, 50, 17] = before[:, 50, 17], before[:, 50, 16]
    assert not torch.equal(before, after)
    with torch.no_grad():
        same = [torch.equal(a, b) for a, b in zip(*(stage_maps(tower, x, config, 1, 2) for x in (before, after)), strict=True)]
    assert all(same) == (resolution == "canvas")
    assert any(same) == (resolution == "canvas")


def test_area_means_are_true_means() -> None:
    """Oracle: each pixel repeated until the parts are whole pixels."""
    values = torch.rand(2, 16, 3, dtype=torch.float64)
    expected = values.repeat_interleave(7, dim=1).unflatten(1, (7, 16)).mean(2)
    torch.testing.assert_close(area_means(values, 7, 1), expected)
    torch.testing.assert_close(area_means(values, 16, 1), values)


def test_canvas_level_keeps_what_the_canvas_holds() -> None:
    """A page of blocks of one canvas pixel each comes back as the bilinear enlargement of those pixels."""
    blocks = torch.randint(0, 256, (1, 14, 14, 3), dtype=torch.uint8)
    page = blocks.repeat_interleave(2, 1).repeat_interleave(2, 2)
    enlarged = torch.nn.functional.interpolate(blocks.permute(0, 3, 1, 2).float(), (28, 28), mode="bilinear")
    torch.testing.assert_close(canvas_level(page, (14, 14)), enlarged.permute(0, 2, 3, 1))


def test_split_and_join_are_inverse() -> None:
    page = pixels(2, 3)
    parts = split_pixels(page, 2, 3)
    assert torch.equal(parts[6 + 5], page[1, 96:, 192:])
    assert torch.equal(join_maps(parts.permute(0, 3, 1, 2), 2, 3).permute(0, 2, 3, 1), page)


def test_the_four_cost_the_same(make_config) -> None:
    counted = {count_flops(arm(make_config, *way)) for way in FOUR}
    assert len(counted) == 1
    parameters = {sum(p.numel() for p in build_convnext(arm(make_config, *way)).parameters()) for way in FOUR}
    assert len(parameters) == 1


def test_the_encoder_shows_the_convnext_what_the_run_says(make_config) -> None:
    """In a whole encoder: with tiles alone, the right tile's detail reaches the left tile's tokens in no way."""
    draw = torch.Generator().manual_seed(0)
    tiles = torch.randint(0, 256, (1, 2, 42, 42, 3), dtype=torch.uint8, generator=draw)
    before = pixels(images=1)
    after = before.clone()
    after[:, :, 96:] = 255 - after[:, :, 96:]
    texts = torch.zeros(1, 1, dtype=torch.long), torch.ones(1)
    batch = VisionBatch.of(TileLayout.side_by_side(3, 1, 2), *texts, tiles=tiles, overview=tiles[:, 0])
    left = torch.cat([9 + 6 * row + torch.arange(3) for row in range(3)])  # after the overview, rows of 6 tokens
    for context in ("canvas", "tile"):
        config = arm(make_config, "high", context)
        model = HybridEncoder(config, build_vit(config), build_convnext(config)).eval()
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in model.fusions.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
            first, second = (model(replace(batch, detail=detail))[:, left] for detail in (before, after))
        assert torch.equal(first, second) == (context == "tile")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"fusion.name": "none", "fusion.detail_context": "tile"}, "fusion.detail_context = 'tile' .* fusion.name = 'none'"),
        ({"fusion.control": "oracle_map", "fusion.detail_resolution": "canvas"}, "fusion.detail_resolution = 'canvas' .* 'oracle_map'"),
        ({"fusion.detail_resolution": "canvas", "geometry.detail_cells": 1}, "32 px a tile.* 42; raise geometry.detail_cells to 2"),
        ({"fusion.detail_context": "tiles"}, "did you mean 'tile'"),
        ({"fusion.eval_shift": 1}, "fusion.eval_shift = 1 .*fusion.control=shifted"),
    ],
)
def test_what_would_change_nothing_is_refused(overrides: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        resolve_run("mini", overrides)


def test_canvas_level_pixels_are_nearly_the_canvas_itself() -> None:
    """The ViT's tiles, drawn from the page, and the detail input reduced: the same picture, up to rounding and resampling twice."""
    from PIL import Image

    from fila_lab.imaging import prepare

    geometry = resolve_run("mini").geometry
    draw = np.random.default_rng(0)
    page = Image.fromarray(draw.integers(0, 256, (12, 24, 3), dtype=np.uint8)).resize((384, 192))
    prepared = prepare(page, geometry)
    assert prepared.detail is not None
    detail = torch.from_numpy(prepared.detail)[None]
    reduced = area_means(area_means(detail.double(), 42, 1), 84, 2)[0]
    assert (reduced - torch.from_numpy(prepared.canvas)).abs().max() < 6
