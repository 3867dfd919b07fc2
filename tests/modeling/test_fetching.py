"""What the hub's cache holds is loaded without a word to the network; what it lacks is said with the command that gets it."""

from __future__ import annotations

import io
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published import open_clip_vit, timm_convnext, transformers_vit
from transformers import AutoTokenizer

from fila_lab.config import FilaError, MachineError, resolve_run
from fila_lab.config.checkpoints import check_checkpoints
from fila_lab.modeling import build_convnext, build_vit
from fila_lab.modeling.language import build_tokenizer, character_tokenizer

Hub = Callable[[str], Path]
ALONE = {"fusion.name": "none", "language.weights": "random"}


def test_a_name_on_the_hub(hub: Hub) -> None:
    published = transformers_vit("clip", hub("owner/clip"), small=True, quick=True)
    config = resolve_run("mini", {"vit.weights": "hf:owner/clip", **ALONE, "geometry.canvases": [[84, 84]]})
    check_checkpoints(config)
    pixels = torch.randn(1, 3, 42, 42)
    with torch.no_grad():
        torch.testing.assert_close(build_vit(config).eval()(pixels), published.features(pixels), rtol=1e-5, atol=1e-5)


def test_a_tag_of_timm(hub: Hub, tmp_path: Path) -> None:
    published = timm_convnext("alone.safetensors", tmp_path, "convnext_atto")
    shutil.move(published.weights, hub("timm/convnext_atto.d2_in1k") / "model.safetensors")
    config = resolve_run("mini", {"convnext.weights": "timm:convnext_atto.d2_in1k", **ALONE})
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(build_convnext(config).eval()(pixels), published.features(pixels), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_tag_of_open_clip(hub: Hub) -> None:
    vision = {"image_size": 224, "layers": 12, "width": 768, "patch_size": 16}
    published = open_clip_vit("bin", hub("timm/vit_base_patch16_clip_224.openai"), vision, quick=True)
    for name in ("open_clip_model.safetensors", "open_clip_config.json"):
        os.remove(Path(published.weights).parent / name)
    config = resolve_run("base", ALONE, {"convnext.weights": "random"})
    pixels = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        vit = build_vit(config.model_copy(update={"vit": config.vit.model_copy(update={"feature_layer": -1})}))
        torch.testing.assert_close(vit.eval()(pixels), published.features(pixels), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("here", [True, False])
def test_a_tokenizer_is_looked_for_here_before_anybody_is_asked(here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str, local_files_only: bool = False) -> object:
        asked.append(local_files_only)
        if local_files_only and not here:
            raise OSError("not in the cache")
        return character_tokenizer()

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", load)
    build_tokenizer(resolve_run("mini", {"language.tokenizer": "owner/words"}).language)
    assert asked == ([True] if here else [True, False])


def test_attempts_of_the_hubs_library_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five lines of its own stood before ours on a machine without a network."""
    hub, said = logging.getLogger("huggingface_hub"), io.StringIO()
    listener = logging.StreamHandler(said)

    def load(name: str, local_files_only: bool = False) -> object:
        if not local_files_only:
            logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
        raise OSError("no network")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", load)
    hub.addHandler(listener)
    before = hub.level
    try:
        with pytest.raises(MachineError, match=r"hf download owner/words"):
            build_tokenizer(resolve_run("mini", {"language.tokenizer": "owner/words"}).language)
    finally:
        hub.removeHandler(listener)
    assert not said.getvalue()
    assert hub.level == before


@pytest.mark.parametrize(
    ("room", "spec", "command"),
    [
        ("vit", "open_clip:ViT-B-16/openai", "hf download timm/vit_base_patch16_clip_224.openai open_clip_model.safetensors"),
        ("vit", "hf:owner/clip", "hf download owner/clip"),
        ("convnext", "timm:convnext_atto.d2_in1k", "hf download timm/convnext_atto.d2_in1k model.safetensors"),
    ],
)
def test_what_is_neither_here_nor_to_be_had(room: str, spec: str, command: str, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    small = {"vit.width": 32, "vit.heads": 4, "vit.layers": 3, "geometry.patch": 14, "geometry.tile": 42}
    config = resolve_run("mini", {f"{room}.weights": spec, **ALONE, **small})
    with pytest.raises(MachineError) as refused:
        build_vit(config) if room == "vit" else build_convnext(config)
    assert f"fill the hub cache on a machine with a network (`{command}" in str(refused.value)
    assert "names no repository" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.kind == "weights absent"  # nothing of the cell: it is left undone


def test_a_tokenizer_that_is_not_to_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(name: str, **_: object) -> object:
        raise OSError("offline")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", load)
    language = resolve_run("mini").language
    with pytest.raises(MachineError, match=r"`hf download owner/words`"):
        build_tokenizer(language.model_copy(update={"tokenizer": "owner/words"}))
    with pytest.raises(FilaError) as refused:
        build_tokenizer(language.model_copy(update={"tokenizer": str(tmp_path)}))
    assert not isinstance(refused.value, MachineError)
