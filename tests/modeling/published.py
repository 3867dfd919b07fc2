"""Towers as open_clip, timm and transformers write them, in every form they publish; random weights, the libraries' own writers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from open_clip import set_model_preprocess_cfg
from open_clip.push_to_hf_hub import save_for_hf
from safetensors.torch import save_file
from torch import Tensor, nn

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
"""Of nobody's checkpoint."""
TEXT = {"context_length": 8, "vocab_size": 20, "width": 8, "heads": 1, "layers": 1}
SMALL_VISION = {"image_size": 42, "layers": 3, "width": 32, "head_width": 8, "patch_size": 14}
BASE_VISION = {"image_size": 224, "layers": 12, "width": 768, "patch_size": 16}


@dataclass(frozen=True)
class Published:
    """A written tower: what `weights` says, the library's own patch tokens of a picture (or its stage maps), and what no file beside it
    says."""

    weights: str
    features: Callable[[Tensor], Any]
    unsaid: dict[str, Any]


class NoTokenizer:
    def save_pretrained(self, folder: Path) -> None:
        """Text is of no interest here."""


def stirred(model: nn.Module) -> nn.Module:
    """Weights that a fresh model would leave at 0, 1 or 1e-6 are drawn too: a mistake in any of them shows."""
    draw = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            offset = 1.0 if name.endswith("weight") else 0.0
            parameter.data = offset + 0.3 * torch.randn(parameter.shape, generator=draw)
    return model.eval()


def clip(vision: dict[str, Any], quick: bool) -> tuple[open_clip.CLIP, dict[str, Any]]:
    """open_clip's model and its configuration."""
    config = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": TEXT, **({"quick_gelu": True} if quick else {})}
    model = open_clip.CLIP(8, vision_cfg=vision, text_cfg=TEXT, quick_gelu=quick)
    set_model_preprocess_cfg(model, {"mean": MEAN, "std": STD})
    return stirred(model), config  # type: ignore[return-value]


def patch_tokens(model: open_clip.CLIP) -> Callable[[Tensor], Tensor]:
    model.visual.output_tokens = True
    return lambda pixels: model.visual(pixels)[1]


def stage_outputs(model: nn.Module) -> Callable[[Tensor], list[Tensor]]:
    return lambda pixels: model.forward_intermediates(pixels, intermediates_only=True)


def open_clip_vit(form: str, folder: Path, vision: dict[str, Any], quick: bool) -> Published:
    """form: folder, safetensors, bin (both in that folder), tower.safetensors, checkpoint.pt (as training writes it, alone)."""
    model, config = clip(vision, quick)
    features = patch_tokens(model)
    heads = vision["width"] // vision.get("head_width", 64)
    unsaid = {"vit.heads": heads, "vit.quick_gelu": quick, "vit.pixels": {"mean": MEAN, "std": STD}}
    if form == "checkpoint.pt":
        state = {"epoch": 3, "name": "run", "state_dict": {f"module.{name}": value for name, value in model.state_dict().items()}}
        torch.save(state | {"optimizer": {"state": {0: {"step": torch.ones(())}}, "param_groups": [{"lr": 1e-3}]}}, folder / form)
        return Published(str(folder / form), features, unsaid)
    if form == "tower.safetensors":
        save_file(model.visual.state_dict(), folder / form)
        return Published(str(folder / form), features, unsaid)
    save_for_hf(model, NoTokenizer(), config, folder, safe_serialization="both")
    names = {"folder": "", "safetensors": "open_clip_model.safetensors", "bin": "open_clip_pytorch_model.bin"}
    return Published(str(folder / names[form]), features, {})


