"""What the plan reads in the libraries' sources is what the libraries say; a tag's activation is the one it was trained with."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import timm
import torch
from open_clip import factory, pretrained
from open_clip.transformer import QuickGELU
from timm.layers import GELU
from timm.models import get_pretrained_cfg

from fila_lab.config.base import ConfigError
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.library_tags import (
    open_clip_model,
    open_clip_tags,
    tag_repository,
    timm_convnexts,
    timm_norm_eps,
    timm_sizes,
    timm_vit_sizes,
)
from fila_lab.config.tower_cards import open_clip_told
from fila_lab.config.tower_sources import tag_told
from fila_lab.config.towers import VitConfig
from fila_lab.modeling import VitTower
from fila_lab.modeling.weights import load_weights

SMALL = GeometryConfig(tile=42, patch=14, canvases=((84, 84),), detail_cells=3)


def test_tags_and_activations_are_open_clips_own() -> None:
    known = {(model, name): tag.quick_gelu for model, tags in open_clip_tags().items() for name, tag in tags.items()}
    assert known == {pair: bool(open_clip.get_pretrained_cfg(*pair).get("quick_gelu")) for pair in open_clip.list_pretrained()}


def test_convnexts_are_timms_own() -> None:
    assert set(timm.list_models("convnext*", pretrained=True)) <= set(timm_convnexts()) <= set(timm.list_models(pretrained=True))


@pytest.mark.parametrize("model", ["convnext_base", "convnext_large_mlp", "convnext_xxlarge", "convnext_tiny_hnf", "convnext_atto_ols"])
def test_convnext_sizes_are_those_of_the_model(model: str) -> None:
    with torch.device("meta"):
        own = timm.create_model(model)
    told = timm_sizes(model)
    assert told["convnext.dims"] == tuple(stage.blocks[0].conv_dw.weight.shape[0] for stage in own.stages)
    assert told["convnext.depths"] == tuple(len(stage.blocks) for stage in own.stages)
    assert told["convnext.conv_mlp"] is (own.stages[0].blocks[0].mlp.fc1.weight.ndim == 4)
    assert told["convnext.norm_eps"] == own.stages[0].blocks[0].norm.eps == timm_norm_eps(told["convnext.depths"], told["convnext.dims"])


@pytest.mark.slow
def test_a_convnexts_activation_is_told_by_whether_its_sizes_are() -> None:
    for model in {name.partition(".")[0] for name in timm_convnexts()}:
        with torch.device("meta"):
            act = timm.create_model(model).stages[0].blocks[0].mlp.act
        assert bool(timm_sizes(model)) is (type(act) in (torch.nn.GELU, GELU)), model


def test_a_convnext_of_another_activation_is_no_tower_here() -> None:
    """Its sizes alone would let it through."""
    odd = [name for name in timm_convnexts() if not timm_sizes(name.partition(".")[0])]
    assert odd
    with pytest.raises(ConfigError, match="is no ConvNeXt of the kind"):
        tag_told("convnext", f"timm:{odd[0]}")


def test_repositories_are_the_libraries_own() -> None:
    for name in timm.list_models("convnext*", pretrained=True):
        repository = tag_repository(f"timm:{name}")
        assert (repository.name if repository else None) == get_pretrained_cfg(name).hf_hub_id
    for model, tag in open_clip.list_pretrained():
        published, repository = open_clip.get_pretrained_cfg(model, tag).get("hf_hub"), tag_repository(f"open_clip:{model}/{tag}")
        if published and published.endswith("/"):
            assert repository is not None
            assert repository.name == published.rstrip("/")
        elif published:
            assert repository is not None
            assert f"{repository.name}/{repository.files[-1]}" == published


@pytest.mark.parametrize("model", ["vit_base_patch16_clip_224", "vit_large_patch14_clip_quickgelu_336", "vit_huge_patch14_clip_378"])
def test_timms_vit_sizes_are_those_of_the_model(model: str) -> None:
    with torch.device("meta"):
        own = timm.create_model(model)
    assert timm_vit_sizes(model) == {
        "vit.width": own.embed_dim,
        "vit.layers": len(own.blocks),
        "vit.heads": own.blocks[0].attn.num_heads,
        "vit.quick_gelu": "Quick" in type(own.blocks[0].mlp.act).__name__,
        "geometry.patch": own.patch_embed.patch_size[0],
    }
    assert timm_vit_sizes("vit_base_patch16_224") == {}


@pytest.mark.parametrize("model", ["ViT-B-16", "ViT-H-14-quickgelu", "ViT-bigG-14"])
def test_vit_sizes_are_those_of_the_model(model: str) -> None:
    with torch.device("meta"):
        own = open_clip.create_model(model, device="meta").visual
    block = own.transformer.resblocks[0]
    assert open_clip_told("vit", "x", open_clip_model(model)).fields == {
        "vit.width": own.class_embedding.shape[0],
        "vit.layers": len(own.transformer.resblocks),
        "vit.heads": block.attn.num_heads,
        "vit.quick_gelu": isinstance(block.mlp.gelu, QuickGELU),
        "vit.mlp_ratio": pytest.approx(block.mlp.c_fc.out_features / own.class_embedding.shape[0], abs=1e-3),
        "geometry.patch": own.conv1.kernel_size[0],
        "geometry.tile": own.image_size[0],
    }


@pytest.mark.parametrize("quick", [True, False])
def test_a_tag_is_read_with_the_activation_it_was_trained_with(quick: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's own entry says GELU for both tags, as ViT-L-14-336's does for `openai`; open_clip warns and builds GELU."""
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 42, "layers": 2, "width": 32, "head_width": 8, "patch_size": 14},
        "text_cfg": {"context_length": 8, "vocab_size": 20, "width": 8, "heads": 1, "layers": 1},
    }
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny", config)
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny", {"own": {"quick_gelu": quick}})
    path = tmp_path / "tiny.pt"
    source = open_clip.create_model("tiny", force_quick_gelu=quick)
    torch.save(source.state_dict(), path)
    monkeypatch.setattr(open_clip, "download_pretrained", lambda *_, **__: str(path))
    sizes = {"width": 32, "layers": 2, "heads": 4, "feature_layer": -1}
    tower = VitTower(VitConfig(quick_gelu=quick, **sizes), SMALL).eval()
    load_weights(tower, "open_clip:tiny/own", "vit.weights")
    assert isinstance(source.visual.transformer.resblocks[0].mlp.gelu, QuickGELU) is quick
    source.visual.output_tokens = True
    pixels = torch.randn(1, 3, 42, 42)
    torch.testing.assert_close(tower(pixels), source.visual.eval()(pixels)[1])
    with pytest.raises(ConfigError, match=rf"set vit\.quick_gelu={json.dumps(quick)}"):
        load_weights(VitTower(VitConfig(quick_gelu=not quick, **sizes), SMALL), "open_clip:tiny/own", "vit.weights")
