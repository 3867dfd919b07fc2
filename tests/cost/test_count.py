"""Counts of the real classes against published figures and against the closed forms that planning uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import nn

from fila_lab.config import FUSIONS, ConvNextConfig, FusionConfig, RunConfig, resolve_run
from fila_lab.config.counts import vision_tokens
from fila_lab.config.fusion_points import component_name
from fila_lab.config.strategies import looks_across
from fila_lab.cost import build_subject, count, count_flops, count_parameters, largest_canvas
from fila_lab.cost.closed.components import component_costs, training_flops
from fila_lab.cost.closed.fusion import fusion_point_costs
from fila_lab.cost.closed.parts import TEXT_TOKENS, language_cost, language_token_cost
from fila_lab.cost.count import count_components, count_language, count_new_token, flops_of, kept_bytes
from fila_lab.modeling import ConvNextTower, VitTower


def slow(fields: dict[str, object]) -> Any:
    """A case that `make test-slow` counts."""
    return pytest.param(fields, marks=pytest.mark.slow)


@pytest.fixture
def on_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are counted while they compute, which takes `mini` a fifth of the time of shapes alone."""

    @contextmanager
    def built(config: RunConfig) -> Iterator[Any]:
        yield build_subject(config)

    monkeypatch.setattr(count, "_shapes_of", built)


CONTROLS = get_args(get_args(FusionConfig.model_fields["control"].annotation)[0])


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def norm_flops(module: nn.Module, function: Callable[[], Any]) -> int:
    """What fvcore, whose figures timm publishes, counts for layer norms, and we do not: 5 an element."""
    elements = [0]
    hooks = [
        part.register_forward_hook(lambda _, __, out: elements.append(out.numel()))
        for part in module.modules()
        if isinstance(part, nn.LayerNorm)
    ]
    function()
    for hook in hooks:
        hook.remove()
    return 5 * sum(elements)


def test_clip_vit_large_336_as_timm_counts_it() -> None:
    """timm: 304.53 M parameters, 191.11 GMACs, with a classifier of 1,000 classes that our trunk does not have."""
    config = resolve_run("paper", {"vit.feature_layer": -1})  # all 24 layers, as timm runs them
    with torch.device("meta"):
        tower = VitTower(config.vit, config.geometry)
        tile = torch.empty(1, 3, 336, 336)
    macs = flops_of(lambda: tower(tile)) / 2 + 1024 * 1000 + norm_flops(tower, lambda: tower(tile))
    assert parameters(tower) + 1025 * 1000 == pytest.approx(304.53e6, abs=5e3)
    assert macs == pytest.approx(191.11e9, abs=5e6)


@pytest.mark.parametrize(
    ("depths", "dims", "side", "hidden", "published", "macs"),
    [
        ((3, 3, 9, 3), (96, 192, 384, 768), 224, 0, 28.59e6, 4.47e9),
        ((3, 3, 27, 3), (128, 256, 512, 1024), 224, 0, 88.59e6, 15.38e9),
        ((3, 3, 27, 3), (192, 384, 768, 1536), 320, 1536, 200.13e6, 70.21e9),
    ],
)
def test_convnext_as_timm_counts_it(
    depths: tuple[int, int, int, int], dims: tuple[int, int, int, int], side: int, hidden: int, published: float, macs: float
) -> None:
    """timm's heads, which our trunk does not have: a norm, in `large_mlp` a hidden layer, a classifier of 1,000 classes."""
    with torch.device("meta"):
        tower = ConvNextTower(ConvNextConfig(depths=depths, dims=dims))
        image = torch.empty(1, 3, side, side)
    width = dims[-1]
    head = width * hidden + (hidden or width) * 1000
    assert parameters(tower) + head + 2 * width + hidden + 1000 == pytest.approx(published, abs=5e3)
    assert flops_of(lambda: tower(image)) / 2 + head + norm_flops(tower, lambda: tower(image)) == pytest.approx(macs, abs=5.1e6)


def test_attention_is_counted_whatever_the_backend() -> None:
    """The trap: PyTorch's fused CPU attention counts as nothing, 349 or even 233 instead of 382 GFLOPs for a tile of CLIP ViT-L/14-336."""
    counts = {
        backend: count_flops(resolve_run("paper", {"fusion.name": "none", "runtime.attention": backend, "language.layers": 1}), (336, 672))
        for backend in ("math", "flash", "auto")
    }
    shorter = resolve_run("paper", {"fusion.name": "none", "vit.layers": 23, "vit.feature_layer": -2, "language.layers": 1})
    layer = counts["math"] - count_flops(shorter, (336, 672))
    products, attention = 2 * 577 * 12 * 1024**2, 4 * 577**2 * 1024
    assert len(set(counts.values())) == 1
    assert layer == 3 * (products + attention)  # two tiles and the overview through one layer more


