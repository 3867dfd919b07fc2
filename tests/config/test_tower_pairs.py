"""Tower pairs in a run: which one a seed has, what overrides mean, and that a run never says other weights than it loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fila_lab.config import ConfigError, RunConfig, resolve_run
from fila_lab.config.published_weights import holdings

COMMON = "common.safetensors"
PAIRS = [{"vit": f"v{n}.safetensors", "convnext": f"c{n}.safetensors"} for n in range(3)]
WITH_ANSWERS = [pair | {"language": f"a{n}.safetensors"} for n, pair in enumerate(PAIRS)]

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}


def paired(pairs: Any = PAIRS, *overrides: dict[str, Any]) -> RunConfig:
    return resolve_run("mini", {"tower_pairs": [], "language.weights": COMMON}, {"tower_pairs": pairs}, *overrides)


def weights(config: RunConfig) -> tuple[str, str, str]:
    return config.vit.weights, config.convnext.weights, config.language.weights


def test_seed_s_has_pair_s_mod_their_number() -> None:
    for seed in range(7):
        config = paired(PAIRS, {"seed": seed})
        assert config.pair == seed % 3
        assert weights(config) == (f"v{seed % 3}.safetensors", f"c{seed % 3}.safetensors", COMMON)
        assert paired(PAIRS).with_seed(seed) == config  # a plan resolves an arm once
        assert weights(paired(WITH_ANSWERS, {"seed": seed}))[2] == f"a{seed % 3}.safetensors"


def test_without_pairs_nothing_is_said_of_them() -> None:
    plain = [{"tower_pairs": []}, RANDOM]
    config = resolve_run("mini", *plain, {"seed": 4})
    assert config.pair is None
    assert "tower_pairs" not in config.model_dump()
    assert resolve_run("mini", *plain).with_seed(4) == config


def test_mini_has_three() -> None:
    for seed in range(6):
        named = tuple(f"package:mini_{part}_{seed % 3}" for part in ("vit", "convnext", "answers"))
        assert weights(resolve_run("mini", {"seed": seed})) == named


def test_where_all_that_pairs_name_is_replaced_there_are_none() -> None:
    config = resolve_run("mini", RANDOM, {"seed": 4})
    assert (config.tower_pairs, weights(config)) == ((), ("random", "random", "random"))
    own = {"vit.weights": "v1.safetensors", "convnext.weights": "c1.safetensors", "language.weights": "a1.safetensors"}
    one = paired(WITH_ANSWERS, own, {"seed": 2})  # a pair named part by part is that pair for every seed
    assert (one.pair, weights(one)) == (None, ("v1.safetensors", "c1.safetensors", "a1.safetensors"))


def test_a_run_is_read_back_as_it_was() -> None:
    config = paired(PAIRS, {"seed": 5})
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config


def test_an_override_above_the_pairs_is_every_pairs() -> None:
    """An arm with another ViT, and with random towers, on seeds of all pairs."""
    for seed in range(3):
        config = paired(PAIRS, {"vit.weights": "random"}, {"seed": seed})
        assert weights(config)[:2] == ("random", f"c{seed}.safetensors")
        assert config.with_seed(seed + 1).vit.weights == "random"
    assert weights(paired(WITH_ANSWERS, {"language": {"weights": "random"}}, {"seed": 1})) == ("v1.safetensors", "c1.safetensors", "random")


def test_pairs_above_weights_take_their_place(tmp_path: Path) -> None:
    preset = tmp_path / "own.yaml"
    preset.write_text("extends: mini\ntower_pairs: [{vit: v.safetensors, convnext: c.safetensors}]\n", encoding="utf-8")
    assert weights(resolve_run(str(preset)))[:2] == ("v.safetensors", "c.safetensors")
    later = resolve_run(str(preset), {"tower_pairs": PAIRS, "seed": 2})
    assert weights(later)[:2] == ("v2.safetensors", "c2.safetensors")
    assert resolve_run(str(preset), {"tower_pairs": []}, {"vit.weights": "w.safetensors"}).vit.weights == "w.safetensors"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([{"vit.weights": "v1.safetensors"}], r"vit.weights = 'v1.safetensors' is that of pair 1 .* tower_pairs=\[\{vit: v1.safetensors"),
        ([{"convnext": {"weights": "c0.safetensors"}}], "is that of pair 0"),
        ([{"tower_pairs": PAIRS, "vit.weights": "random"}], "stand side by side"),
        ([{"tower_pairs": [*WITH_ANSWERS[:1], *PAIRS[1:]]}], "language stands in some pairs only"),
        ([{"tower_pairs": [*PAIRS, PAIRS[1]]}], "pair 3 is pair 1 again"),
        ([{"tower_pairs": 3}], "tower_pairs"),
        ([{"tower_pairs": [{"vit": "v.safetensors"}]}], r"tower_pairs.0.convnext"),
        ([{"tower_pairs.0.vit": "v.safetensors"}], "set tower_pairs as a whole"),
    ],
)
def test_what_contradicts_is_refused(overrides: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        paired(PAIRS, *overrides)


def test_one_part_that_all_pairs_share_may_be_named_again() -> None:
    shared = [pair | {"vit": "v.safetensors"} for pair in PAIRS]
    assert paired(shared, {"vit.weights": "v.safetensors"}, {"seed": 1}).convnext.weights == "c1.safetensors"


def test_a_run_of_another_pair_than_its_seeds_is_refused() -> None:
    content = paired(PAIRS, {"seed": 1}).model_dump()
    with pytest.raises(ValueError, match=r"seed 2 has pair 2, whose vit.weights is 'v2.safetensors'"):
        RunConfig.model_validate({**content, "seed": 2})


def test_weights_lists_those_of_all_pairs() -> None:
    listed = [(held.part, held.spec) for held in holdings(paired(PAIRS)) if held.part != "language"]
    assert listed == [("vit", f"v{n}.safetensors") for n in range(3)] + [("convnext", f"c{n}.safetensors") for n in range(3)]
