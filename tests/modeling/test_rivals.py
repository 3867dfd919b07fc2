"""What the single strategies claim: published counts, plain restatements, what they see of other tiles, and what they leave behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fila_lab.config.base import FilaError
from fila_lab.config.tiling import TileLayout
from fila_lab.modeling import HybridEncoder, build_convnext, build_model, build_vit
from fila_lab.modeling.detail import DetailMaps
from fila_lab.modeling.fusion import Fusion, create
from fila_lab.modeling.fusion.mini_gemini import nearest_cells

GRID, WIDTH, DIMS = 3, 16, (6, 8, 10, 12)


def randomised(module: nn.Module, std: float = 0.3) -> nn.Module:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=std)
    return module


def fused(name: str, k: int = 3, rows: int = 2, cols: int = 2, **factors: object) -> tuple[Fusion, Tensor, DetailMaps]:
    """A stage-1 fusion with random weights, tokens of two images, and their four maps."""
    torch.manual_seed(0)
    cells = [k * 2 ** (3 - stage) for stage in range(4)]
    maps = [torch.randn(2, dim, rows * n, cols * n) for dim, n in zip(DIMS, cells, strict=True)]
    widths = {"token_width": WIDTH, "detail_width": DIMS[0], "coarser": tuple(zip(DIMS[1:], cells[1:], strict=True))}
    fusion = create(name, **widths, grid=GRID, cells=cells[0], hidden=12, heads=2, **factors)
    tokens = torch.randn(2 * (1 + rows * cols), GRID**2, WIDTH)
    return randomised(fusion), tokens, DetailMaps(maps, cells, TileLayout.side_by_side(GRID, rows, cols))


def run(fusion: Fusion, tokens: Tensor, maps: DetailMaps) -> Tensor:
    return fusion(tokens, maps.read(fusion.reads, 1, torch.float32), maps.context(1)).tokens


def size(name: str, **widths: int) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in create(name, token_width=1024, grid=24, **widths).parameters())


def test_llava_hrs_adapter_has_its_published_size_and_a_scale() -> None:
    assert size("llava_hr", detail_width=1536, cells=24, hidden=1536) == 6_085_121 + 1024


def test_mini_geminis_adapter_has_its_published_size_but_for_what_softmax_cancels() -> None:
    """All four stages of CLIP ConvNeXt-L, 2,880 channels; no bias of the keys' norm (2,880) and projection (1,024)."""
    coarser = ((384, 96), (768, 48), (1536, 24))
    assert size("mini_gemini", detail_width=192, cells=192, coarser=coarser) == 6_963_456 - 2880 - 1024


@pytest.mark.parametrize("k", [2, 3])
def test_mini_gemini_equals_attention_over_enlarged_and_concatenated_stages(k: int) -> None:
    """Plain: coarser cells repeated over the finest ones, layer norms of the concatenation, the library's attention; with key biases."""
    fusion, tokens, maps = fused("mini_gemini", k)
    cells = []
    for stage, side in enumerate(fusion.sides, 1):
        window = maps.windows(stage, torch.float32).flatten(1, 2)  # [N, T, w*w, C]
        fine = torch.arange(fusion.sides[0]) * side // fusion.sides[0]
        cells.append(window.unflatten(2, (side, side))[:, :, fine][:, :, :, fine].flatten(2, 3))
    joint = torch.cat(cells, -1)
    channels = joint.shape[-1]
    key = F.linear(F.layer_norm(joint, (channels,), fusion.key_gain, torch.randn(channels)), fusion.key.weight, torch.randn(12))
    value = fusion.value(F.layer_norm(joint, (channels,), fusion.value_gain, fusion.value_bias))
    oracle = tokens + F.scaled_dot_product_attention(fusion.query(tokens)[:, :, None], key, value)[:, :, 0]
    torch.testing.assert_close(run(fusion, tokens, maps), oracle, rtol=1e-3, atol=1e-3)


def test_the_nearest_cell_lies_over_the_fine_one() -> None:
    assert nearest_cells(4, 2, torch.device("cpu")).tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]
    assert nearest_cells(5, 3, torch.device("cpu"))[:5].tolist() == [0, 0, 1, 1, 2]