def timm_vit(form: str, folder: Path, small: bool, quick: bool) -> Published:
    """form: folder, alone.safetensors, alone.pth. timm's CLIP ViT-B/16, or one of the same class with small numbers, which no folder
    describes."""
    name = f"vit_base_patch16_clip_{'quickgelu_' if quick else ''}224"
    sizes = {"img_size": 42, "patch_size": 14, "embed_dim": 32, "depth": 3, "num_heads": 4} if small else {}
    model = stirred(timm.create_model(name, num_classes=8, **sizes))
    features = lambda pixels: model.forward_features(pixels)[:, 1:]  # noqa: E731
    if form == "folder":
        timm.models.save_for_hf(model, str(folder), safe_serialization="both", data_config={"mean": MEAN, "std": STD})
        return Published(str(folder), features, {})
    unsaid = {"vit.heads": 4 if small else 12, "vit.quick_gelu": quick, "vit.pixels": {"mean": MEAN, "std": STD}}
    path = folder / form
    save_file(model.state_dict(), path) if path.suffix == ".safetensors" else torch.save(model.state_dict(), path)
    return Published(str(path), features, unsaid)


def transformers_vit(form: str, folder: Path, small: bool, quick: bool) -> Published:
    """form: clip, vision (the tower's own class), sharded, bin."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPVisionConfig, CLIPVisionModel

    sizes = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 42}
    vision = CLIPVisionConfig(
        hidden_act="quick_gelu" if quick else "gelu", patch_size=14 if small else 16, projection_dim=8, **(sizes if small else {})
    )
    text = CLIPTextConfig(vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, eos_token_id=2)
    whole = stirred(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)))
    tower = whole.vision_model
    if form == "vision":
        tower = stirred(CLIPVisionModel(vision))
        tower.save_pretrained(folder)
    else:
        whole.save_pretrained(folder, max_shard_size="20KB" if form == "sharded" and small else "100MB" if form == "sharded" else "50GB")
    if form == "bin":
        (folder / "model.safetensors").unlink()
        torch.save(whole.state_dict(), folder / "pytorch_model.bin")
    CLIPImageProcessor(image_mean=list(MEAN), image_std=list(STD)).save_pretrained(folder)

    def features(pixels: Tensor) -> Tensor:
        return tower.post_layernorm(tower(pixels).last_hidden_state)[:, 1:]

    return Published(str(folder), features, {})


def open_clip_convnext(form: str, folder: Path, model_name: str) -> Published:
    """form: folder, safetensors, bin."""
    vision = {"timm_model_name": model_name, "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear", "image_size": 64}
    model, config = clip(vision, quick=False)
    save_for_hf(model, NoTokenizer(), config, folder, safe_serialization="both")
    names = {"folder": "", "safetensors": "open_clip_model.safetensors", "bin": "open_clip_pytorch_model.bin"}
    return Published(str(folder / names[form]), stage_outputs(model.visual.trunk), {})


def timm_convnext(form: str, folder: Path, model_name: str) -> Published:
    """form: folder, alone.safetensors, alone.pth."""
    model = stirred(timm.create_model(model_name, num_classes=8))
    if form == "folder":
        timm.models.save_for_hf(model, str(folder), safe_serialization="both", data_config={"mean": MEAN, "std": STD})
        return Published(str(folder), stage_outputs(model), {})
    path = folder / form
    save_file(model.state_dict(), path) if path.suffix == ".safetensors" else torch.save(model.state_dict(), path)
    return Published(str(path), stage_outputs(model), {"convnext.pixels": {"mean": MEAN, "std": STD}})


def both_libraries(folder: Path, name: str) -> None:
    """A repository as the hub has them: open_clip's files and timm's beside each other."""
    open_clip_vit("folder", folder, SMALL_VISION, quick=True)
    card = {"architecture": name, "num_classes": 8, "pretrained_cfg": {"mean": [0.1] * 3, "std": [0.1] * 3}}
    (folder / "config.json").write_text(json.dumps(card), encoding="utf-8")
    timm_vit("alone.safetensors", folder, small=True, quick=False)
    (folder / "alone.safetensors").rename(folder / "model.safetensors")
