"""Every fast path against the plain path it stands for, restated here."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.tiling import TileLayout
from fila_lab.config.towers import VitConfig
from fila_lab.modeling import HybridEncoder, VitTower, build_convnext, build_model, build_vit
from fila_lab.modeling.attention import attention_backend, backend_for
from fila_lab.modeling.detail import DetailMaps, area_pooled
from fila_lab.modeling.fusion import create

GRID, CHANNELS = 3, 6
LAYOUTS = {"channels_first": torch.contiguous_format, "channels_last": torch.channels_last}


def autocast(precision: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")


def randomised(module: torch.nn.Module, std: float = 0.3) -> torch.nn.Module:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=std)
    return module


def whole_map(side: int, rows: int, cols: int, layout: str) -> Tensor:
    """[2, C, rows*side, cols*side]"""
    torch.manual_seed(0)
    return torch.randn(2, CHANNELS, rows * side, cols * side).contiguous(memory_format=LAYOUTS[layout])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("quick_gelu", [True, False])
def test_a_vit_layer_is_open_clips_bit_for_bit(quick_gelu: bool, precision: str) -> None:
    """Plain: float32 tokens plus what a branch gives in its own type; QuickGELU as its formula stands."""
    config = VitConfig(width=32, layers=2, heads=4, feature_layer=-1, quick_gelu=quick_gelu)
    tower = VitTower(config, GeometryConfig(tile=42, patch=14, canvases=((84, 84),), detail_cells=3))
    block = tower.trunk.transformer.resblocks[0]
    tokens = torch.randn(5, 10, 32)
    with torch.inference_mode(), autocast(precision):
        middle = tokens + block.attn(block.ln_1(tokens))
        wide = block.mlp.c_fc(block.ln_2(middle))
        wide = wide * torch.sigmoid(1.702 * wide) if quick_gelu else torch.nn.functional.gelu(wide)
        plain = middle + block.mlp.c_proj(wide)
        assert torch.equal(tower.block(0, tokens), plain)
    with autocast(precision):
        assert torch.equal(tower.block(0, tokens), plain)


@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cells", [3, 6, 7])
def test_means_and_windows_of_the_whole_canvas_are_those_of_its_tiles(cells: int, layout: str, scramble: bool) -> None:
    """Plain: split every tile out, then pool or gather each. 7 cells a tile do not divide and are resampled first."""
    turns = torch.tensor([3, 11]) if scramble else None
    maps = DetailMaps([whole_map(cells, 2, 3, layout)], [cells], TileLayout.side_by_side(GRID, 2, 3), turns=turns)
    direct, windows, means = maps.context(1), maps.windows(1, torch.float32), maps.means(1)
    tiles = maps.tiles(1)
    torch.testing.assert_close(windows.flatten(1, 2), direct.windows(tiles))
    torch.testing.assert_close(means.flatten(2).transpose(1, 2), direct.pooled(tiles))
    replaced = torch.randn_like(tiles)
    maps.replace(1, replaced)
    assert torch.equal(maps.windows(1, torch.float32).flatten(1, 2), direct.windows(replaced))
    torch.testing.assert_close(maps.means(1).flatten(2).transpose(1, 2), direct.pooled(replaced))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("rows", "cols"), [(1, 2), (3, 1), (2, 2)])
def test_the_overview_is_pooled_alike_in_both_memory_layouts(rows: int, cols: int, layout: str) -> None:
    whole = whole_map(6, rows, cols, layout)
    plain = whole.view(2, CHANNELS, 6, rows, 6, cols).mean((3, 5))
    torch.testing.assert_close(area_pooled(whole, rows, cols), plain)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["concat", "addition_gated", "cross_attention", "unfold"])
def test_a_fusion_says_the_same_whatever_it_is_handed(name: str, layout: str) -> None:
    """Tokens, and gradients of the map and of every parameter, from windows or means and from the tiles' cells."""
    factors = {"aggregate": "unfold"} if name == "unfold" else {}
    fusion = create("concat" if factors else name, token_width=16, detail_width=CHANNELS, grid=GRID, cells=6, hidden=12, heads=2, **factors)
    randomised(fusion)
    assert fusion.reads == ("windows" if name in ("cross_attention", "unfold") else "means")
    results = []
    tokens, upstream = torch.randn(6, 9, 16), torch.randn(6, 9, 16)
    for reads in ("cells", fusion.reads):
        whole = whole_map(6, 1, 2, layout).requires_grad_()
        maps = DetailMaps([whole], [6], TileLayout.side_by_side(GRID, 1, 2))
        out = fusion(tokens, maps.read(reads, 1, torch.float32), maps.context(1)).tokens
        results.append([out, *torch.autograd.grad((out * upstream).sum(), [whole, *fusion.parameters()])])
    for plain, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bfloat16_windows_cost_no_more_precision_than_bfloat16_cells(layout: str) -> None:
    """Against float32: what both layouts' own products lose stays within what rounding the inputs alone loses, twice."""
    fusion = randomised(create("cross_attention", token_width=16, detail_width=CHANNELS, grid=GRID, cells=6, hidden=12, heads=2))
    maps = DetailMaps([whole_map(6, 1, 2, layout)], [6], TileLayout.side_by_side(GRID, 1, 2))
    tokens = torch.randn(6, 9, 16)
    with torch.no_grad():
        exact = fusion(tokens, maps.tiles(1), maps.context(1)).tokens
        with autocast("bf16"):
            plain = fusion(tokens, maps.read("cells", 1, torch.bfloat16), maps.context(1)).tokens
            fast = fusion(tokens, maps.read("windows", 1, torch.bfloat16), maps.context(1)).tokens
    assert (fast - exact).norm() < 2 * (plain - exact).norm()
    assert (fast - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("name", ["concat", "addition", "cross_attention"])
def test_the_encoder_equals_a_plain_one(make_config, make_batch, name: str) -> None:
    """Plain: a ViT call per image and layer, every tile's cells split out, the fusion applied tile by tile."""
    config = make_config(name)
    model = HybridEncoder(config, build_vit(config), build_convnext(config))
    randomised(model.fusions)
    batch, _ = make_batch()
    fast = model(batch)
    for index in range(len(batch)):
        pixels = torch.cat([batch.overview[[index]], batch.tiles[index]])
        mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])
        std = torch.tensor([0.26862954, 0.26130258, 0.27577711])
        tokens = model.vit.embed(((pixels / 255 - mean) / std).permute(0, 3, 1, 2))
        maps = DetailMaps([m[[index]] for m in batch.maps], model.cells, TileLayout.side_by_side(model.grid, 1, 2))
        stages = {layer: stage for stage, layer in model.fusion_points}
        for layer in range(1, 7):
            tokens = model.vit.block(layer - 1, tokens)
            if layer in stages:
                cells, context, fusion = maps.tiles(stages[layer]), maps.context(stages[layer]), model.fusions[str(layer)]
                patches = [fusion(tokens[[t], 1:], cells[[t]], context).tokens for t in range(3)]
                tokens = torch.cat([tokens[:, :1], torch.cat(patches)], dim=1)
        overview, left, right = model.vit.features(tokens).unflatten(1, (3, 3))
        plain = torch.cat([overview.flatten(0, 1), torch.cat([left, right], dim=1).flatten(0, 1)])
        torch.testing.assert_close(fast[index], plain, rtol=1e-3, atol=1e-3)


