"""Every parameter belongs to one part, and a stage's entries name what they say, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fila_lab.config import ConfigError, RunConfig, resolve_run
from fila_lab.config.parameter_names import parameter_names
from fila_lab.config.stages import PARTS
from fila_lab.modeling import build_model
from fila_lab.modeling.parts import entries, part_of


@pytest.mark.parametrize("fusion", [{"name": "none"}, {"name": "concat"}, {"name": "mini_gemini", "handoff": "append"}])
def test_every_parameter_is_of_one_part_but_those_that_are_never_run(fusion: dict[str, str], make_config: Callable[..., RunConfig]) -> None:
    model = build_model(make_config(**fusion))
    parts = model.parts()
    assert list(parts) == list(PARTS)
    named = {name: parameter for own in parts.values() for name, parameter in own}
    assert sum(map(len, parts.values())) == len(named)
    idle = {id(parameter) for parameter in model.encoder.vit.unused_parameters()}
    assert {id(parameter) for parameter in named.values()} == {id(parameter) for parameter in model.parameters()} - idle
    assert bool(parts["fusion"]) == (fusion["name"] != "none")
    assert all(part_of(name) == part for part, own in parts.items() for name, _ in own)


def test_entries_name_parts_and_patterns(make_config: Callable[..., RunConfig]) -> None:
    model = build_model(make_config())
    parts = model.parts()
    found = entries(parts, ["projector", "encoder.vit.trunk.transformer.resblocks.5.*"], "train.stages.0")
    assert [name for name, _ in found["projector"]] == [name for name, _ in parts["projector"]]
    blocks = found["encoder.vit.trunk.transformer.resblocks.5.*"]
    own = dict(model.encoder.vit.trunk.transformer.resblocks[5].named_parameters())
    assert len(blocks) == len(own)
    assert all(torch.equal(value, own[name.rpartition("resblocks.5.")[2]]) for name, value in blocks)


def test_what_names_nothing_or_one_parameter_twice_is_refused(make_config: Callable[..., RunConfig]) -> None:
    parts = build_model(make_config("none")).parts()
    with pytest.raises(ConfigError, match=r"stages\.0\.trains: no parameter is called 'encoder\.vit\.blocks\.\*'; they are called"):
        entries(parts, ["encoder.vit.blocks.*"], "train.stages.0")
    with pytest.raises(ConfigError, match=r"named by 'projector' and by '\*\.bias'; name each parameter once"):
        entries(parts, ["projector", "*.bias"], "train.stages.0")
    with pytest.raises(ConfigError, match=r"trains = \[fusion\]: this run has none of them, so nothing would train"):
        entries(parts, ["fusion"], "train.stages.0")
    assert entries(parts, ["fusion", "projector"], "train.stages.0")["fusion"] == []


RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}


@pytest.mark.parametrize(
    "named",
    [
        {"vit.feature_layer": -2, "fusion.name": "none"},
        {"fusion.name": "concat", "fusion.depth": [[1, 2], [2, 2], [4, 4]], "projector.kind": "pixel_shuffle", "projector.factor": 3},
        {"fusion.name": "mini_gemini", "fusion.depth": "after", "fusion.handoff": "append", "projector.kind": "linear"},
        {"fusion.name": "none", "fusion.handoff": "replace", "language.architecture": "qwen2"},
        {"language.lora": {"rank": 2, "alpha": 4, "targets": ["q_proj", "down_proj"]}},
    ],
)
def test_names_that_are_known_without_the_model_are_the_models(named: dict[str, Any]) -> None:
    config = resolve_run("mini", RANDOM, named)
    own = {part: {name for name, _ in found} for part, found in build_model(config).parts().items()}
    for part, known in parameter_names(config).items():
        assert set(known.sure) <= own[part]
        others = own[part] - set(known.sure) - set(known.perhaps)
        assert all(name.startswith(known.below) for name in others)
        assert all(any(name.startswith(head) for name in others) for head in known.below)
        assert bool(own[part]) == bool(known.sure or known.below)


@pytest.mark.slow
def test_of_an_adapted_language_model_the_adapters_are_what_can_train(make_config: Callable[..., RunConfig]) -> None:
    model = build_model(make_config(language={"lora": {"rank": 2, "alpha": 4}}))
    adapters = {name for name, _ in model.parts()["language"]}
    assert adapters
    assert adapters == {name for name, value in model.named_parameters() if name.startswith("language.") and value.requires_grad}
    model.let_train(name for name, _ in entries(model.parts(), ["projector"], "train.stages.0")["projector"])
    assert not any(value.requires_grad for value in model.language.parameters())
    assert {name for name, _ in model.parts()["language"]} == adapters  # whether they do train now or not
