"""Shapes by closed form are those of the real classes, and files that do not fit are refused from their headers."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from fila_lab.config import ConfigError, load_preset, resolve_run
from fila_lab.config.checkpoints import check_checkpoints
from fila_lab.config.tower_shapes import sizes_of, tower_shapes
from fila_lab.config.weights import require_weights


def said(room: str, *names: str) -> dict[str, Any]:
    """`mini`'s own values of these fields, said beside weights."""
    values = getattr(load_preset("mini"), room).model_dump()
    return {f"{room}.{name}": values[name] for name in names}


RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}


@pytest.mark.parametrize(
    "sizes", [{}, {"vit.width": 48, "vit.mlp_ratio": 2, "convnext.conv_mlp": True}, {"convnext.depths": [2, 1, 1, 3], "vit.layers": 8}]
)
def test_shapes_are_those_of_the_real_classes(sizes: dict, tmp_path: Path) -> None:
    from fila_lab.modeling.towers import build_convnext, build_vit

    config = resolve_run("mini", RANDOM, sizes)
    for room, tower in (("vit", build_vit(config)), ("convnext", build_convnext(config))):
        shapes = tower_shapes(room, config)
        assert {name: tuple(value.shape) for name, value in tower.trunk.state_dict().items()} == shapes
        said = config.model_dump()
        assert all(said[field.split(".")[0]][field.split(".")[1]] == value for field, value in sizes_of(room, shapes).items())