def test_attention_over_neighbours_equals_gathering_their_windows() -> None:
    """Plain: a token's nine windows, looked up on the canvas or the overview, and the library's attention."""
    fusion, tokens, maps = fused("cross_attention_neighbours", rows=1)
    attend = fusion.aggregate
    windows = maps.windows(1, torch.float32).view(2, 3, GRID, GRID, -1, DIMS[0])  # an overview and two tiles side by side
    windows = windows * (windows.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    canvas = torch.cat([windows[:, 1], windows[:, 2]], dim=2)
    for tile, (row, column) in ((0, (0, 2)), (1, (1, 2)), (2, (2, 0))):
        around, x = (windows[:, 0], column) if tile == 0 else (canvas, column + (tile - 1) * GRID)
        places = [(row + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        inside = [n for n, (r, c) in enumerate(places) if 0 <= r < GRID and 0 <= c < around.shape[2]]
        position = attend.position.unflatten(0, (9, -1))
        cells = torch.cat([around[:, places[n][0], places[n][1]] + position[n] for n in inside], dim=1)  # [2, cells, C]
        own = tokens.view(2, 3, GRID, GRID, WIDTH)[:, tile, row, column]
        query = attend.query(F.layer_norm(own, (WIDTH,))).view(2, 2, 1, 6)
        key, value = (layer(cells).unflatten(-1, (2, 6)).transpose(1, 2) for layer in (attend.key, attend.value))
        oracle = F.scaled_dot_product_attention(query, key, value).flatten(1)
        read = attend(tokens, maps.read("windows", 1, torch.float32), maps.context(1)).view(2, 3, GRID, GRID, 12)[:, tile, row, column]
        torch.testing.assert_close(read, oracle, rtol=1e-4, atol=1e-4)


def moved_tiles(name: str, change: str, rows: int = 1, cols: int = 3) -> list[bool]:
    """Which tiles (the overview first) move when the rightmost token, or cell, of the second row of canvas tile 1 changes."""
    fusion, tokens, maps = fused(name, rows=rows, cols=cols)
    before = run(fusion, tokens, maps) - tokens
    tiles = 1 + rows * cols
    if change == "token":
        tokens = tokens.clone()
        tokens[tiles + 1, GRID + GRID - 1] += torch.randn(WIDTH)
    else:
        side = maps.cells[0]
        maps.maps[0][1, :, side // 2, side - 1] += 3
    moved = (run(fusion, tokens, maps) - tokens - before).abs().amax((1, 2)) > 1e-6
    assert not moved[:tiles].any()
    return moved[tiles:].tolist()


def test_neighbours_are_seen_across_a_seam_and_nothing_farther() -> None:
    overview, *canvas = moved_tiles("cross_attention_neighbours", "cell")
    assert overview
    assert canvas == [True, True, False]
    assert moved_tiles("cross_attention", "cell")[1:] == [True, False, False]


def test_tiles_see_their_neighbours_tokens_and_the_overview_sees_all() -> None:
    assert moved_tiles("cross_tile", "token") == [True, True, True, False]
    assert moved_tiles("cross_tile", "token", rows=2, cols=2) == [True] * 5
    fusion, tokens, maps = fused("cross_tile", rows=1, cols=1)  # a lone tile has itself
    assert run(fusion, tokens, maps).isfinite().all()


def test_an_overviews_token_does_not_reach_the_canvas() -> None:
    fusion, tokens, maps = fused("cross_tile")
    changed = tokens.clone()
    changed[0, 4] += torch.randn(WIDTH)
    moved = (run(fusion, changed, maps) - changed - run(fusion, tokens, maps) + tokens).abs().amax((1, 2))
    assert moved[0] > 1e-3
    assert moved[1:].max() < 1e-6


def test_tokens_alone_need_no_map(make_config, make_batch) -> None:
    """No ConvNeXt is built, and what a batch brings of maps or detail input is not looked at."""
    batch, labels = make_batch()
    model = build_model(make_config("cross_tile"))
    assert model.encoder.convnext is None
    randomised(model.encoder.fusions)
    bare = model(replace(batch, maps=None, oracle=None), labels).logits
    assert torch.equal(bare, model(batch, labels).logits)
    assert not torch.equal(bare, build_model(make_config("none"))(batch, labels).logits)


def encoder_of(config) -> HybridEncoder:
    model = HybridEncoder(config, build_vit(config), build_convnext(config))
    randomised(model.fusions, 0.2)
    return model


def test_later_fusion_points_see_what_the_bidirectional_one_wrote(make_config, make_batch, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, _ = make_batch()
    model = encoder_of(make_config("bidirectional", depth=((3, 1), (3, 3), (4, 3))))
    tokens, details = model.encode(batch)
    plain = DetailMaps(batch.maps, model.cells, batch.layout)
    assert not torch.allclose(details.tiles(3), plain.tiles(3))
    assert torch.equal(details.tiles(4), plain.tiles(4))  # nothing reads stage 4 again
    monkeypatch.setattr(DetailMaps, "replace", lambda *_: None)
    assert not torch.allclose(model.encode(batch)[0], tokens)


def test_every_cell_of_a_window_is_changed_as_its_mean_is() -> None:
    fusion, tokens, maps = fused("bidirectional")
    detail = maps.tiles(1)
    written = fusion(tokens, detail, maps.context(1)).detail
    step = maps.context(1).windows(written - detail)
    torch.testing.assert_close(step, step[:, :, :1].expand_as(step), rtol=1e-4, atol=1e-4)
    assert step.abs().amax() > 0.1
    assert fusion(tokens, detail, maps.context(1, read_again=False)).detail is None


FACTORS = {"aggregate": "pool", "combine": "add", "gate": True}
WITHOUT = {"llava_hr": ("aggregate", "combine")} | dict.fromkeys(
    ("none", "mini_gemini", "bidirectional", "slice_restore", "shifted_window", "tile_summary"), tuple(FACTORS)
)


@pytest.mark.parametrize(("name", "factor"), [(name, factor) for name, factors in WITHOUT.items() for factor in factors])
def test_factors_a_strategy_does_not_have_are_refused(name: str, factor: str) -> None:
    with pytest.raises(FilaError, match=f"fusion.{factor}=.* has no meaning with fusion.name='{name}'"):
        create(name, token_width=8, detail_width=4, grid=3, cells=6, **{factor: FACTORS[factor]})


@pytest.mark.parametrize("control", [None, "oracle_map", "random_window", "constant"])
def test_detail_tokens_stand_behind_the_visual_ones(make_config, make_batch, control: str | None) -> None:
    """The sequence is longer, so it is not the baseline's; the baseline's own tokens are, in the same places."""
    batch, labels = make_batch()
    none, handed = (build_model(make_config("none", handoff=h, control=c)) for h, c in (("none", None), ("append", control)))
    seen, more = none.see(batch), handed.see(batch)
    assert more.shape[1] == seen.shape[1] + 2 * GRID**2
    assert torch.equal(more[:, : seen.shape[1]], seen)
    loss = handed(batch, labels).loss
    assert loss != none(batch, labels).loss
    loss.backward()
    assert all(p.grad.abs().max() > 0 for p in handed.handoff.parameters())


def test_detail_tokens_come_in_raster_order_as_fusion_left_them(make_config, make_batch) -> None:
    batch, _ = make_batch()
    model = build_model(make_config("bidirectional", depth=((4, 5),), handoff="append"))
    handed: list[Tensor] = []
    model.handoff.register_forward_pre_hook(lambda _, inputs: handed.append(inputs[0]))
    model.see(batch)
    plain = batch.maps[3].flatten(2).transpose(1, 2)  # k = g: a stage-4 cell a token
    assert handed[0].shape == plain.shape
    assert not torch.allclose(handed[0], plain)
    model.encoder.fusions["5"].back.weight.data.zero_()
    model.encoder.fusions["5"].back.bias.data.zero_()
    model.see(batch)
    torch.testing.assert_close(handed[1], plain)
    assert len(model.generate(batch, max_new_tokens=2)) == 3
