"""Towers in every form that open_clip, timm and transformers publish give their libraries' own features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from published import (
    BASE_VISION,
    MEAN,
    SMALL_VISION,
    STD,
    Published,
    both_libraries,
    open_clip_convnext,
    open_clip_vit,
    timm_convnext,
    timm_vit,
    transformers_vit,
)

from fila_lab.config import ConfigError, RunConfig, resolve_run
from fila_lab.config.base import FilaError
from fila_lab.config.checkpoints import check_checkpoints
from fila_lab.modeling import build_convnext, build_vit

OPEN_CLIP_FORMS = ("folder", "safetensors", "bin", "tower.safetensors", "checkpoint.pt")
SIZES = {"small": SMALL_VISION, "base": BASE_VISION}
ALONE = {"fusion.name": "none", "language.weights": "random"}
CANVASES = {"small": [[84, 84]], "base": [[448, 448]]}


def run(room: str, published: Published, size: str, **more: Any) -> RunConfig:
    """`mini` with the published tower; sizes are the source's, and what it does not say stands beside it."""
    geometry = {"geometry.canvases": CANVASES[size]} if room == "vit" else {}
    return resolve_run("mini", {f"{room}.weights": published.weights, **ALONE}, {**published.unsaid, **geometry, **more})


def check_vit(published: Published, size: str, quick: bool) -> None:
    config = run("vit", published, size)
    check_checkpoints(config)
    assert config.vit.quick_gelu is quick
    tower = build_vit(config).eval()
    assert tower.statistics == (MEAN, STD)
    pixels = torch.randn(2, 3, config.geometry.tile, config.geometry.tile)
    with torch.no_grad():
        torch.testing.assert_close(tower(pixels), published.features(pixels), rtol=1e-5, atol=1e-5)


