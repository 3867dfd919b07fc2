"""What weights say of themselves takes the place of what was said of other weights, and of nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fila_lab.config import ConfigError, load_preset, resolve_run
from fila_lab.config.checkpoints import check_checkpoints

CANVASES = {"geometry.canvases": [[448, 448]]}
L14 = {"vit.weights": "open_clip:ViT-L-14/openai"}


def towers(preset: str, *layers: dict[str, Any]) -> tuple[Any, ...]:
    vit = resolve_run(preset, *layers).vit
    return vit.width, vit.layers, vit.heads, vit.quick_gelu


def test_a_presets_sizes_give_way_to_those_of_the_weights_that_a_layer_names() -> None:
    config = resolve_run("base", L14, CANVASES)
    assert (config.vit.width, config.vit.layers, config.vit.heads, config.vit.quick_gelu) == (1024, 24, 16, True)
    assert (config.geometry.tile, config.geometry.patch, config.geometry.grid) == (224, 14, 16)
    check_checkpoints(config)
    convnext = resolve_run("base", {"convnext.weights": "open_clip:convnext_large_d_320/laion2b_s29b_b131k_ft"}).convnext
    assert (convnext.depths, convnext.dims) == ((3, 3, 27, 3), (192, 384, 768, 1536))
    assert resolve_run("base", {"convnext.weights": "open_clip:convnext_xxlarge/laion2b_s34b_b82k_augreg"}).convnext.norm_eps == 1e-5


def test_what_stands_beside_the_weights_or_above_them_is_refused_where_it_differs() -> None:
    for layers in ([{**L14, "vit.heads": 8}], [L14, {"vit": {"heads": 8}}]):
        config = resolve_run("base", *layers, CANVASES)
        assert config.vit.heads == 8
        with pytest.raises(ConfigError, match=r"another tower than the configuration says; use --set vit\.heads=16$"):
            check_checkpoints(config)
    assert towers("base", {"vit.heads": 12}, L14) == (1024, 24, 16, True)


def test_a_preset_of_ones_own_is_a_layer_like_others(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("extends: base\nvit: {weights: 'open_clip:ViT-L-14/openai'}\n", encoding="utf-8")
    assert towers(str(tmp_path / "own.yaml")) == (1024, 24, 16, True)
    assert towers(str(tmp_path / "own.yaml"), {"vit.weights": "open_clip:ViT-H-14/laion2b_s32b_b79k"}) == (1280, 32, 16, False)


@pytest.mark.parametrize("preset", ["mini", "base", "paper"])
def test_a_layer_that_names_a_presets_own_weights_changes_nothing(preset: str) -> None:
    shipped = load_preset(preset)
    own = {f"{room}.weights": getattr(shipped, room).weights for room in ("vit", "convnext", "language")}
    assert resolve_run(preset, own) == shipped.model_copy(update={"tower_pairs": ()})


def test_tiles_are_of_the_images_the_vit_knows_unless_its_positions_are_resampled() -> None:
    with pytest.raises(ConfigError, match=r"336x672 is not a whole number of tiles of 224 px.* \(geometry\.tile = 224 is that of vit\.w"):
        resolve_run("paper", L14)
    assert resolve_run("paper", L14, {"vit.positions": "interpolate"}).geometry.tile == 336
    with pytest.raises(ConfigError, match=r"use --set geometry\.tile=224$"):
        check_checkpoints(resolve_run("paper", {**L14, "geometry.tile": 336}))
    check_checkpoints(resolve_run("paper", {**L14, "geometry.tile": 336, "vit.positions": "interpolate"}))


def test_a_file_that_tells_neither_heads_nor_activation_must_be_told(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "clip.pt"
    torch.save({"ln_pre.weight": torch.zeros(48)}, path)
    with pytest.raises(ConfigError, match=r"does not tell vit\.heads and vit\.quick_gelu.*--set vit\.heads=6 --set vit\.quick_gelu=false$"):
        resolve_run("mini", {"vit.weights": str(path)})
    said = {"vit.heads": 4, "vit.quick_gelu": False}
    assert resolve_run("mini", {"vit.weights": str(path), **said}).vit.heads == 4
    assert resolve_run("mini", {"vit.weights": str(path)}, said).vit.heads == 4


def test_a_file_of_other_sizes_than_the_presets_has_other_heads_too_for_all_that_is_known(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from fila_lab.modeling.towers import build_vit

    sizes = {"vit.width": 64, "vit.heads": 4}
    save_file(build_vit(resolve_run("mini", {"vit.weights": "random"}, sizes)).trunk.state_dict(), tmp_path / "vit.safetensors")
    other = {"vit.weights": str(tmp_path / "vit.safetensors")}
    with pytest.raises(ConfigError, match=r"does not tell vit\.heads and vit\.quick_gelu"):
        resolve_run("mini", other)
    assert resolve_run("mini", {**other, "vit.heads": 4, "vit.quick_gelu": False}).vit.width == 64
    assert resolve_run("mini", {**other, **sizes}) == resolve_run("mini", other, sizes)


def test_a_missing_file_is_the_plans_to_refuse() -> None:
    config = resolve_run("mini", {"vit.weights": "/nowhere/clip.pt", "convnext.weights": "/nowhere/folder"})
    with pytest.raises(ConfigError, match=r"the weights file /nowhere/clip\.pt is missing"):
        check_checkpoints(config)
    with pytest.raises(ConfigError, match=r"convnext\.weights = '/nowhere/folder': there is no such folder; .*hf:OWNER/NAME"):
        check_checkpoints(resolve_run("mini", {"convnext.weights": "/nowhere/folder"}))


def test_a_language_models_sizes_are_its_own(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "num_hidden_layers": 5, "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 100}
    (tmp_path / "config.json").write_text(json.dumps(sizes | {"model_type": "qwen2"}), encoding="utf-8")
    language = resolve_run("mini", {"language.weights": str(tmp_path)}).language
    assert (language.architecture, language.width, language.layers, language.heads, language.kv_heads) == ("qwen2", 64, 5, 8, 2)
    (tmp_path / "config.json").write_text(json.dumps(sizes | {"num_key_value_heads": 8}), encoding="utf-8")
    assert resolve_run("mini", {"language.weights": str(tmp_path)}).language.kv_heads is None


def test_new_fields_stand_in_no_record_that_does_not_use_them() -> None:
    config = load_preset("mini")
    for room in (config.vit, config.convnext):
        assert not {"positions", "pixels", "norm_eps"} & set(room.model_dump())
        assert "pixels" in room.model_dump(context={"whole": True})
    said = resolve_run("mini", {"vit.positions": "interpolate", "convnext.norm_eps": 1e-5})
    assert said.model_dump()["vit"]["positions"] == "interpolate"
    assert said.model_dump()["convnext"]["norm_eps"] == 1e-5
    with pytest.raises(ConfigError, match=r"std=\[0\.5, 0\.5, 0\.0\] is no standard deviation"):
        resolve_run("mini", {"vit.pixels": {"mean": [0.5] * 3, "std": [0.5, 0.5, 0.0]}})
