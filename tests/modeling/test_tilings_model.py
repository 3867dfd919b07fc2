"""Tilings in the model: overlapping tiles get their own windows of the map, and the language model each position once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fila_lab.config.counts import llm_tokens
from fila_lab.config.geometry import GeometryConfig, TilingConfig
from fila_lab.config.tiling import TileLayout, tile_layout
from fila_lab.modeling import build_model
from fila_lab.modeling.detail import DetailMaps, overlapping_tiles, split_tiles
from fila_lab.modeling.projector import RowSeparator, raster


def layout_of(canvas: tuple[int, int] = (84, 42), image: tuple[int, int] | None = None, **tiling) -> TileLayout:
    geometry = GeometryConfig(tile=42, canvases=((84, 42),), detail_cells=3, tiling=TilingConfig(**tiling))
    return tile_layout(geometry, canvas, image)


def test_tiles_side_by_side_are_the_layout_of_a_canvas_without_tiling() -> None:
    assert layout_of((84, 126)) == TileLayout.side_by_side(3, 3, 2)
    assert TileLayout.side_by_side(3, 3, 2).plain


def test_an_overlapping_tile_gets_its_own_window_of_the_map() -> None:
    layout = layout_of((84, 84), overlap=1)
    whole = torch.arange(2.0 * 3 * 12 * 12).view(2, 3, 12, 12)  # two cells per token
    tiles = overlapping_tiles(whole, layout)
    assert tiles.shape == (2, 10, 3, 6, 6)
    assert torch.equal(tiles[:, 0], split_tiles(whole, 2, 2)[:, 0])  # the overview does not know of overlap
    assert torch.equal(tiles[1, 1 + 1 * 3 + 2], whole[1, :, 4:10, 6:12])  # tile row 1 starts at token 2, tile column 2 at token 3
    assert torch.equal(overlapping_tiles(whole, layout_of((84, 84))), split_tiles(whole, 2, 2))


@pytest.mark.parametrize("cells", [2, 3, 4, 6])
def test_windows_means_and_cells_agree_where_tiles_overlap(cells: int) -> None:
    layout = layout_of((84, 42), overlap=1)
    maps = [torch.randn(2, 5, cells, 2 * cells)]
    reads = {kind: DetailMaps(maps, [cells], layout).read(kind, 1, torch.float32) for kind in ("cells", "windows", "means")}
    n, channels, side, _ = reads["cells"].shape
    assert (n, channels) == (2 * (1 + 3), 5)
    w = side // 3
    windows = reads["cells"].view(n, channels, 3, w, 3, w).permute(0, 2, 4, 3, 5, 1).flatten(3, 4)
    torch.testing.assert_close(reads["windows"], windows)
    torch.testing.assert_close(reads["means"], windows.mean(3).permute(0, 3, 1, 2))


def test_each_position_is_handed_over_once_from_the_tile_that_holds_it_deepest() -> None:
    layout = layout_of((84, 42), overlap=1)  # tiles start at tokens 0, 2, 3
    columns = torch.tensor([[start + place for start in layout.starts_x] for place in range(3)])  # canvas column by place, tile
    tokens = columns.T[:, None, :].expand(3, 3, 3).reshape(1, 3, 9, 1)  # every token says its canvas column
    tile = torch.arange(3).view(1, 3, 1, 1).expand(1, 3, 9, 1)
    overview = -torch.ones(1, 1, 9, 2, dtype=torch.long)
    out = raster(torch.cat([overview, torch.cat([tokens, tile], -1)], 1), layout)
    assert out.shape == (1, 9 + 18, 2)
    assert out[0, 9:15, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert out[0, 9:15, 1].tolist() == [0, 0, 0, 1, 2, 2]  # column 2 lies on a border of both tiles: the first; 3 in the middle of tile 1


def test_dropped_padding_is_gone_from_the_sequence_and_rows_still_end() -> None:
    layout = layout_of((84, 84), (192, 384), padding_tokens="drop")  # 42 px from px 21 on: columns 1 to 4 of 6
    assert (layout.kept_x, layout.kept_y) == ((1, 5), (0, 6))
    place = torch.arange(36).view(6, 6)
    tiles = torch.stack([place[y : y + 3, x : x + 3].flatten() for y in (0, 3) for x in (0, 3)])[None, ..., None]
    tokens = raster(torch.cat([-torch.ones(1, 1, 9, 1, dtype=torch.long), tiles], 1), layout)
    assert tokens[0, 9:, 0].tolist() == place[:, 1:5].flatten().tolist()
    separator = RowSeparator(1)
    separated = separator(tokens.float(), layout)[0, 9:, 0].view(6, 5)
    assert torch.equal(separated[:, :4].detach(), place[:, 1:5].float())
    assert (separated[:, 4] == separator.separator).all()


def test_what_is_dropped_is_dropped_by_llava_next_too() -> None:
    """Its `unpad_image` rounds towards less: every token it keeps is kept here, and what it drops beyond that still shows the image."""
    from transformers.models.llava_next.modeling_llava_next import unpad_image

    draw = torch.Generator().manual_seed(0)
    place = torch.arange(36 * 36).view(1, 36, 36)
    for _ in range(200):
        width, height = torch.randint(1, 900, (2,), generator=draw).tolist()
        layout = layout_of((504, 504), (width, height), padding_tokens="drop")
        kept = set(place[0, slice(*layout.kept_y), slice(*layout.kept_x)].flatten().tolist())
        theirs = set(unpad_image(place, (height, width)).flatten().tolist())
        assert theirs <= kept


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_the_model_reads_overlapping_tiles_and_dropped_padding(make_config, make_batch, fusion: str) -> None:
    """Three tiles on a canvas of two; a change of the map right of the last tile's border leaves the first tile's tokens alone."""
    model = build_model(make_config(fusion)).eval()
    with torch.no_grad():
        for parameter in model.fusion_parameters():
            parameter.add_(0.1)
    batch, labels = make_batch(cols=3)
    two, _ = make_batch(cols=2)
    assert two.maps is not None
    batch = replace(batch, maps=two.maps, detail=None, oracle=None, layout=layout_of((84, 42), overlap=1))
    assert model.see(batch).shape[1] == 9 + 3 * (6 + 1)
    assert model(batch, labels).loss.isfinite()  # type: ignore[union-attr]
    seen = model.encoder(batch)
    moved = [m.clone() for m in two.maps]
    for m in moved:
        m[..., m.shape[-1] // 2 :] += 1.0
    after = model.encoder(replace(batch, maps=moved))
    change = (after - seen)[:, 9:].abs().amax((0, 2)).view(3, 6)
    assert (change[:, :3] == 0).all()  # columns 0 to 2 come from the first tile, which ends there
    assert (change[:, 3:] > 0).all()
    dropped = replace(two, layout=layout_of((84, 42), (100, 10), padding_tokens="drop"))
    assert model.see(dropped).shape[1] == 9 + 1 * (6 + 1)


@torch.no_grad()
def test_handed_over_cells_follow_the_tiling(make_config, make_batch) -> None:
    """One detail token a canvas token that is handed over: where tiles overlap each position once, without what is dropped as padding."""
    config = make_config("concat")
    config = config.model_copy(update={"fusion": config.fusion.model_copy(update={"handoff": "append"})})
    model = build_model(config).eval()
    two, _ = make_batch(cols=2)
    three, _ = make_batch(cols=3)
    overlapping = replace(three, maps=two.maps, detail=None, oracle=None, layout=layout_of((84, 42), overlap=1))
    dropped = replace(two, layout=layout_of((84, 42), (100, 10), padding_tokens="drop"))
    for batch, image, tiling in ((overlapping, None, {"overlap": 1}), (dropped, (100, 10), {"padding_tokens": "drop"})):
        geometry = config.geometry.model_copy(update={"tiling": TilingConfig(**tiling)})
        counted = llm_tokens((84, 42), config.model_copy(update={"geometry": geometry}), image)
        assert model.see(batch).shape[1] == counted
