"""Pixels in the units a tower was trained on, by its checkpoint's tag."""

from __future__ import annotations

import pytest
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from fila_lab.config import ConfigError, VitConfig, load_preset, resolve_run
from fila_lab.config.tiling import TileLayout
from fila_lab.config.tower_cards import CLIP
from fila_lab.config.weights import weights_file
from fila_lab.modeling import ConvNextTower, HybridEncoder, VisionBatch, VitTower, normalise
from fila_lab.modeling.detail_input import stage_maps
from fila_lab.modeling.pixels import tag_statistics, tower_statistics


@pytest.mark.parametrize(
    "weights", ["random", "package:mini_convnext_0", "/a/file.safetensors", "timm:convnext_base.clip_laion2b", "open_clip:ViT-B-16/openai"]
)
def test_clips_own_where_nothing_says_otherwise(weights: str) -> None:
    assert tower_statistics(VitConfig(width=8, layers=1, heads=1, weights=weights)) == CLIP


def test_other_checkpoints_have_others() -> None:
    assert tag_statistics("timm:convnext_tiny.fb_in22k") == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    assert tag_statistics("open_clip:ViT-B-16-SigLIP/webli") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_what_is_said_counts_and_a_tag_says_its_own() -> None:
    said = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    assert tower_statistics(resolve_run("mini", {"vit.pixels": said}).vit) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    with pytest.raises(ConfigError, match=r"vit\.pixels are said, but vit\.weights = 'open_clip:ViT-L-14-336/openai' have their tag's own"):
        resolve_run("paper", {"vit.pixels": said})


def test_each_tower_sees_pixels_in_its_own_units() -> None:
    sizes = {f"convnext.{name}": getattr(load_preset("mini").convnext, name) for name in ("depths", "dims")}
    tags = {"vit.weights": "open_clip:ViT-B-16-SigLIP/webli", "convnext.weights": "timm:convnext_tiny.fb_in22k"}
    config = resolve_run("mini", {"fusion.name": "none", **tags, **sizes})
    vit, convnext = VitTower(config.vit, config.geometry), ConvNextTower(config.convnext)
    pixels = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8)
    plain = (pixels.double() / 255 - torch.tensor(IMAGENET_DEFAULT_MEAN)) / torch.tensor(IMAGENET_DEFAULT_STD)
    torch.testing.assert_close(
        stage_maps(convnext, pixels, config, 1, 1), convnext(plain.permute(0, 3, 1, 2).float()), rtol=1e-3, atol=1e-3
    )
    encoder, tiles = HybridEncoder(config, vit, None), torch.randint(0, 256, (1, 2, 42, 42, 3), dtype=torch.uint8)
    seen = []
    vit.trunk.conv1.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    texts = torch.zeros(1, 1, dtype=torch.long), torch.tensor([1])
    encoder(VisionBatch.of(TileLayout.side_by_side(3, 1, 2), *texts, tiles=tiles, overview=tiles[:, 0]))
    torch.testing.assert_close(seen[0][1:], (tiles[0].permute(0, 3, 1, 2) / 127.5 - 1))


def test_paper_and_base_name_clips_own_convnexts() -> None:
    """Not those fine-tuned on ImageNet: a CLIP tower's head projects into the joint space and has no classes."""
    from timm.models import get_pretrained_cfg

    for preset, width in (("base", 640), ("paper", 768)):
        weights = load_preset(preset).convnext.weights
        assert weights_file(weights) is None
        published = get_pretrained_cfg(weights.removeprefix("timm:"))
        assert published.num_classes == width
        assert "_ft_in" not in weights
        assert (published.mean, published.std) == CLIP
        assert normalise(torch.zeros(1, 1, 1, 3, dtype=torch.uint8)).shape == (1, 3, 1, 1)
