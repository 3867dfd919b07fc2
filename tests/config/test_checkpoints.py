"""Shapes by closed form are those of the real classes, and files that do not fit are refused from their headers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

from fila_lab.config import ConfigError, resolve_run
from fila_lab.config.checkpoints import _convnext, _vit, check_checkpoints

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}


@pytest.mark.parametrize(
    "sizes", [{}, {"vit.width": 32, "vit.mlp_ratio": 2, "convnext.conv_mlp": True}, {"convnext.depths": [2, 1, 1, 3], "vit.layers": 8}]
)
def test_shapes_are_those_of_the_real_classes(sizes: dict, tmp_path: Path) -> None:
    from fila_lab.modeling.towers import build_convnext, build_vit

    config = resolve_run("mini", RANDOM, sizes)
    for tower, shapes in ((build_vit(config), _vit(config)), (build_convnext(config), _convnext(config))):
        assert {name: tuple(value.shape) for name, value in tower.trunk.state_dict().items()} == shapes


@pytest.mark.parametrize("preset", ["mini", "mini_families"])
def test_shipped_weights_fit(preset: str) -> None:
    check_checkpoints(resolve_run(preset))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"vit.width": 32}, "vit.weights = 'package:mini_vit': class_embedding has shape [64], the configuration says [32]"),
        ({"vit.layers": 7}, "vit.weights = 'package:mini_vit' lacks 12 of"),
        ({"geometry.patch": 21, "geometry.tile": 42}, "positional_embedding has shape [10, 64], the configuration says [5, 64]"),
        ({"convnext.dims": [24, 48, 72, 100]}, "convnext.weights = 'package:mini_convnext': "),
        ({"language.layers": 4}, "language.weights = 'package:mini_answers' lacks"),
        ({"language.tokenizer": "words"}, "embed_tokens.weight has shape [99, 96], the configuration says [155, 96]"),
        ({"language.weights": "/no/such/folder"}, "language.weights = '/no/such/folder': there is no such folder"),
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


def test_a_language_model_of_other_sizes(tmp_path: Path) -> None:
    overrides = {"language.weights": str(tmp_path)}
    with pytest.raises(ConfigError, match=r"no readable config\.json"):
        check_checkpoints(resolve_run("mini", overrides))
    sizes = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 256, "vocab_size": 50}
    (tmp_path / "config.json").write_text(json.dumps(sizes), encoding="utf-8")
    with pytest.raises(ConfigError, match="no weights in it"):
        check_checkpoints(resolve_run("mini", overrides))
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ConfigError, match=r"use --set language\.width=64$"):
        check_checkpoints(resolve_run("mini", overrides))
    with pytest.raises(ConfigError, match=r"has 99 tokens, and .* knows 50"):
        check_checkpoints(resolve_run("mini", overrides, {"language.width": 64}))


@pytest.mark.parametrize(("field", "value"), [("vit.layers", 5), ("convnext.depths", [1, 1, 2, 1])])
def test_a_file_with_more_layers_than_the_run_is_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=r"has, more than the configuration, \d+ tensors, e\.g\. (transformer|stages)"):
        check_checkpoints(resolve_run("mini", {field: value}))
