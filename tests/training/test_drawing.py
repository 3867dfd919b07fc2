"""What `fila-lab predict` draws: the injection ratio of every fusion point, each token's where the token lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_run import tiny

from fila_lab.config import RunConfig
from fila_lab.imaging import Geometry, prepare
from fila_lab.modeling import FilaModel, VisionBatch, build_model
from fila_lab.training.drawing import draw_answer, on_canvas
from fila_lab.training.injection import injections

CONFIG = tiny(fusion__name="addition")


def seen(config: RunConfig, model: FilaModel) -> tuple[VisionBatch, Geometry]:
    page = np.random.default_rng(0).integers(0, 256, (80, 160, 3), np.uint8)
    one = prepare(Image.fromarray(page), config.geometry, detail=True)
    texts = {"ids": torch.zeros(1, 1, dtype=torch.int64), "prompt_lengths": torch.ones(1, dtype=torch.int64)}
    assert one.detail is not None
    pixels = {"tiles": one.tiles[None], "overview": one.overview[None], "detail": one.detail[None]}
    return VisionBatch.of(one.geometry.layout, **texts, **pixels), one.geometry


@torch.inference_mode()
def test_the_ratio_is_that_of_what_each_fusion_adds_and_0_before_training() -> None:
    """Oracle: every fusion called by itself on the tokens that come to it."""
    model = build_model(CONFIG).eval()
    batch, geometry = seen(CONFIG, model)
    with injections(model.encoder) as found:
        model.see(batch)
    assert list(found) == list(model.encoder.fusion_points)
    assert all(not values.any() and values.shape == (1 + geometry.tiles, 9) for values in found.values())
    for value in model.encoder.fusions.parameters():
        torch.nn.init.normal_(value, std=0.1)
    plain = {}

    def hook(point, tokens, details, fuse):
        after = fuse()
        plain[point] = ((after - tokens).norm(dim=-1) / tokens.norm(dim=-1))[:, 1:]
        return after

    with injections(model.encoder) as found, model.encoder.around_fusion(hook):
        tokens = model.see(batch)
    for point, values in found.items():
        assert values.min() > 0
        np.testing.assert_allclose(values, plain[point].numpy(), rtol=1e-4)
    assert torch.equal(tokens, model.see(batch))  # being watched changes nothing


@pytest.mark.parametrize("overlap", [0, 1])
def test_each_token_is_drawn_where_it_lies(overlap: int) -> None:
    """Oracle: the box of a token's patch in image px, which `Geometry.tokens_of` gives back. Overlapping tiles give a place their mean."""
    config = tiny(fusion__name="none", geometry__tiling={"overlap": overlap}) if overlap else CONFIG
    geometry = Geometry.of(84, 84, config.geometry)
    drawn = on_canvas(np.arange(geometry.tiles * 9, dtype=float).reshape(-1, 9), geometry)
    side = 84 / geometry.canvas[0]
    for (row, column), value in np.ndenumerate(drawn):
        box = [14 * side * at for at in (column, row, column + 1, row + 1)]
        own = [tile * 9 + 3 * y + x for tile, y, x in geometry.tokens_of(box)]
        assert value == np.mean(own)


@pytest.mark.parametrize("size", [(84, 84), (300, 100), (100, 300)])
def test_a_page_has_a_heat_map_a_fusion_point_and_the_one_token_that_changed_is_the_bright_one(
    size: tuple[int, int], tmp_path: Path
) -> None:
    prepared = prepare(Image.new("RGB", size, "white"), CONFIG.geometry, detail=False)
    values = np.zeros((1 + prepared.geometry.tiles, 9))
    values[1, 4] = 0.5  # the middle of the first tile
    draw_answer(prepared, "red?  ->  A", {(1, 2): values}, tmp_path / "one.png")
    draw_answer(prepared, "red?  ->  A", {(1, 2): values, (2, 3): values, (4, 5): 0 * values}, tmp_path / "three.png")
    draw_answer(prepared, "red?  ->  A", {}, tmp_path / "none.png")
    none, one, three = (Image.open(tmp_path / f"{name}.png") for name in ("none", "one", "three"))
    assert none.height < one.height < three.height
    below = np.asarray(one)[none.height + 68 :]  # gap, heading and the two lines above the map
    bright = np.argwhere((below.astype(int).sum(-1) > 640) & (below.std(-1) > 20))  # inferno's last colour, a pale yellow
    scale = max(1, 6 * 84 // max(prepared.geometry.canvas)) / 2
    low, high = bright.min(0) / scale, (bright.max(0) + 1) / scale
    assert np.abs(np.concatenate([low, high]) - [14, 14, 28, 28]).max() <= 1


def test_every_grid_that_was_seen_is_drawn_and_no_seam_where_nothing_looks_at_tiles(tmp_path: Path) -> None:
    """Each below the canvas, under its name: of strided tiles and a second grid the canvas alone would show nothing."""
    page = Image.new("RGB", (84, 84), "white")
    plain = {"cut": True, "whole": False}
    for name, cut in plain.items():
        draw_answer(prepare(page, CONFIG.geometry, detail=False), "?", {}, tmp_path / f"{name}.png", cut)
    cut, whole = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in plain)
    red = (cut != whole).any(-1)
    assert red.any()
    assert not (whole[24:, :504] != 255).any(), "a white page without a line"
    for tiling, rows in (
        ({"perspective": "strided"}, 1),
        ({"second": {"min_tiles": 4, "max_tiles": 9}}, 1),
        ({"perspective": "both", "second": {}}, 2),
    ):
        config = tiny(fusion__name="none", geometry__canvases=[[84, 84]], geometry__tiling=tiling)
        draw_answer(prepare(page, config.geometry, detail=False), "?", {}, tmp_path / "grids.png")
        picture = np.asarray(Image.open(tmp_path / "grids.png"))
        assert picture.shape[0] >= cut.shape[0] + rows * 252
        assert (picture[cut.shape[0] + 60 :] == (220, 30, 30)).all(-1).any()
