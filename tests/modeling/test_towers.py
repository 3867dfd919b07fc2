"""Towers: the library's own computation, their weights, and the sizes known from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from fila_lab.config.base import FilaError
from fila_lab.config.fusion import FusionConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.hashing import file_sha256
from fila_lab.config.language import LanguageConfig
from fila_lab.config.run import RunConfig
from fila_lab.config.tiling import TileLayout
from fila_lab.config.towers import ConvNextConfig, VitConfig
from fila_lab.modeling import ConvNextTower, VisionBatch, VitTower, build_model, build_vit, component_seed
from fila_lab.modeling.attention import attention_backend
from fila_lab.modeling.seeds import component_rng
from fila_lab.modeling.weights import load_weights, save_weights, weights_sha256

TINY = VitConfig(width=32, layers=3, heads=4, feature_layer=-1)
SMALL = GeometryConfig(tile=42, patch=14, canvases=((84, 84),), detail_cells=3)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_staged_vit_equals_open_clips_own_forward() -> None:
    tower = VitTower(TINY, SMALL)
    tiles = torch.randn(2, 3, 42, 42)
    _, tokens = tower.trunk(tiles)
    torch.testing.assert_close(tower(tiles), tokens)


def test_feature_layer_counts_from_the_end_and_skips_what_follows() -> None:
    tower = VitTower(TINY.model_copy(update={"feature_layer": -2}), SMALL)
    tiles = torch.randn(1, 3, 42, 42)
    torch.testing.assert_close(tower(tiles), tower.block(1, tower.block(0, tower.embed(tiles)))[:, 1:])
    assert count(tower.trunk.transformer.resblocks[2]) + 2 * 32 == sum(p.numel() for p in tower.unused_parameters())


@pytest.mark.parametrize("backend", ["math", "flash", "auto"])
def test_attention_backends_agree(backend) -> None:
    torch.manual_seed(0)
    tower = VitTower(TINY, SMALL)
    tiles = torch.randn(1, 3, 42, 42)
    allowed = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    with attention_backend(backend):
        out = tower(tiles)
    assert torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed() == allowed
    torch.testing.assert_close(out, tower(tiles))


def test_convnext_maps_have_timms_strides_and_values() -> None:
    config = ConvNextConfig(depths=(1, 1, 2, 1), dims=(8, 12, 16, 20))
    tower = ConvNextTower(config)
    detail = torch.randn(1, 3, 64, 96)
    maps = tower(detail)
    assert [tuple(m.shape[1:]) for m in maps] == [(8, 16, 24), (12, 8, 12), (16, 4, 6), (20, 2, 3)]
    assert torch.equal(maps[3], tower.trunk.forward_features(detail))


def test_paper_towers_have_the_sizes_of_the_library_models() -> None:
    """REFERENCES: vit_large_patch14_clip_336 304.53 M and convnext_large_mlp 200.13 M, classifier heads included."""
    with torch.device("meta"):
        vit = VitTower(VitConfig(width=1024, layers=24, heads=16, quick_gelu=True), GeometryConfig(canvases=((672, 672),), detail_cells=24))
        convnext = ConvNextTower(ConvNextConfig(depths=(3, 3, 27, 3), dims=(192, 384, 768, 1536)))
        whole_vit, whole_convnext = timm.create_model("vit_large_patch14_clip_336"), timm.create_model("convnext_large_mlp")
    assert round(count(whole_vit) / 1e6, 2) == 304.53
    assert round(count(whole_convnext) / 1e6, 2) == 200.13
    assert count(vit) == count(whole_vit) - count(whole_vit.head)
    assert count(convnext) == count(whole_convnext) - count(whole_convnext.head)


def test_weights_come_back_as_they_were_saved(tmp_path: Path) -> None:
    first, second = VitTower(TINY, SMALL), VitTower(TINY, SMALL)
    assert weights_sha256(first) != weights_sha256(second)
    path = tmp_path / "vit.safetensors"
    save_weights(first, path)
    load_weights(second, str(path), "vit.weights")
    assert weights_sha256(first) == weights_sha256(second)
    assert weights_sha256(str(path)) == file_sha256(path)


def test_wrong_weights_are_refused_with_field_path_and_remedy(tmp_path: Path) -> None:
    tower = VitTower(TINY, SMALL)
    before = weights_sha256(tower)
    path = tmp_path / "vit.safetensors"
    save_weights(VitTower(TINY.model_copy(update={"width": 64}), SMALL), path)
    with pytest.raises(FilaError, match=r"vit\.weights=.*class_embedding has shape \[64\], the configuration says \[32\]"):
        load_weights(tower, str(path), "vit.weights")
    save_weights(ConvNextTower(ConvNextConfig(depths=(1, 1, 1, 1), dims=(4, 4, 4, 4))), path)
    with pytest.raises(FilaError, match="choose weights of this architecture"):
        load_weights(tower, str(path), "vit.weights")
    path.write_bytes(b"half a file")
    with pytest.raises(FilaError, match="cannot be read as safetensors"):
        load_weights(tower, str(path), "vit.weights")
    assert weights_sha256(tower) == before


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("package:nope", "fila-lab weights mini"),
        ("/nowhere/vit.safetensors", r"vit\.weights.*/nowhere/vit\.safetensors"),
        ("open_clip:ViT-L-14-336/laion", "tags of ViT-L-14-336: openai"),
        ("timm:convnext_base.clip_laion2b", "is unknown; use random, package:NAME"),
        ("clip", "is unknown; use random, package:NAME"),
    ],
)
def test_missing_weights_name_field_and_remedy(spec: str, message: str) -> None:
    with pytest.raises(FilaError, match=message):
        load_weights(VitTower(TINY, SMALL), spec, "vit.weights")


def test_a_convnexts_tag_that_timm_does_not_know_is_refused() -> None:
    tower = ConvNextTower(ConvNextConfig(depths=(1, 1, 1, 1), dims=(4, 4, 4, 4)))
    with pytest.raises(FilaError, match="timm has no such pretrained model"):
        load_weights(tower, "timm:no_such_model", "convnext.weights")


def test_component_streams_depend_on_seed_and_name_alone() -> None:
    assert component_seed(1, "a") == component_seed(1, "a")
    assert len({component_seed(s, n) for s in (0, 1) for n in ("a", "b")}) == 4
    state = torch.random.get_rng_state()
    with component_rng(0, "a"):
        first = torch.randn(3)
    with component_rng(0, "a"):
        torch.testing.assert_close(torch.randn(3), first)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.slow
def test_base_encoder_runs_at_real_size_with_random_weights() -> None:
    config = RunConfig(
        preset="test",
        geometry=GeometryConfig(tile=224, patch=16, canvases=((224, 224),), detail_cells=14),
        vit=VitConfig(width=768, layers=12, heads=12),
        convnext=ConvNextConfig(depths=(3, 3, 27, 3), dims=(128, 256, 512, 1024)),
        fusion=FusionConfig(name="concat"),
        language=LanguageConfig(),
    )
    model = build_model(config)
    assert count(build_vit(config)) == 86_192_640 - 768 * 512  # open_clip ViT-B/16's visual tower, without its projection
    tokens = lambda *size: torch.randint(0, 256, size, dtype=torch.uint8)  # noqa: E731
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        pixels = {"tiles": tokens(1, 1, 224, 224, 3), "overview": tokens(1, 224, 224, 3), "detail": tokens(1, 448, 448, 3)}
        batch = VisionBatch.of(TileLayout.side_by_side(14, 1, 1), torch.zeros(1, 1, dtype=torch.long), torch.tensor([1]), **pixels)
        out = model.encoder(batch)
    assert out.shape == (1, 2 * 196, 768)
    assert out.isfinite().all()
