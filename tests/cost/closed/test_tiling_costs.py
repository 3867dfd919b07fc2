"""What a tiling costs: tiles and tokens counted, and the settings that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from fila_lab.config import ConfigError, resolve_run
from fila_lab.config.counts import tiles_of, vision_tokens
from fila_lab.config.seam_pages import page_size
from fila_lab.config.sizes import sized_runs
from fila_lab.config.tiling import seen_canvases
from fila_lab.cost.closed.components import component_costs, feature_bytes, item_bytes
from fila_lab.cost.closed.pages import page_costs, page_training_flops

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}
SINGLE = {"geometry.tiling.canvases": [[42, 42]]}
OVERLAP = {"geometry.tiling.overlap": 1}
STRIDED, BOTH = ({"geometry.tiling.perspective": perspective} for perspective in ("strided", "both"))
SECOND = {"geometry.tiling.second": {"max_tiles": 6}}
SAME = {"geometry.tiling.second": {"min_tiles": 4, "max_tiles": 4, "exclusion": "none"}}
INTERNVL = {"geometry.tiling.rule": "internvl", "geometry.tiling.fit": "stretch"}


def mini(*overrides: dict[str, Any]) -> Any:
    return resolve_run("mini", RANDOM, *overrides)


@pytest.mark.parametrize(
    "overrides",
    [{}, OVERLAP, SINGLE, INTERNVL, OVERLAP | {"geometry.tiling.overlap": 2}, pytest.param(BOTH | SECOND, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("fusion", ["none", "concat"])
def test_closed_forms_equal_the_counted_model(overrides: dict[str, Any], fusion: str) -> None:
    from fila_lab.cost.count import count_flops
    from fila_lab.cost.subject import largest_canvas

    config = mini(overrides, {"fusion.name": fusion})
    assert count_flops(config) == sum(part.flops for part in component_costs(config, largest_canvas(config)).values())


def test_where_the_pages_of_a_configuration_are_seen() -> None:
    assert seen_canvases(mini()) == mini().geometry.canvases
    assert seen_canvases(mini({"geometry.canvases": [[42, 84], [84, 84]]}, SINGLE)) == ((42, 42), (42, 42))
    assert page_size(mini(), (84, 42)) == (384, 192)
    # 1 x 2 is nearest at 1x2 and 2x4 tiles, 1 x 1 at up to 3x3; the pages' pixels fill half of all of them
    assert seen_canvases(mini({"geometry.canvases": [[42, 84], [84, 84]]}, INTERNVL)) == ((84, 168), (126, 126))
    large = {"geometry.tiling.canvases": [[84, 84], [168, 168], [168, 84]]}
    assert seen_canvases(mini({"geometry.canvases": [[84, 84], [84, 42]]}, large)) == ((168, 168), (168, 84))


def test_the_cost_command_measures_an_arm_on_the_canvas_that_shows_the_page() -> None:
    runs = {"plain": mini({"fusion.name": "none"}), "single": mini(SINGLE, {"fusion.name": "none"})}
    seen = {arm: seen_canvases(run) for (arm, _, _), run in sized_runs(runs, None, None).items()}
    assert seen == {"plain": ((84, 84),), "single": ((42, 42),)}


def test_overlap_costs_tiles_and_neither_tokens_nor_cells() -> None:
    plain, overlapping = mini(), mini(OVERLAP)
    canvas = (84, 84)
    assert (tiles_of(canvas, plain.geometry), tiles_of(canvas, overlapping.geometry)) == (4, 9)
    assert vision_tokens(canvas, plain) == vision_tokens(canvas, overlapping) == 9 + 36 + 6
    before, after = component_costs(plain, canvas), component_costs(overlapping, canvas)
    assert after["vit"].flops == before["vit"].flops * 10 / 5
    assert after["fusion"].flops == before["fusion"].flops * 10 / 5
    assert all(after[part] == before[part] for part in ("convnext", "projector", "language"))
    assert feature_bytes(overlapping) == feature_bytes(plain)
    assert item_bytes(overlapping) > item_bytes(plain)


def test_strided_tiles_cost_what_tiles_cost_and_a_second_grid_its_tiles_and_tokens() -> None:
    canvas = (84, 84)
    tokens = {name: vision_tokens(canvas, mini(tiling)) for name, tiling in (("plain", {}), ("strided", STRIDED), ("both", BOTH))}
    assert tokens == {"plain": 9 + 42, "strided": 9 + 42, "both": 9 + 2 * 42}
    second, same = mini(SECOND), mini(SAME)
    assert (tiles_of(canvas, second.geometry), tiles_of(canvas, same.geometry)) == (4 + 6, 4 + 4)
    assert vision_tokens(canvas, second) == 9 + 6 * (6 + 1) + 9 * (6 + 1)  # 2 x 3 tiles: nine rows of six tokens
    assert vision_tokens(canvas, same) == tokens["both"]
    plain, strided, doubled = (component_costs(mini(tiling), canvas) for tiling in ({}, STRIDED, SAME))
    assert strided == plain
    assert doubled["vit"].flops == doubled["fusion"].flops / plain["fusion"].flops * plain["vit"].flops == plain["vit"].flops * 9 / 5
    assert doubled["convnext"] == plain["convnext"]
    assert doubled["language"].flops > plain["language"].flops


def test_dropped_padding_saves_the_language_model_tokens_and_the_towers_nothing() -> None:
    pages = {"geometry.canvases": [[42, 168]]}
    kept, dropped = (page_costs(mini(pages, SINGLE, {"geometry.tiling.padding_tokens": how})) for how in ("keep", "drop"))
    assert all(kept[part] == dropped[part] for part in ("vit", "convnext", "fusion"))
    assert dropped["projector"].flops == kept["projector"].flops * (9 + 3) / (9 + 9)  # one column of three
    assert dropped["language"].flops < kept["language"].flops
    runs = [mini(pages, SINGLE, {"geometry.tiling.padding_tokens": how, "runtime.checkpointing": True}) for how in ("keep", "drop")]
    assert page_training_flops(runs[1]) < page_training_flops(runs[0])


def test_a_single_square_costs_two_tiles_for_every_page() -> None:
    """The tile and the overview, which shows the same: arms differ in one thing only."""
    assert component_costs(mini(SINGLE))["vit"].flops * 5 == component_costs(mini(), (84, 84))["vit"].flops * 2


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"geometry.tiling.overlap": 3}, "tiling.overlap=3 leaves a tile of 3 patches none of its own; choose at most 2"),
        ({"geometry.tiling.canvases": [[42, 50]]}, "tiling.canvases: 42x50 is not a whole number of tiles"),
        ({"geometry.tiling.canvases": []}, "tiling.canvases is empty"),
        ({"geometry.tiling.rule": "intern_vl"}, "geometry.tiling.rule = 'intern_vl'"),
        ({"geometry.tiling.fi": "pad"}, "did you mean 'fit'"),
        ({"geometry.tiling.canvases": [[84000, 42]]}, "detail input"),
        ({"geometry.tiling.overlap": 1, "fusion.name": "cross_tile"}, "set geometry.tiling.overlap=0"),
        ({"geometry.tiling.overlap": 1, "fusion.name": "cross_attention_neighbours"}, "set geometry.tiling.overlap=0"),
        ({"geometry.tiling.overlap": 1, "fusion.detail_context": "tile"}, "they share pixels"),
        (BOTH | {"fusion.handoff": "append"}, "shows the canvas more than once, but fusion.handoff = 'append'"),
        (SECOND | {"fusion.handoff": "append"}, "geometry.tiling.second shows the canvas more than once"),
        (STRIDED | {"geometry.tiling.overlap": 1}, "strided tiles lie nowhere side by side"),
        (STRIDED | {"fusion.name": "cross_tile"}, "with geometry.tiling.perspective = 'strided' not all of them do"),
        (SECOND | {"fusion.name": "cross_attention_neighbours"}, "with geometry.tiling.second not all of them do"),
        (BOTH | {"fusion.detail_context": "tile"}, "tiles meet elsewhere too"),
        (STRIDED | {"projector.kind": "pixel_shuffle", "projector.factor": 3}, "neighbours lie in different tiles"),
        (SECOND | {"geometry.vit_scale": 2, "fusion.name": "none"}, "both add tiles"),
        ({"geometry.tiling.second": {"min_tiles": 4, "max_tiles": 3}}, "min_tiles=4 is more than max_tiles=3"),
        (
            {"geometry.tiling.second": {"max_tiles": 4, "exclusion": "either"}, "geometry.canvases": [[168, 168]]},
            "leaves none beside 4x4 tiles",
        ),
        (STRIDED | {"geometry.canvases": [[84, 100]]}, "84x100 is not a whole number of tiles"),
    ],
)
def test_settings_that_cannot_be(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve_run("mini", overrides)
    assert words in str(error.value)
