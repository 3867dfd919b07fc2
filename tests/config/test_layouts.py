"""How published tensors get the names they have here."""

from __future__ import annotations

import pytest

from fila_lab.config import ConfigError
from fila_lab.config.layouts import joined_shape, reading

ATTENTION = [f"vision_model.encoder.layers.0.self_attn.{name}_proj.weight" for name in "kqv"]
VISION = ["vision_model.pre_layrnorm.weight", "vision_model.embeddings.position_ids", "logit_scale", "text_model.pre.weight"]


def test_queries_keys_and_values_are_joined_in_this_order_and_only_together() -> None:
    read = reading("vit", [*ATTENTION, *VISION], "x")
    joined = tuple(f"vision_model.encoder.layers.0.self_attn.{name}_proj.weight" for name in "qkv")
    assert read.pieces["transformer.resblocks.0.attn.in_proj_weight"] == joined
    assert read.surplus == ()
    assert list(reading("vit", [*ATTENTION[:2], *VISION], "x").pieces) == ["ln_pre.weight"]


def test_what_stands_beside_a_tower_in_a_whole_model_is_not_its_own() -> None:
    names = ["visual.ln_pre.weight", "visual.proj", "visual.ls_1.gamma", "transformer.resblocks.0.ln_1.weight", "logit_scale"]
    read = reading("vit", names, "x")
    assert read.pieces == {"ln_pre.weight": ("visual.ln_pre.weight",), "ls_1.gamma": ("visual.ls_1.gamma",)}
    trunk = reading("convnext", ["visual.trunk.stem.0.weight", "visual.head.proj.weight", "visual.trunk.head.norm.weight"], "x")
    assert trunk.pieces == {"stem.0.weight": ("visual.trunk.stem.0.weight",)}


def test_a_tower_of_another_kind_and_two_of_one_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^x holds a ConvNeXt, named as timm names it; choose weights of this architecture, a ViT"):
        reading("vit", ["stem.0.weight"], "x")
    with pytest.raises(ConfigError, match=r"holds 2 towers of this kind, below 'one\.' and 'two\.'"):
        reading("vit", ["one.ln_pre.weight", "two.ln_pre.weight"], "x")


def test_what_this_package_writes_is_told_from_what_others_write() -> None:
    assert reading("vit", ["ln_pre.weight", "class_embedding"], "x").own
    assert not reading("vit", ["ln_pre.weight", "class_embedding", "proj"], "x").own  # open_clip's tower alone
    assert not reading("vit", ["visual.ln_pre.weight"], "x").own
    assert not reading("vit", VISION, "x").own


def test_a_batch_of_one_is_no_dimension() -> None:
    assert joined_shape("positional_embedding", [(1, 10, 32)]) == (10, 32)
    assert joined_shape("class_embedding", [(1, 1, 32)]) == (32,)
    assert joined_shape("conv1.weight", [(1, 3, 14, 14)]) == (1, 3, 14, 14)
    assert joined_shape("x", [(4, 2), (4, 2), (4, 2)]) == (12, 2)