def check_convnext(published: Published, side: int) -> None:
    config = run("convnext", published, "small")
    check_checkpoints(config)
    tower = build_convnext(config).eval()
    assert (config.convnext.pixels is None) == (tower.statistics != (MEAN, STD))
    pixels = torch.randn(1, 3, side, side)
    with torch.no_grad():
        torch.testing.assert_close(tower(pixels), published.features(pixels), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("form", OPEN_CLIP_FORMS)
def test_open_clip_vit(form: str, quick: bool, tmp_path: Path) -> None:
    check_vit(open_clip_vit(form, tmp_path, SMALL_VISION, quick), "small", quick)


@pytest.mark.parametrize("form", ["alone.safetensors", "alone.pth"])
def test_timm_vit(form: str, tmp_path: Path) -> None:
    check_vit(timm_vit(form, tmp_path, small=True, quick=False), "small", quick=False)


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("form", ["clip", "vision", "sharded", "bin"])
def test_transformers_vit(form: str, quick: bool, tmp_path: Path) -> None:
    check_vit(transformers_vit(form, tmp_path, small=True, quick=quick), "small", quick)


def test_the_layer_before_the_last_is_transformers_own(tmp_path: Path) -> None:
    """What LLaVA reads: no final norm."""
    from transformers import CLIPVisionModel

    published = transformers_vit("vision", tmp_path, small=True, quick=True)
    config = run("vit", published, "small", **{"vit.feature_layer": -2})
    pixels = torch.randn(1, 3, 42, 42)
    with torch.no_grad():
        own = CLIPVisionModel.from_pretrained(tmp_path).eval()(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        torch.testing.assert_close(build_vit(config).eval()(pixels), own, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["folder", "safetensors", "bin"])
def test_open_clip_convnext(form: str, tmp_path: Path) -> None:
    check_convnext(open_clip_convnext(form, tmp_path, "convnext_atto"), 64)


@pytest.mark.parametrize("form", ["folder", "alone.safetensors", "alone.pth"])
def test_timm_convnext(form: str, tmp_path: Path) -> None:
    check_convnext(timm_convnext(form, tmp_path, "convnext_atto"), 64)


def test_of_a_repository_with_two_forms_open_clips_is_read_and_described_by_its_own_file(tmp_path: Path) -> None:
    both_libraries(tmp_path, "vit_base_patch16_clip_224")
    config = resolve_run("mini", {"vit.weights": str(tmp_path), **ALONE, "geometry.canvases": [[84, 84]]})
    check_checkpoints(config)
    assert config.vit.quick_gelu is True
    assert config.vit.pixels is not None
    assert config.vit.pixels.mean == MEAN
    with pytest.raises(ConfigError, match=r"vit\.pixels"):  # timm's file is described by timm's
        check_checkpoints(config.model_copy(update={"vit": config.vit.model_copy(update={"weights": str(tmp_path / "model.safetensors")})}))


@pytest.mark.parametrize("form", ["tower.safetensors", "checkpoint.pt"])
def test_a_file_alone_must_be_described(form: str, tmp_path: Path) -> None:
    """Another preset's heads or activation would give other features, and no error."""
    published = open_clip_vit(form, tmp_path, SMALL_VISION, quick=True)
    with pytest.raises(ConfigError, match=r"does not tell vit\.heads and vit\.quick_gelu"):
        resolve_run("mini", {"vit.weights": published.weights, **ALONE, "geometry.canvases": [[84, 84]]})


@pytest.mark.parametrize("form", ["clip", "bin"])
def test_a_wrong_tower_or_a_wrong_word_about_it_is_refused(form: str, tmp_path: Path) -> None:
    vit = transformers_vit(form, tmp_path / "vit", small=True, quick=True)
    convnext = timm_convnext("alone.safetensors", tmp_path, "convnext_atto")
    canvases = {"geometry.canvases": [[84, 84]]}
    for room, weights, words in (
        ("vit", convnext.weights, "holds a ConvNeXt"),
        ("convnext", vit.weights, "is no ConvNeXt"),
    ):
        config = resolve_run("mini", {**ALONE, f"{room}.weights": weights})
        with pytest.raises(ConfigError, match=words):
            check_checkpoints(config)
        with pytest.raises(FilaError, match=words):
            build_vit(config) if room == "vit" else build_convnext(config)
    for said, words in (
        ({"vit.quick_gelu": False}, "vit.quick_gelu=true"),
        ({"vit.heads": 8}, "vit.heads=4"),
        ({"vit.width": 64}, "the configuration says [64]"),
        ({"vit.pixels": {"mean": [0.5] * 3, "std": [0.5] * 3}}, 'vit.pixels=\'{"mean":[0.5,0.4,0.3]'),
    ):
        config = resolve_run("mini", {"vit.weights": vit.weights, **ALONE, **canvases, **said})
        with pytest.raises(ConfigError) as refused:
            check_checkpoints(config)
        assert words in str(refused.value)
        assert "\n" not in str(refused.value)
        with pytest.raises(FilaError, match=r"vit\.weights"):  # also where no plan looked at it
            build_vit(config)


@pytest.mark.slow
@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("form", OPEN_CLIP_FORMS)
def test_vit_b_16_of_open_clip(form: str, quick: bool, tmp_path: Path) -> None:
    check_vit(open_clip_vit(form, tmp_path, BASE_VISION, quick), "base", quick)


@pytest.mark.slow
@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("form", ["folder", "alone.safetensors"])
def test_vit_b_16_of_timm(form: str, quick: bool, tmp_path: Path) -> None:
    check_vit(timm_vit(form, tmp_path, small=False, quick=quick), "base", quick)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["clip", "vision", "sharded", "bin"])
def test_vit_b_16_of_transformers(form: str, tmp_path: Path) -> None:
    check_vit(transformers_vit(form, tmp_path, small=False, quick=True), "base", quick=True)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folder", "safetensors", "bin"])
def test_convnext_base_of_open_clip(form: str, tmp_path: Path) -> None:
    check_convnext(open_clip_convnext(form, tmp_path, "convnext_base"), 224)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folder", "alone.safetensors"])
def test_convnext_base_of_timm(form: str, tmp_path: Path) -> None:
    check_convnext(timm_convnext(form, tmp_path, "convnext_base"), 224)