@pytest.mark.parametrize("seed", range(3))
def test_shipped_weights_fit(seed: int) -> None:
    check_checkpoints(resolve_run("mini", {"seed": seed}))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"vit.width": 48}, "vit.weights = 'package:mini_vit_0': class_embedding has shape [96], the configuration says [48]"),
        ({"vit.layers": 7}, "vit.weights = 'package:mini_vit_0' lacks 12 of"),
        ({"geometry.patch": 21, "geometry.tile": 42}, "positional_embedding has shape [10, 96], the configuration says [5, 96]"),
        ({"convnext.dims": [24, 48, 72, 100]}, "convnext.weights = 'package:mini_convnext_0': "),
        ({"language.layers": 5}, "language.weights = 'package:mini_answers_0' lacks"),
        ({"language.tokenizer": "characters"}, "embed_tokens.weight has shape [155, 96], the configuration says [99, 96]"),
        ({"language.weights": "/no/such/folder"}, "language.weights = '/no/such/folder': there is no such folder"),
        ({"language.weights": " "}, "language.weights = ' ' is no name"),
        ({"language.tokenizer": "a\0b"}, "is no name; give a folder, or a name on the hub"),
        (
            {"vit.weights": "open_clip:ViT-L-14-336/opnai"},
            "no such model and tag (did you mean 'ViT-L-14-336/openai'?); tags of ViT-L-14-336: openai",
        ),
        ({"vit.weights": "open_clip:ViT-L14-336/openai"}, "see open_clip.list_pretrained()"),
        ({"vit.weights": "open_clip:ViT-B-16"}, "tags of ViT-B-16: openai, "),
        ({"vit.weights": "open_clip:RN50/openai"}, "RN50/openai' is no ViT"),
        ({"convnext.weights": "timm:convnext_base.clip_laion2"}, "(did you mean 'convnext_base.clip_laion2b'?)"),
        ({"convnext.weights": "timm:convnext_base"}, "timm has no such pretrained ConvNeXt"),
        ({"convnext.weights": "timm:resnet50.a1_in1k"}, "timm has no such pretrained ConvNeXt"),
        ({"convnext.weights": "open_clip:ViT-B-16/openai"}, "ViT-B-16/openai' is no ConvNeXt"),
        ({"vit.weights": "open_clip:ViT-L-14-CLIPA/datacomp1b"}, "(no_ln_pre)"),
        (
            {"convnext.weights": "timm:convnext_tiny_hnf.a2h_in1k", **said("convnext", "depths", "dims", "conv_mlp")},
            "use --set convnext.depths=[3,3,9,3] --set convnext.dims=[96,192,384,768] --set convnext.conv_mlp=true",
        ),
        (
            {"vit.weights": "open_clip:ViT-B-16/openai", **said("geometry", "tile", "patch"), **said("vit", "quick_gelu")},
            "--set vit.quick_gelu=true --set geometry.patch=16 --set geometry.tile=224",
        ),
        ({"language.tokenizer": "./none"}, "language.tokenizer = './none': there is no such folder"),
    ],
)
def test_what_does_not_fit_is_refused(overrides: dict, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_checkpoints(resolve_run("mini", overrides))
    assert words in str(error.value)


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_cut_file_is_refused(tmp_path: Path, cut: int) -> None:
    import torch

    path = tmp_path / "vit.safetensors"
    save_file({"class_embedding": torch.zeros(64)}, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ConfigError, match="cannot be read as safetensors"):
        check_checkpoints(resolve_run("mini", {"vit.weights": str(path)}))


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt"])
@pytest.mark.parametrize("room", ["vit", "convnext", "language"])
def test_quantised_weights_are_refused_from_the_header(room: str, name: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    if room == "language" and name == "x.pt":
        pytest.skip("its parts are read from safetensors alone")
    mini = load_preset("mini")
    own = require_weights(f"{room}.weights", getattr(mini, room).weights)
    assert own is not None
    state = load_file(own)
    whole = next(key for key, value in state.items() if value.ndim == 2)
    state[whole] = state[whole].to(torch.int8)
    path = tmp_path / name
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    with pytest.raises(ConfigError, match=rf"{room}\.weights = .*: {whole} is int8; give unquantised weights"):
        check_checkpoints(resolve_run("mini", {f"{room}.weights": str(path)}, said("vit", "heads", "quick_gelu") if room == "vit" else {}))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no weights in it; give the path of the file"),
        ({"a.pt": "", "b.pt": ""}, "several weights in it (a.pt, b.pt); give the path of the file"),
        ({"config.json": {"model_type": "siglip"}, "model.safetensors": ""}, "is no ViT of the kind that is read here (model_type siglip)"),
        ({"config.json": [], "model.safetensors": ""}, "its config.json is no mapping"),
        ({"config.json": {"model_type": "clip_vision_model", "hidden_act": "relu"}, "model.safetensors": ""}, "(hidden_act relu)"),
        ({"open_clip_config.json": {"model_cfg": {"vision_cfg": {"layers": [3, 4]}}}, "open_clip_model.safetensors": ""}, "is no ViT"),
        ({"open_clip_config.json": {}, "open_clip_model.safetensors": ""}, "is no ViT"),
        ({"model.safetensors.index.json": {"weight_map": {"a": "1.safetensors"}}}, "lacks 1 of the 1 files that model.safetensors.ind"),
        ({"model.safetensors.index.json": {"weight_map": {"a": "../x.safetensors"}}}, "names '../x.safetensors', outside its folder"),
        ({"model.safetensors.index.json": {"weight_map": {"a": "/x.safetensors"}}}, "names '/x.safetensors', outside its folder"),
        ({"model.safetensors.index.json": {"weight_map": {}}}, "has an index (model.safetensors.index.json) that names no file"),
        ({"open_clip_model.safetensors": "cut"}, "cannot be read as safetensors"),
        ({"open_clip_pytorch_model.bin": "cut"}, "cannot be read as weights alone"),
    ],
)
def test_a_towers_folder_that_cannot_be_read_is_refused(files: dict[str, Any], words: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        check_checkpoints(resolve_run("mini", {"vit.weights": str(tmp_path)}))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_language_model_of_other_sizes(tmp_path: Path) -> None:
    import torch

    overrides = {"language.weights": str(tmp_path), "language.width": 96}
    with pytest.raises(ConfigError, match=r"no readable config\.json"):
        check_checkpoints(resolve_run("mini", overrides))
    sizes = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 256, "vocab_size": 50}
    (tmp_path / "config.json").write_text(json.dumps(sizes), encoding="utf-8")
    with pytest.raises(ConfigError, match="no weights in it"):
        check_checkpoints(resolve_run("mini", overrides))
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match=r"use --set language\.width=64$"):
        check_checkpoints(resolve_run("mini", overrides))
    with pytest.raises(ConfigError, match=r"has 155 tokens, and .* knows 50"):
        check_checkpoints(resolve_run("mini", overrides, {"language.width": 64}))


@pytest.mark.parametrize(("field", "value"), [("vit.layers", 5), ("convnext.depths", [1, 1, 2, 1])])
def test_a_file_with_more_layers_than_the_run_is_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=r"has, more than the configuration, \d+ tensors, e\.g\. (transformer|stages)"):
        check_checkpoints(resolve_run("mini", {field: value}))