@pytest.mark.usefixtures("on_numbers")
@pytest.mark.parametrize(
    ("name", "cells"), [*((name, 3) for name in FUSIONS), *product(("concat", "cross_attention", "mini_gemini", "llava_hr"), (2, 4))]
)
def test_every_fusion_is_the_closed_form_exactly(name: str, cells: int) -> None:
    _agrees(resolve_run("mini", {"fusion.name": name, "geometry.detail_cells": cells}))


TWINS = [name for name in FUSIONS if looks_across(FusionConfig(name=name))]
OPTIONS = [
    slow({"name": "slice_restore", "options": {"parts": "local"}}),
    slow({"name": "slice_restore", "options": {"parts": "pooled", "pooled": 3}}),
    slow({"name": "tile_summary", "options": {"summaries": 1}}),
    {"name": "none", "handoff": "replace"},
]


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_costs_nearly_what_it_is_the_twin_of(name: str) -> None:
    for preset in ("mini", "paper"):
        runs = [resolve_run(preset, {"fusion.name": name, "fusion.reach": reach}) for reach in ("canvas", "tile")]
        costs, twins = (component_costs(config, largest_canvas(config))["fusion"] for config in runs)
        assert costs.parameters == twins.parameters
        assert twins.flops == pytest.approx(costs.flops, rel=0.15)


@pytest.mark.usefixtures("on_numbers")
@pytest.mark.slow
@pytest.mark.parametrize("name", TWINS)
def test_every_twin_is_the_closed_form_exactly(name: str) -> None:
    _agrees(resolve_run("mini", {"fusion.name": name, "fusion.reach": "tile"}))


@pytest.mark.usefixtures("on_numbers")
@pytest.mark.parametrize("fusion", OPTIONS, ids=lambda fusion: str(list(fusion.values())))
def test_every_option_is_the_closed_form_exactly(fusion: dict[str, object]) -> None:
    _agrees(resolve_run("mini", {"fusion": fusion}))


@pytest.mark.usefixtures("on_numbers")
@pytest.mark.parametrize("control", CONTROLS)
def test_every_control_is_the_closed_form_exactly(control: str) -> None:
    _agrees(resolve_run("mini", {"fusion.name": "concat", "fusion.control": control}))


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        ("base", "cross_attention"),
        ("paper", "none"),
        pytest.param("base", "none", marks=pytest.mark.slow),
        pytest.param("paper", "cross_attention", marks=pytest.mark.slow),
    ],
)
def test_the_large_presets_architectures_are_the_closed_form_exactly(preset: str, name: str) -> None:
    """Nothing is downloaded and no memory taken: the language model has its assumed vocabulary (and here fewer layers, to be quick)."""
    config = resolve_run(preset, {"fusion.name": name, "language.layers": 2})
    assert count_parameters(config)["parameters"] == sum(part.parameters for part in component_costs(config).values())
    assert count_flops(config) == sum(part.flops for part in component_costs(config, largest_canvas(config)).values())


@pytest.mark.usefixtures("on_numbers")
@pytest.mark.parametrize(
    "overrides",
    [
        {"fusion.name": "none"},
        {"fusion.name": "cross_attention"},
        {"fusion.name": "concat", "language.trainable": False},
        {"fusion.name": "addition", "vit.trainable": True, "convnext.trainable": True},
        {"fusion.name": "concat", "fusion.control": "oracle_map"},
        {"fusion.name": "concat", "runtime.checkpointing": True},
        {"fusion.name": "cross_attention_tile", "fusion.gate": True, "convnext.trainable": True},
        {"fusion.name": "cross_attention_neighbours", "fusion.combine": "concat", "convnext.trainable": True},
        {"fusion.name": "cross_tile", "fusion.depth": [[1, 2], [1, 4]]},
        {"fusion.name": "llava_hr", "fusion.depth": [[2, 3], [3, 3], [4, 3]], "vit.trainable": True},
        {"fusion.name": "mini_gemini", "fusion.depth": "after"},
        {"fusion.name": "mini_gemini", "fusion.depth": [[2, 3], [3, "after"]], "convnext.trainable": True, "runtime.checkpointing": True},
        {"fusion.name": "bidirectional", "fusion.depth": [[3, 2], [3, 4], [4, 4]], "fusion.handoff": "append"},
        {"fusion.name": "none", "fusion.handoff": "append", "convnext.trainable": True},
        {"fusion.name": "none", "projector.kind": "pixel_shuffle", "projector.factor": 3},
        slow({"fusion.name": "none", "fusion.handoff": "replace", "convnext.trainable": True}),
        slow({"fusion.name": "slice_restore", "fusion.reach": "tile"}),
        slow({"fusion.name": "shifted_window", "fusion.depth": [[1, 2], [1, 4]]}),
        slow({"fusion.name": "tile_summary", "fusion.depth": "last", "vit.trainable": True}),
    ],
)
def test_training_is_the_closed_form_exactly(overrides: dict[str, object]) -> None:
    """The backward pass is counted too, depth-wise convolutions included, whose gradient PyTorch's counter takes for a dense one's."""
    config = resolve_run("mini", overrides)
    assert count_flops(config, training=True) == training_flops(config, largest_canvas(config))


