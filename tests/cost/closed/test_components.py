"""Closed forms against published parameter counts and FLOPs, and against the built model."""

from __future__ import annotations

import pytest

from fila_lab.config import FUSIONS, ConfigError, RunConfig, load_preset, resolve_run
from fila_lab.config.counts import detail_size, llm_tokens, vision_tokens
from fila_lab.config.towers import ConvNextConfig
from fila_lab.cost.closed.components import component_costs, component_training_flops, feature_bytes, forward_flops, training_flops
from fila_lab.cost.closed.fusion import fusion_point_costs
from fila_lab.cost.closed.parts import TEXT_TOKENS, convnext_cost, language_cost, language_token_cost, vit_cost

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}


def test_clip_vit_large_336_as_timm_counts_it() -> None:
    paper = load_preset("paper")
    cost = vit_cost(paper.vit.model_copy(update={"feature_layer": -1}), paper.geometry)
    assert cost.parameters + 1024 * 1000 + 1000 == pytest.approx(304.53e6, rel=1e-4)  # timm's figure has a classifier
    assert cost.flops / 2 == pytest.approx(191.11e9, rel=2e-3)


@pytest.mark.parametrize(
    ("depths", "dims", "side", "head", "parameters", "macs"),
    [
        ((3, 3, 9, 3), (96, 192, 384, 768), 224, 769 * 1000 + 2 * 768, 28.59e6, 4.47e9),
        ((3, 3, 27, 3), (128, 256, 512, 1024), 224, 1025 * 1000 + 2 * 1024, 88.59e6, 15.38e9),
        ((3, 3, 27, 3), (192, 384, 768, 1536), 320, 1537 * 1000 + 2 * 1536 + 1537 * 1536, 200.13e6, 70.21e9),
    ],
)
def test_convnext_as_timm_counts_it(
    depths: tuple[int, int, int, int], dims: tuple[int, int, int, int], side: int, head: int, parameters: float, macs: float
) -> None:
    cost = convnext_cost(ConvNextConfig(depths=depths, dims=dims), (side, side))
    assert cost.parameters + head == pytest.approx(parameters, rel=2e-4)
    assert cost.flops / 2 == pytest.approx(macs, rel=5e-3)  # norms are not in the closed form


def test_seven_billion_llama() -> None:
    assert component_costs(load_preset("paper"))["language"].parameters == 6_738_415_616  # Llama-2-7B's published count


def test_qwen_half_billion() -> None:
    assert component_costs(load_preset("base"))["language"].parameters == 494_032_768  # Qwen2.5-0.5B's published count


def test_paper_detail_input_is_1536_pixels_for_two_tiles() -> None:
    paper = load_preset("paper")
    assert detail_size((672, 672), paper.geometry) == (1536, 1536)
    assert vision_tokens((672, 672), paper) == 5 * 576 + 48  # tokens of five tiles, 48 row separators
    assert detail_size((672, 672), resolve_run("paper", {"geometry.whole_image": 768}).geometry) == (768, 768)


def mini(**overrides: object) -> RunConfig:
    return resolve_run("mini", RANDOM, overrides)


@pytest.mark.parametrize(("name", "cells"), [*((name, 3) for name in FUSIONS), ("cross_attention", 2), ("mini_gemini", 2), ("concat", 4)])
def test_parameters_equal_the_built_model(name: str, cells: int) -> None:
    from fila_lab.modeling import build_model

    config = mini(**{"fusion.name": name, "geometry.detail_cells": cells})
    built = sum(parameter.numel() for parameter in build_model(config).parameters())
    assert sum(cost.parameters for cost in component_costs(config).values()) == built


@pytest.mark.parametrize("name", FUSIONS)
def test_parameters_of_tiles_of_one_token_equal_the_built_model(name: str) -> None:
    from fila_lab.modeling import build_model

    one = {"fusion.name": name, "geometry.tile": 14, "geometry.canvases": [[28, 28]], "data.seam.text_height": [5, 6]}
    if name == "shifted_window":
        with pytest.raises(ConfigError, match="tiles of one token have no seam that could lie mid-window"):
            mini(**one)
        return
    config = mini(**one)
    assert config.geometry.grid == 1
    built = sum(parameter.numel() for parameter in build_model(config).parameters())
    assert sum(cost.parameters for cost in component_costs(config).values()) == built


@pytest.mark.parametrize("control", ["foreign", "oracle_map"])
def test_parameters_of_controls_equal_the_built_model(control: str) -> None:
    from fila_lab.modeling import build_model

    config = mini(**{"fusion.control": control})
    built = sum(parameter.numel() for parameter in build_model(config).parameters())
    assert sum(cost.parameters for cost in component_costs(config).values()) == built


