"""Matched widths against brute force, their deviations by hand, and what cannot be matched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fila_lab.config import ConfigError, RunConfig, load_study, resolve_run
from fila_lab.cost.closed.components import component_costs
from fila_lab.cost.closed.matching import Quantity, amount, nearest, solve, with_value
from fila_lab.cost.closed.pages import page_costs, page_training_flops

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}


def mini(name: str = "concat", **fields: Any) -> RunConfig:
    return resolve_run("mini", RANDOM, {"fusion.name": name}, {key.replace("__", "."): value for key, value in fields.items()})


@pytest.mark.parametrize("quantity", ["parameters", "flops"])
@pytest.mark.parametrize(
    ("name", "fields", "target"),
    [
        ("addition", {}, mini()),
        ("concat_ungated", {}, mini("cross_attention")),
        ("cross_attention", {}, mini()),
        ("cross_attention", {"fusion__heads": 8, "geometry__detail_cells": 4}, mini(geometry__detail_cells=4, fusion__hidden=90)),
        ("concat", {"fusion__aggregate": "attend"}, mini("cross_attention", fusion__hidden=120)),
        ("concat", {"fusion__depth": "last"}, mini("addition")),
        ("addition", {"fusion__aggregate": "unfold"}, mini(fusion__hidden=300)),
        ("cross_attention_neighbours", {}, mini("cross_attention", fusion__hidden=96)),
        ("llava_hr", {}, mini("llava_hr", fusion__hidden=77)),
        ("mini_gemini", {"fusion__depth": "after"}, mini("mini_gemini", fusion__depth="after", fusion__hidden=50)),
        ("bidirectional", {}, mini("bidirectional", fusion__hidden=100)),
        ("cross_tile", {}, mini("cross_tile", fusion__hidden=36)),
        ("slice_restore", {}, mini("cross_tile", fusion__hidden=36)),
        ("shifted_window", {"fusion__reach": "tile"}, mini("cross_tile", fusion__hidden=48)),
        ("tile_summary", {}, mini("tile_summary", fusion__hidden=100)),
    ],
)
def test_no_width_comes_nearer(quantity: Quantity, name: str, fields: dict[str, Any], target: RunConfig) -> None:
    config = mini(name, **fields)
    wanted = amount(target, quantity)
    solved, solution = solve(config, quantity, wanted, "it", tolerance=10)
    headless = name in ("addition", "concat", "concat_ungated", "llava_hr", "mini_gemini")
    headed = not headless or fields.get("fusion__aggregate") == "attend"
    step = config.fusion.heads if headed else 1
    off = {hidden: abs(amount(with_value(config, hidden), quantity) - wanted) for hidden in range(step, 700, step)}
    assert solved.fusion.hidden == solution.value == min(off, key=lambda hidden: off[hidden])
    assert solution.reached == amount(solved, quantity)
    assert solved == with_value(config, solution.value)


def test_the_nearest_value_of_any_increasing_function() -> None:
    values = range(3, 40, 3)
    for wanted in range(-5, 2000, 7):
        expected = min(values, key=lambda n: (abs(n * n - wanted), n))
        assert nearest(lambda n: n * n, wanted, values) == expected


def test_deviations_by_hand() -> None:
    """Fusion parameters of `addition` on mini, a hidden unit: a read of C, a bias, 96 out; 4 stages; and 96 biases of each `out`."""
    unit, fixed = sum((24, 48, 72, 96)) + 4 * (1 + 96), 4 * 96
    wanted = 10_000
    towers = amount(mini("none"), "parameters") + page_costs(mini())["convnext"].parameters
    solved, solution = solve(mini("addition"), "parameters", towers + wanted, "10 k", tolerance=0.05)
    hidden = round((wanted - fixed) / unit)
    assert solved.fusion.hidden == hidden
    assert solution.part == wanted
    assert solution.off_part == pytest.approx((hidden * unit + fixed - wanted) / wanted)
    assert solution.off_whole == pytest.approx((hidden * unit + fixed - wanted) / (towers + wanted))


def test_more_tiles_take_the_place_of_the_detail_branch() -> None:
    plain, concat = mini("none"), amount(mini(geometry__detail_cells=4), "flops")
    solved, solution = solve(plain, "flops", concat, "concat", tolerance=0.7)
    assert solved.geometry.vit_scale == 2
    off = [abs(amount(with_value(plain, scale), "flops") - concat) for scale in (1, 2, 3, 4)]
    assert min(off) == off[1]
    assert solution.part == pytest.approx(concat - amount(plain, "flops"))
    vit = [component_costs(config, size)["vit"].flops for config, size in ((plain, (84, 84)), (solved, (168, 168)))]
    assert vit[1] / vit[0] == pytest.approx((16 + 1) / (4 + 1))


@pytest.mark.parametrize(
    ("config", "quantity", "wanted", "words"),
    [
        (mini("none"), "parameters", 1e6, ("no hidden width", "match flops")),
        (mini("none"), "flops", amount(mini(), "flops"), ("vit_scale = 2", "beyond match.tolerance = 0.05", "match.tolerance: 1.")),
        (mini("none", data__seam__page_scale=1), "flops", 1e12, ("geometry.vit_scale = 2",)),
        (
            mini("none", geometry__tile=64, geometry__patch=32, geometry__canvases=[[64, 128]], data__seam__page_scale=1),
            "flops",
            1e12,
            ("page_scale",),
        ),
        (mini("none", geometry__tiling={"second": {}}), "flops", 4e8, ("geometry.tiling.second", "cannot add tiles too", "no second grid")),
        (mini("none", fusion__handoff="append"), "flops", 1e9, ("fusion.handoff = 'append'", "set a fusion")),
        (mini("mini_gemini", fusion__depth="last"), "flops", 1e9, ("one cell each", "finer stage")),
        (
            mini("slice_restore", fusion__options={"parts": "local"}),
            "flops",
            1e9,
            ("without its attention", "leave fusion.options.parts out"),
        ),
        (mini("addition"), "parameters", 500_000, ("500,000", "larger target")),
        (mini("addition"), "parameters", amount(mini("addition", fusion__hidden=1), "parameters") - 200, ("fusion.hidden = 1,", "beyond")),
        (mini("addition"), "flops", 1e15, ("fusion.hidden = 65536", "-")),
        (mini("cross_attention", fusion__heads=96), "parameters", amount(mini(), "parameters"), ("fusion.hidden = 96", "tolerance: 0.1")),
    ],
)
def test_what_cannot_be_matched(config: RunConfig, quantity: Quantity, wanted: float, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        solve(config, quantity, wanted, "that", tolerance=0.05)
    message = str(error.value)
    assert message.startswith(f"match.{quantity} = that")
    assert not [word for word in words if word not in message], message


def test_a_fusion_without_closed_form_is_refused() -> None:
    config = mini()
    foreign = config.model_copy(update={"fusion": config.fusion.model_copy(update={"name": "bilinear_pooling"})})
    with pytest.raises(ConfigError, match=r"no closed form counts fusion\.name = 'bilinear_pooling'"):
        solve(foreign, "flops", 1e9, "that", tolerance=0.05)


def test_matched_widths_are_what_the_built_model_has() -> None:
    from fila_lab.modeling import build_model

    for name in ("addition", "cross_attention"):
        solved, solution = solve(mini(name), "parameters", amount(mini(), "parameters"), "concat", tolerance=0.05)
        assert sum(parameter.numel() for parameter in build_model(solved).parameters()) == solution.reached


MINI = [[42, 84], [84, 42], [84, 84], [126, 42], [42, 126]]


@pytest.mark.parametrize(
    ("tile", "canvases"),
    [(42, MINI), (56, [[56, 112], [168, 56], [112, 112]]), (84, [[84, 252], [168, 84], [252, 252]]), (42, [[42, 84], [84, 126], [84, 168]]),
     (42, [[42, 42], [84, 84], [168, 42]]), (28, [[28, 56], [56, 56], [84, 28], [84, 84]])],
)  # fmt: skip
def test_pages_lie_on_canvases_as_often_as_costs_count_them(tile: int, canvases: list[list[int]]) -> None:
    from fila_lab.config.data import SeamConfig
    from fila_lab.config.geometry import GeometryConfig
    from fila_lab.config.seam_pages import page_shares
    from fila_lab.data.seam import SeamSuite

    geometry = GeometryConfig(tile=tile, canvases=tuple((w, h) for w, h in canvases), detail_cells=3)
    shares, suite = page_shares(geometry, SeamConfig()), SeamSuite(SeamConfig(), geometry)
    drawn = [suite.heading("train", index)[1] for index in range(600)]
    assert set(drawn) == set(shares)
    for canvas, share in shares.items():
        assert drawn.count(canvas) / 600 == pytest.approx(share, abs=0.07)


def test_costs_are_means_over_the_studys_pages() -> None:
    config = mini()
    sizes = {(42, 84): 0.25, (84, 42): 0.25, (84, 84): 0.5}  # a row of three tiles of three patches has no sham place
    for part, cost in page_costs(config).items():
        assert cost.flops == pytest.approx(sum(share * component_costs(config, size)[part].flops for size, share in sizes.items()))
    assert page_costs(mini("none", geometry__vit_scale=2))["vit"].flops == pytest.approx(
        page_costs(config)["vit"].flops * (0.5 * 9 + 0.5 * 17) / (0.5 * 3 + 0.5 * 5)
    )


def test_training_flops_by_hand() -> None:
    """Frozen towers: the ViT once, and once more from the first fusion point on; the ConvNeXt once; what trains three times, but for the
    gradients of inputs that nothing asks for."""
    fused, plain = page_costs(mini()), page_costs(mini("none"))
    vit = fused["vit"].flops
    trained = 3 * (fused["fusion"].flops + fused["projector"].flops + fused["language"].flops)
    assert page_training_flops(mini()) == pytest.approx(vit * (1 + 5 / 6) + fused["convnext"].flops + trained, rel=0.02)
    assert page_training_flops(mini("none")) == pytest.approx(vit + 3 * (plain["projector"].flops + plain["language"].flops), rel=0.02)
    assert page_training_flops(mini(fusion__depth="last")) < page_training_flops(mini())


SHIPPED = Path(__file__).parents[3] / "experiments"


@pytest.mark.parametrize(
    ("match", "words"),
    [
        ({"parameters": "conct"}, "arms.addition.match.parameters: unknown arm 'conct' (did you mean 'concat'?)"),
        ({"flops": "wide"}, "arms.addition.match.flops = 'wide' is an arm that is matched too; match an arm without `match`"),
        ({"flops": "addition"}, "arms.addition.match.flops = 'addition' is itself"),
        ({}, "arms.addition.match.parameters, match.flops: neither is given"),
        ({"flops": "concat", "parameters": 10}, "both are given"),
        ({"flops": -3}, "match.flops = -3.0: give a positive number"),
        ({"flops": ".inf"}, "unknown arm '.inf'"),
        ({"flop": "concat"}, "did you mean 'flops'"),
        ({"flops": "concat", "tolerance": 0}, "arms.addition.match.tolerance = 0"),
        ({"flops": ["concat"]}, "arms.addition.match.flops"),
    ],
)
def test_bad_matches_name_the_arm_and_the_field(tmp_path: Path, match: dict[str, Any], words: str) -> None:
    import yaml

    tree = yaml.safe_load((SHIPPED / "fusion_methods.yaml").read_text(encoding="utf-8"))
    tree["arms"]["addition"]["match"] = match
    tree["arms"]["wide"] = {"set": {"fusion.name": "concat_ungated"}, "match": {"flops": "concat"}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_study(tmp_path / "study.yaml")
    assert words in str(error.value)


def test_a_number_may_be_written_without_a_dot(tmp_path: Path) -> None:
    text = (SHIPPED / "fusion_methods.yaml").read_text(encoding="utf-8")
    (tmp_path / "study.yaml").write_text(
        text.replace("role: fusion, label: addition", "match: {flops: 15e7}, label: addition", 1), encoding="utf-8"
    )
    match = load_study(tmp_path / "study.yaml").arms["addition"].match
    assert match is not None
    assert (match.quantity, match.target) == ("flops", 1.5e8)