def test_shapes_alone_count_what_numbers_do(request: pytest.FixtureRequest) -> None:
    config = resolve_run("mini", {"fusion.name": "cross_attention", "vit.trainable": True, "convnext.trainable": True})
    shapes = count_flops(config, training=True)
    request.getfixturevalue("on_numbers")
    assert count_flops(config, training=True) == shapes


@pytest.fixture
def flops_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Activations have tests of their own, and take most of the time of a count."""
    monkeypatch.setattr(count, "kept_bytes", lambda *_: {})


@pytest.mark.usefixtures("flops_only")
def test_components_are_counted_apart_and_add_up() -> None:
    config = resolve_run("mini", {"fusion.name": "cross_attention"})
    canvas = largest_canvas(config)
    counts, closed = count_components(config), component_costs(config, canvas)
    for pair, cost in fusion_point_costs(config, canvas).items():
        assert (counts[component_name(*pair)].parameters, counts[component_name(*pair)].flops) == (cost.parameters, cost.flops)
    for name, part in (("vit", "vit"), ("convnext", "convnext"), ("projector", "projector"), ("language prefill", "language")):
        assert (counts[name].parameters, counts[name].flops) == (closed[part].parameters, closed[part].flops)
    assert counts["other"].flops == 0
    assert sum(part.flops for part in counts.values()) == count_flops(config)
    assert sum(part.trainable for part in counts.values()) == count_parameters(config)["trainable_parameters"]


@pytest.mark.usefixtures("flops_only")
def test_a_new_token_is_the_closed_form_exactly() -> None:
    for preset in ("mini", "base"):
        config = resolve_run(preset, {"language.layers": 2})
        assert count_new_token(config, 50) == language_token_cost(config.language, 50).flops
    config = resolve_run("mini")
    tokens = vision_tokens(largest_canvas(config), config) + TEXT_TOKENS
    prefill = count_language(config)["language prefill"]
    assert (prefill.parameters, prefill.flops) == (
        language_cost(config.language, tokens).parameters,
        language_cost(config.language, tokens).flops,
    )


def test_what_needs_no_gradient_keeps_nothing() -> None:
    """The frozen ViT ahead of the first fusion point, the frozen ConvNeXt; and a frozen tower keeps less than one that trains."""
    none, late = (kept_bytes(resolve_run("mini", {"fusion.name": name, "fusion.depth": "last"})) for name in ("none", "concat"))
    trained = kept_bytes(resolve_run("mini", {"vit.trainable": True, "convnext.trainable": True}))
    assert none.get("vit", 0) == late.get("convnext", 0) == 0
    assert 0 < late["vit"] < trained["vit"]
    assert trained["convnext"] > 0


def _agrees(config: RunConfig) -> None:
    costs = component_costs(config, largest_canvas(config))
    assert count_parameters(config)["parameters"] == sum(part.parameters for part in costs.values())
    assert count_flops(config) == sum(part.flops for part in costs.values())


def test_the_arm_is_built_as_it_runs() -> None:
    def built(**fusion: Any) -> Any:
        return build_subject(resolve_run("mini", {f"fusion.{key}": value for key, value in fusion.items()}), "meta").encoder

    assert built(name="none").convnext is None
    assert built(name="cross_tile").convnext is None
    assert built(name="none", handoff="append").convnext is not None
    assert built(name="none", handoff="replace").vit is None
    assert built(name="concat", control="oracle_map").convnext is None
    assert built(name="concat").convnext is not None
    assert built(name="concat", control="random_weights").convnext is not None
