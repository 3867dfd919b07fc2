"""Memory of a device by what devices share, against the papers' figures and the built model."""

from __future__ import annotations

from typing import Any

import pytest

from fila_lab.config import RunConfig, resolve_run
from fila_lab.cost.closed.memory import checkpoint_bytes, memory_bytes, memory_parts, sharing_strategies
from fila_lab.cost.closed.sharing import BUCKET, STRATEGIES, answering_bytes, training_bytes
from fila_lab.cost.closed.weights import Weights, weights_of

GB = 1e9
LORA = {"rank": 128, "alpha": 256}


def run(preset: str = "paper", **fields: Any) -> RunConfig:
    return resolve_run(preset, {name.replace("__", "."): value for name, value in fields.items()})


def total(config: RunConfig, devices: int) -> dict[str, float]:
    return {name: sum(part.total for part in parts.values()) for name, parts in sharing_strategies(config, devices).items()}


def test_states_are_those_of_the_zero_paper() -> None:
    """Rajbhandari et al. (2020), figure 1: 7.5 billion weights on 64 devices, mixed precision: 120 GB, 16.6 by stage 2, 1.9 by stage 3."""
    model = Weights(0.0, 7.5e9, layers=0)
    assert training_bytes(model, "nothing", 1, 2) == 120 * GB
    buffers = 2 * 2 * BUCKET
    assert training_bytes(model, "deepspeed", 64, 2) - buffers == pytest.approx(16.6 * GB, rel=0.01)
    layered = Weights(0.0, 7.5e9, layers=10**6, layer=7500.0)
    assert training_bytes(layered, "fsdp", 64, 2) == pytest.approx(1.9 * GB, rel=0.02)
    assert answering_bytes(layered, "fsdp", 64, 2) == pytest.approx((1.9 + 15) * GB, rel=0.02), "all weights, while it answers"


def test_ddp_holds_gradients_twice_and_frozen_weights_are_no_states() -> None:
    assert training_bytes(Weights(0.0, 1.0), "ddp", 2, 4) == 20
    for shares in ("nothing", "ddp"):
        assert training_bytes(Weights(1.0, 0.0, frozen_bytes=2), shares, 2, 4) == 2
    assert training_bytes(Weights(1.0, 0.0, parted=False), "fsdp", 8, 4) == 4, "a frozen ConvNeXt stays whole"


@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("preset", ["mini", "base", "paper"])
def test_what_is_shared_shrinks_with_devices_and_one_device_shares_nothing(preset: str, lora: Any) -> None:
    config = run(preset, language__lora=lora)
    assert total(config, 1) == {"nothing": sum(part.total for part in memory_parts(config).values())}
    few, many = total(config, 2), total(config, 8)
    assert tuple(few) == tuple(many) == STRATEGIES
    assert all(many[name] <= few[name] for name in STRATEGIES)
    own = run(preset, language__lora=lora, runtime__devices=8, runtime__strategy="fsdp")
    assert sum(part.total for part in memory_parts(own).values()) == many["fsdp"]
    nodes = run(preset, language__lora=lora, runtime__devices=4, runtime__nodes=2, runtime__strategy="fsdp")
    assert memory_bytes(nodes) == memory_bytes(own)


def test_seven_billion_train_on_eight_devices_in_parts_alone() -> None:
    """What the recipes' authors found: 7B whole does not fit on 80 GB by DDP; stage 3 does."""
    by = total(run(train__batch_size=128, train__eval_batch_size=8, runtime__checkpointing=True, runtime__feature_cache=False), 8)
    assert by["ddp"] > 120 * GB
    assert by["fsdp"] < 80 * GB


@pytest.mark.parametrize("fields", [{}, {"language__trainable": False}, {"language__lora": LORA}, {"vit__trainable": True}])
@pytest.mark.parametrize("preset", ["mini", pytest.param("base", marks=pytest.mark.slow)])
def test_weights_are_counted_as_the_built_model_has_them(preset: str, fields: dict[str, Any]) -> None:
    from fila_lab.cost.subject import build_subject

    config = run(preset, **fields)
    model = build_subject(config, "meta")
    counted = weights_of(config, (config.geometry.tile, config.geometry.tile))
    assert sum(part.all for part in counted.values()) == sum(value.numel() for value in model.parameters())
    moving = sum(value.numel() for value in model.trainable_parameters())
    unused = sum(value.numel() for value in model.encoder.vit.unused_parameters()) if config.vit.trainable else 0
    assert sum(part.trained for part in counted.values()) == moving + unused
    layer = next(part for part in model.language.modules() if type(part).__name__.endswith("DecoderLayer"))
    assert counted["language"].layer == sum(value.numel() for value in layer.parameters())


def test_a_run_of_several_stages_takes_what_its_largest_takes() -> None:
    stages = [
        {"name": "align", "trains": ["projector", "fusion"], "steps": 10},
        {"name": "instruct", "trains": ["projector", "language"], "steps": 10},
    ]
    staged, whole, first = run(train__stages=stages), run(), run(language__trainable=False)
    assert memory_bytes(first) < memory_bytes(staged) <= memory_bytes(whole)
    assert checkpoint_bytes(first) < checkpoint_bytes(staged) <= checkpoint_bytes(whole)
    adapters = run(train__stages=stages, language__lora=LORA)
    assert memory_bytes(first) < memory_bytes(adapters) < memory_bytes(staged)


def test_a_checkpoint_of_papers_first_stage_is_under_five_per_cent_of_the_model() -> None:
    """Projector and fusion train, with two moments each; the rest is the checkpoint's own."""
    first, second = run(language__trainable=False), run()
    whole = sum(part.bytes for part in weights_of(first, (672, 672)).values())
    assert 13 * GB < whole < 17 * GB, "7B in 16 bits, and two towers"
    assert checkpoint_bytes(first) < 0.05 * whole
    assert checkpoint_bytes(second) == pytest.approx(12 * 6.74e9, rel=0.02), "and one of its second is three times the language model"
    assert checkpoint_bytes(run(language__lora=LORA)) < 0.3 * whole