def test_auto_trains_short_sequences_in_bfloat16_with_plain_products_and_nothing_else() -> None:
    assert backend_for(17, device="cpu", bf16=True, training=True) == "math"
    for tokens, device, bf16, training in (
        (577, "cpu", True, True),
        (17, "cpu", False, True),
        (17, "cpu", True, False),
        (17, "cuda", True, True),
    ):
        assert backend_for(tokens, device=device, bf16=bf16, training=training) == "auto"


def kernels(function) -> set[str]:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function()
    return {event.key for event in profile.key_averages() if "scaled_dot_product" in event.key and event.key.startswith("aten::_")}


def test_auto_takes_the_kernel_it_names() -> None:
    q = torch.randn(2, 4, 17, 16, dtype=torch.bfloat16)

    def attend(name: str) -> None:
        with autocast("bf16"), attention_backend(name, 17):
            torch.nn.functional.scaled_dot_product_attention(q, q, q)

    assert kernels(lambda: attend("auto")) == kernels(lambda: attend("math")) != kernels(lambda: attend("flash"))
    with torch.no_grad():
        assert kernels(lambda: attend("auto")) == kernels(lambda: attend("flash"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("attention", ["math", "auto"])
def test_checkpointing_gives_the_same_loss_and_gradients_and_keeps_less(make_config, make_batch, attention: str, precision: str) -> None:
    batch, labels = make_batch()
    losses, gradients, kept = [], [], []
    for checkpointing in (False, True):
        config = make_config("concat")
        runtime = config.runtime.model_copy(update={"attention": attention, "precision": precision, "checkpointing": checkpointing})
        model = build_model(config.model_copy(update={"runtime": runtime}))
        randomised(model.encoder.fusions)
        sizes: dict[int, int] = {}

        def keep(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with autocast(precision):
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                loss = model(batch, labels).loss
            weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        loss.backward()
        losses.append(loss.detach())
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        kept.append(sum(size for place, size in sizes.items() if place not in weights))
    assert torch.equal(*losses)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name
    assert kept[1] < 0.6 * kept[0]


def test_logits_are_made_only_where_labels_are(make_config, make_batch) -> None:
    batch, labels = make_batch()
    model = build_model(make_config("none"))
    seen: list[int] = []
    model.language.lm_head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[:-1].numel()))
    model(batch, labels)
    assert seen == [int((labels != -100).sum())]
