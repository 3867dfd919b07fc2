"""Detail maps, controls and the hybrid encoder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fila_lab.config.base import ConfigError
from fila_lab.config.projector import ProjectorConfig
from fila_lab.config.tiling import TileLayout
from fila_lab.modeling import HybridEncoder, VisionBatch, build_convnext, build_vit, normalise, resample
from fila_lab.modeling.detail import DetailMaps, scrambled, split_tiles, spoil
from fila_lab.modeling.projector import Handoff, RowSeparator, build_projector, raster


def encoder(config):
    return HybridEncoder(config, build_vit(config), build_convnext(config))


def wake(model) -> None:
    """Take the zero factors away, so that detail maps reach the output."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.fusions.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)


def test_split_puts_every_cell_where_it_lies() -> None:
    whole = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    tiles = split_tiles(whole, 2, 3)
    assert tiles.shape == (2, 7, 3, 2, 2)
    assert torch.equal(tiles[1, 1 + 5], whole[1, :, 2:4, 4:6])
    torch.testing.assert_close(tiles[0, 0, 1, 1, 0], whole[0, 1, 2:4, 0:3].mean())


def test_pixels_are_normalised_as_clip_was_trained() -> None:
    pixels = torch.tensor([[[[122, 116, 104], [255, 255, 255]]]], dtype=torch.uint8)
    out = normalise(pixels)
    assert out.shape == (1, 3, 1, 2)
    assert out[..., 0].abs().max() < 0.02
    torch.testing.assert_close(out[0, :, 0, 1], torch.tensor([1.9303, 2.0749, 2.1459]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("operator", ["area", "bilinear", "nearest"])
@pytest.mark.parametrize("k", [2, 3, 4])
def test_every_resolution_and_operator(make_config, make_batch, k: int, operator: str) -> None:
    model = encoder(make_config("cross_attention", k=k, resample=operator))
    wake(model)
    batch, _ = make_batch(k=k)
    tokens = model(batch)
    assert tokens.shape == (3, 9 + 18, 32)
    assert tokens.isfinite().all()


def test_resampling_is_done_on_the_whole_canvas() -> None:
    """A gradient across the canvas stays one across the seam: resampling tile by tile would flatten it there."""
    ramp = torch.linspace(0, 1, 8).expand(1, 1, 4, 8)
    assert resample(ramp, (4, 8), "bilinear") is ramp
    maps = DetailMaps([ramp], [4], TileLayout.side_by_side(3, 1, 2), operator="bilinear")
    row = torch.cat([maps.tiles(1)[1, 0, 0], maps.tiles(1)[2, 0, 0]])
    assert torch.allclose(row[1:-1].diff(), row[1:-1].diff().mean().expand(3), atol=1e-5)


def test_a_detail_input_of_fixed_size_is_brought_to_the_same_windows() -> None:
    """`whole_image`: a square map over a canvas of 1 x 2 tiles, whose cells divide into neither tiles nor tokens."""
    maps = DetailMaps([torch.randn(2, 4, 5, 5)], [6], TileLayout.side_by_side(3, 1, 2))
    assert maps.tiles(1).shape == (6, 4, 6, 6)


def test_whole_canvas_first(make_config) -> None:
    """A pixel left of the seam changes the ConvNeXt's cells right of it."""
    tower = build_convnext(make_config())
    detail = torch.randint(0, 256, (1, 96, 192, 3), dtype=torch.uint8)
    changed = detail.clone()
    changed[0, 40:44, 88:96] = 255 - changed[0, 40:44, 88:96]
    for before, after in zip(tower(normalise(detail)), tower(normalise(changed)), strict=True):
        right = split_tiles(after - before, 1, 2)[0, 2]
        assert right.abs().max() > 1e-4


def test_canvas_tokens_come_in_raster_order() -> None:
    rows, cols, g = 2, 3, 2
    y, x = torch.meshgrid(torch.arange(rows * g), torch.arange(cols * g), indexing="ij")
    place = (100 * y + x).view(rows, g, cols, g).transpose(1, 2).reshape(1, rows * cols, g * g, 1)
    tokens = raster(torch.cat([-torch.ones(1, 1, g * g, 1, dtype=torch.long), place], dim=1), TileLayout.side_by_side(g, rows, cols))
    assert tokens.flatten().tolist() == [-1] * 4 + [100 * r + c for r in range(4) for c in range(6)]
    separated = RowSeparator(1)(tokens.float(), TileLayout.side_by_side(g, rows, cols)).detach().flatten()
    mark = float(separated[4 + 6])
    assert separated.tolist() == [-1.0] * 4 + [v for r in range(4) for v in [*(100.0 * r + c for c in range(6)), mark]]


def test_controls_do_what_they_say() -> None:
    maps = [torch.randn(4, 2, 2 * n, 4 * n) for n in (8, 4, 2, 1)]
    shifted, constant = (spoil(maps, c, 1) for c in ("shifted", "constant"))
    for stage, original in enumerate(maps):
        step = (8, 4, 2, 1)[stage]
        assert torch.equal(shifted[stage][..., step:, step:], original[..., :-step, :-step])
        assert torch.allclose(constant[stage], original.mean((-2, -1), keepdim=True))
    tiles = torch.arange(5.0 * 5).view(5, 5, 1, 1, 1)
    moved = scrambled(tiles, torch.tensor([0, 1, 2, 7, 4]))
    assert (moved != tiles).all()
    assert torch.equal(moved.sort(1).values, tiles)
    assert len({tuple((moved[i] - tiles[i, 0]).flatten().tolist()) for i in range(4)}) == 4


@pytest.mark.parametrize("control", [None, "foreign", "shifted", "constant", "random_window", "blank", "oracle_map"])
def test_every_control_reaches_the_tokens_in_its_own_way(make_config, make_batch, control) -> None:
    """`foreign` is the data's part: the model fuses the maps it is handed, as without a control."""
    batch, _ = make_batch()
    outputs = []
    for name in (None, control):
        model = encoder(make_config("concat", control=name))
        wake(model)
        outputs.append(model(batch))
    assert torch.equal(*outputs) == (control in (None, "foreign"))


def test_random_weights_are_one_fixed_tower(make_config) -> None:
    towers = [build_convnext(make_config(control="random_weights", seed=seed)) for seed in (0, 1)]
    other = build_convnext(make_config())
    first = [t.trunk.stem[0].weight for t in (*towers, other)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


@pytest.mark.parametrize(
    ("depth", "layers"), [("multi", ["1", "2", "3", "5"]), ("last", ["5"]), (((4, 2), (1, 4)), ["2", "4"])], ids=["multi", "last", "list"]
)
def test_depth_says_where_fusion_happens(make_config, make_batch, depth, layers) -> None:
    model = encoder(make_config(depth=depth))
    assert list(model.fusions) == layers
    wake(model)
    batch, _ = make_batch()
    assert model(batch).isfinite().all()


@pytest.mark.parametrize(
    ("depth", "keys"),
    [
        (((1, 5), (2, 5), (3, 5), (4, 5)), ["5_1", "5_2", "5_3", "5_4"]),
        (((4, 1), (4, 2), (4, 5)), ["1", "2", "5"]),
        (((4, 1), (3, 2), (4, 2), (4, "after")), ["1", "2_3", "2_4", "6"]),
        ("after", ["6"]),
    ],
)
def test_stages_may_share_a_layer_layers_a_stage_and_the_last_may_have_none_after_it(make_config, make_batch, depth, keys) -> None:
    model = encoder(make_config(depth=depth))
    assert list(model.fusions) == keys
    wake(model)
    batch, _ = make_batch()
    whole = model(batch)
    for stage, layer in model.fusion_points:  # each has a say
        fusion = model.fusion_at(stage, layer)
        bias = fusion.out.bias.detach().clone()
        with torch.no_grad():
            fusion.out.bias += torch.randn_like(bias)
        assert not torch.allclose(model(batch), whole)
        with torch.no_grad():
            fusion.out.bias.copy_(bias)


def test_a_fusion_draws_the_same_weights_whatever_else_stands_at_its_layer(make_config) -> None:
    alone, together = encoder(make_config(depth=((4, 5),))), encoder(make_config(depth=((1, 5), (4, 5))))
    for one, other in zip(alone.fusion_at(4, 5).parameters(), together.fusion_at(4, 5).parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("depth", [((1, 6),), ((5, 2),), ((1, 3), (2, 2)), ()])
def test_impossible_fusion_points_are_refused(make_config, depth) -> None:
    with pytest.raises(ConfigError, match=r"fusion\.depth"):
        encoder(make_config(depth=depth))


def test_no_gradient_is_recorded_before_the_first_fusion_point(make_config, make_batch) -> None:
    model = encoder(make_config("concat", depth="last"))
    seen = {}
    for index, block in enumerate(model.vit.trunk.transformer.resblocks):
        block.register_forward_hook(lambda _, __, out, index=index: seen.update({index: out.requires_grad}))
    batch, _ = make_batch()
    model(batch)
    assert seen == {0: False, 1: False, 2: False, 3: False, 4: False, 5: True}


def test_maps_computed_here_equal_cached_ones(make_config) -> None:
    model = encoder(make_config())
    wake(model)
    draw = torch.Generator().manual_seed(0)
    tiles, overview, detail = (
        torch.randint(0, 256, size, dtype=torch.uint8, generator=draw) for size in ((2, 2, 42, 42, 3), (2, 42, 42, 3), (2, 96, 192, 3))
    )
    cached = [m.contiguous() for m in model.convnext(normalise(detail))]
    seen = VisionBatch.of(
        TileLayout.side_by_side(3, 1, 2), torch.zeros(2, 1, dtype=torch.long), torch.ones(2), tiles=tiles, overview=overview, detail=detail
    )
    torch.testing.assert_close(model(seen), model(replace(seen, maps=cached)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_every_stages_fusion_is_told_its_own_cells_and_the_coarser_ones(make_config, k: int) -> None:
    model = encoder(make_config("concat", k=k))
    assert model.cells == (8 * k, 4 * k, 2 * k, k)


@pytest.mark.parametrize(
    ("depth", "handoff", "wanted"),
    [
        (((4, 1), (4, 2), (1, 3)), "none", {(4, 1): True, (4, 2): False, (1, 3): False}),
        (((4, 1), (4, 2), (1, 3)), "append", {(4, 1): True, (4, 2): True, (1, 3): False}),
        (((1, 1), (2, 2), (1, 3), (4, 5)), "none", {(1, 1): True, (2, 2): False, (1, 3): False, (4, 5): False}),
        (((1, 1), (3, 2)), "append", {(1, 1): False, (3, 2): False}),
    ],
)
def test_a_fusion_knows_whether_its_map_is_read_again(make_config, make_batch, depth, handoff, wanted) -> None:
    """By a later fusion of the same stage, or by the handoff, which reads stage 4."""
    model = encoder(make_config("concat", depth=depth, handoff=handoff))
    batch, _ = make_batch()
    told = {}
    for pair in model.fusion_points:
        model.fusion_at(*pair).register_forward_hook(lambda _, args, __, pair=pair: told.update({pair: args[2].read_again}))
    model(batch)
    assert told == wanted


def test_projectors_and_the_separator_are_what_they_are_called() -> None:
    linear, mlp = (build_projector(ProjectorConfig(kind=kind), 6, 10) for kind in ("linear", "mlp2x_gelu"))
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    assert torch.allclose(linear.double()(x), x @ linear.weight.T + linear.bias)
    first, last = (layer.double() for layer in mlp if isinstance(layer, torch.nn.Linear))
    hidden = x @ first.weight.T + first.bias
    hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
    assert torch.allclose(mlp.double()(x), hidden @ last.weight.T + last.bias)
    torch.manual_seed(0)
    assert float(RowSeparator(4096).separator.detach().square().sum()) == pytest.approx(1, rel=0.1), "as long as a unit vector"


def test_the_handoff_projects_means_normalised_over_their_channels() -> None:
    handoff = Handoff(ProjectorConfig(kind="linear"), 7, 4).double()
    means = torch.randn(2, 5, 7) * torch.tensor([0.1, 10.0])[:, None, None] + 3
    x = means.double()
    normal = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    layout = TileLayout.side_by_side(1, 1, 5)
    assert torch.allclose(handoff(means, layout), normal @ handoff.projector.weight.T + handoff.projector.bias)


@pytest.mark.parametrize(("rows", "cols"), [(1, 2), (2, 3), (3, 1)])
def test_fusions_are_told_where_each_tile_lies_and_read_what_they_ask_for(rows: int, cols: int) -> None:
    maps = [torch.randn(2, 3 + stage, rows * n, cols * n) for stage, n in enumerate((24, 12, 6, 3))]
    details = DetailMaps(maps, (24, 12, 6, 3), TileLayout.side_by_side(3, rows, cols))
    places = [(image, tile // cols, tile % cols) if tile >= 0 else (image, -1, -1) for image in range(2) for tile in range(-1, rows * cols)]
    for stage in (1, 2, 3, 4):
        context = details.context(stage)
        assert list(zip(context.image.tolist(), context.row.tolist(), context.col.tolist(), strict=True)) == places
        assert (context.grid, context.rows, context.cols, context.stage) == (3, rows, cols, stage)
        assert details.read("nothing", stage, torch.float32).shape == (len(places), 0, 3, 3)
        assert torch.equal(details.read("means", stage, torch.float32), details.means(stage))
        canvas = maps[stage - 1].unflatten(3, (3 * cols, -1)).unflatten(2, (3 * rows, -1)).mean((3, 5))
        torch.testing.assert_close(details.canvas_means(stage), canvas.flatten(2).transpose(1, 2))
    none = DetailMaps.nothing(2, torch.device("cpu"), (24, 12, 6, 3), details.layout)
    assert [m.shape[:2] for m in none.maps] == [(2, 0)] * 4
    assert none.context(4).image.tolist() == [image for image, _, _ in places]


def test_hooks_stand_around_every_fusion_point_the_last_outermost(make_config, make_batch) -> None:
    batch, _ = make_batch()
    model = encoder(make_config("cross_attention"))
    wake(model)
    told: list[tuple[str, tuple[int, int]]] = []

    def watching(name):
        def hook(point, tokens, details, fuse):
            told.append((name, point))
            assert tokens.shape == (3 * 3, 10, 32)
            assert details.means(point[0]).shape[0] == 3 * 3
            return fuse()

        return hook

    with torch.no_grad():
        plain = model(batch)
        with model.around_fusion(watching("inner")), model.around_fusion(watching("outer")):
            assert torch.equal(model(batch), plain)
        assert told == [(name, point) for point in model.fusion_points for name in ("outer", "inner")]
        with model.around_fusion(lambda point, tokens, details, fuse: tokens):
            assert not torch.equal(model(batch), plain)
        assert torch.equal(model(batch), plain)