@pytest.mark.parametrize("preset", ["base", "paper"])
def test_presets_say_what_their_tags_say(preset: str) -> None:
    check_checkpoints(resolve_run(preset))
    other = not resolve_run(preset).vit.quick_gelu
    with pytest.raises(ConfigError, match=r"another tower than the configuration says; use --set vit\.quick_gelu=true$"):
        check_checkpoints(resolve_run(preset, {"vit.quick_gelu": other}))


def saved(folder: Path, kind: str = "llama", **tokens: Any) -> dict[str, Any]:
    """A model's folder with a tokenizer, as far as a plan reads them, and the fields of `language` that fit it."""
    import torch

    sizes = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 256, "vocab_size": 50}
    (folder / "config.json").write_text(json.dumps(sizes | {"model_type": kind}), encoding="utf-8")
    save_file({"weight": torch.zeros(2)}, folder / "model.safetensors")
    vocabulary = {"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": [{"id": tokens.get("highest", 49)}]}
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": tokens.get("end", "b")}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    architecture = {"language.architecture": tokens["architecture"]} if "architecture" in tokens else {}
    return {"language.weights": str(folder), "language.tokenizer": str(folder), "language.width": 64, **architecture}


def test_a_folder_that_fits(tmp_path: Path) -> None:
    for kind in ("llama", "mistral"):  # what has no name of its own in `architecture` goes by either
        check_checkpoints(resolve_run("mini", saved(tmp_path, kind)))


def spoil_index(folder: Path) -> None:
    shards = {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}), encoding="utf-8")


def spoil_pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def spoil_types(folder: Path) -> None:
    import torch

    state = {"a.weight": torch.ones(2, dtype=torch.int8), "attn.bias": torch.ones(2, dtype=torch.bool)}
    save_file({**state, "b.qweight": torch.ones(2, dtype=torch.int8)}, folder / "model.safetensors")


def spoil_card(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(content | {"quantization_config": {"bits": 4}}), encoding="utf-8")


def spoil_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("tokens", "spoil", "words"),
    [
        (
            {"architecture": "llama"},
            partial(saved, kind="qwen2"),
            "model of another architecture than `language` says; use --set language.architecture=qwen2",
        ),
        ({"highest": 50}, None, "has 51 tokens, and language.weights = "),
        ({"end": None}, None, "has no end token"),
        ({}, spoil_index, "lacks 2 of the 2 files that model.safetensors.index.json names, e.g. model-1-of-2.safetensors"),
        ({}, spoil_types, "weight is int8; give unquantised weights"),
        ({}, spoil_card, "is quantised (quantization_config of its config.json); give unquantised weights"),
        ({}, spoil_tokenizer, "no tokenizer in it"),
        ({}, lambda folder: (folder / "model.safetensors").write_bytes(b"cut"), "model.safetensors cannot be read as safetensors"),
        ({}, spoil_pickled, "pytorch_model.bin cannot be read as weights alone"),
        ({}, lambda folder: (folder / "tokenizer.json").write_text("{", encoding="utf-8"), "no readable tokenizer.json"),
        ({}, lambda folder: (folder / "config.json").write_text("[]", encoding="utf-8"), "its config.json is no mapping"),
    ],
)  # fmt: skip
def test_folders_that_do_not_fit(tmp_path: Path, tokens: dict, spoil: Any, words: str) -> None:
    overrides = saved(tmp_path, **tokens)
    if spoil is not None:
        spoil(tmp_path)
    with pytest.raises(ConfigError) as error:
        check_checkpoints(resolve_run("mini", overrides))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_sizes_are_found_under_the_names_of_other_families(tmp_path: Path) -> None:
    overrides = saved(tmp_path, "gpt2") | said("language", "width", "layers", "heads")
    (tmp_path / "config.json").write_text(json.dumps({"n_embd": 32, "n_layer": 2, "n_head": 8, "vocab_size": 50}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"use --set language\.width=32 --set language\.layers=2 --set language\.heads=8$"):
        check_checkpoints(resolve_run("mini", overrides))
    nested = {"model_type": "gemma3", "text_config": {"hidden_size": 128, "vocab_size": 50}}
    (tmp_path / "config.json").write_text(json.dumps(nested), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"use --set language\.width=128$"):
        check_checkpoints(resolve_run("mini", overrides))