@pytest.mark.parametrize(
    "overrides",
    [
        {"fusion.name": "mini_gemini", "fusion.depth": "after"},
        {"fusion.name": "concat", "fusion.depth": [[1, 5], [2, 5], [3, 5], [4, 5]]},
        {"fusion.name": "llava_hr", "fusion.gate": False, "fusion.hidden": 40},
        {"fusion.name": "none", "fusion.handoff": "append"},
        {"fusion.name": "cross_tile", "fusion.handoff": "append", "projector.kind": "linear"},
    ],
)
def test_parameters_of_depths_and_handoff_equal_the_built_model(overrides: dict[str, object]) -> None:
    from fila_lab.modeling import build_model

    config = mini(**overrides)
    built = sum(parameter.numel() for parameter in build_model(config).parameters())
    assert sum(cost.parameters for cost in component_costs(config).values()) == built


def test_context_without_resolution_costs_no_convnext_and_a_handoff_costs_tokens() -> None:
    rival, handed, none = (
        mini(**{"fusion.name": "cross_tile"}),
        mini(**{"fusion.name": "none", "fusion.handoff": "append"}),
        mini(**{"fusion.name": "none"}),
    )
    assert component_costs(rival)["convnext"] == component_costs(none)["convnext"]
    assert component_costs(rival)["fusion"].flops > 0
    assert llm_tokens((84, 84), none) == vision_tokens((84, 84), none)
    assert llm_tokens((84, 84), handed) == vision_tokens((84, 84), none) + 4 * 9
    assert component_costs(handed)["language"].flops > component_costs(none)["language"].flops
    assert component_costs(handed)["convnext"] == component_costs(mini())["convnext"]


def test_costs_order_as_they_must() -> None:
    none, concat, fine = mini(**{"fusion.name": "none"}), mini(), mini(**{"geometry.detail_cells": 4})
    assert forward_flops(none) < forward_flops(concat) < forward_flops(fine)
    assert training_flops(concat, cached_features=True) < training_flops(concat)
    assert training_flops(concat) > forward_flops(concat)
    assert feature_bytes(fine) == pytest.approx(feature_bytes(concat) * 16 / 9)
    assert component_costs(none)["convnext"].flops == 0


def test_fusion_points_add_up_to_the_fusion() -> None:
    paper = load_preset("paper")
    each = fusion_point_costs(paper, (672, 672))
    assert list(each) == [(1, 2), (2, 6), (3, 12), (4, 20)]
    assert sum(cost.flops for cost in each.values()) == component_costs(paper, (672, 672))["fusion"].flops
    assert fusion_point_costs(mini(**{"fusion.name": "none"}), (84, 84)) == {}


def test_training_is_forward_and_a_gradient_for_what_asks_for_one() -> None:
    """A frozen ViT passes none without fusion; a tower that trains costs a little under three times its forward pass."""
    none, concat = mini(**{"fusion.name": "none"}), mini()
    trained = mini(**{"vit.trainable": True, "convnext.trainable": True})
    assert component_training_flops(none)["vit"] == component_costs(none)["vit"].flops
    assert component_training_flops(concat)["convnext"] == component_costs(concat)["convnext"].flops
    assert component_training_flops(concat, cached_features=True)["convnext"] == 0
    for tower in ("vit", "convnext"):
        assert 2.8 < component_training_flops(trained)[tower] / component_costs(trained)[tower].flops < 3


def test_a_new_token_costs_about_two_flops_a_weight() -> None:
    """Kaplan et al. (2020): 2 FLOPs a weight that is multiplied, and attention over what came before."""
    language = load_preset("paper").language
    multiplied = 6_738_415_616 - 32000 * 4096 - 4096 * (2 * language.layers + 1)  # all but embeddings and norms
    assert language_token_cost(language, 0).flops == 2 * multiplied + 4 * language.layers * language.width
    longer = language_token_cost(language, 2936).flops - language_token_cost(language, 0).flops
    assert longer == 4 * 2936 * language.width * language.layers
    prefill = language_cost(language, 2936)
    assert prefill.flops == pytest.approx(
        2936 * (2 * multiplied - 2 * 32000 * 4096) + 4 * 2936**2 * 4096 * 32 + TEXT_TOKENS * 2 * 32000 * 4096
    )
    assert TEXT_TOKENS < 64  # a question, not a page
