"""The memory of a cell in closed form: what eats it, and the message when it does not fit."""

from __future__ import annotations

import pytest

from fila_lab.config import RunConfig, resolve_run
from fila_lab.config.counts import FEATURE_CHUNK
from fila_lab.cost.closed import heap
from fila_lab.cost.closed.memory import check_memory, memory_by_component, memory_bytes, memory_parts, widest_bytes

GIB = 2**30


def run(preset: str = "mini", **overrides: object) -> RunConfig:
    return resolve_run(preset, overrides)


def test_parts_add_up_and_grow_as_they_must() -> None:
    base = run()
    assert sum(memory_by_component(base).values()) == memory_bytes(base)
    larger = run(**{"train.batch_size": 128})
    assert memory_parts(larger)["language"].activations == 2 * memory_parts(base)["language"].activations
    finer = run(**{"geometry.detail_cells": 6})
    assert memory_parts(finer)["convnext"].activations == 4 * memory_parts(base)["convnext"].activations
    assert memory_parts(run(**{"fusion.name": "none"}))["convnext"].total == 0
    again = memory_parts(run(**{"runtime.checkpointing": True}))
    assert again["vit"].activations < memory_parts(base)["vit"].activations / 2
    assert memory_parts(run(**{"runtime.precision": "bf16"}))["vit"].activations < memory_parts(base)["vit"].activations


@pytest.mark.parametrize(("train", "evaluation"), [(4, 2), (4, 256), (64, 256)])
def test_without_a_cache_a_frozen_convnext_sees_a_batch_and_with_one_a_chunk(train: int, evaluation: int) -> None:
    sizes = {"train.batch_size": train, "train.eval_batch_size": evaluation}
    for cached, images in ((False, max(train, evaluation)), (True, FEATURE_CHUNK)):
        config = run(**sizes, **{"runtime.feature_cache": cached})
        assert memory_parts(config)["convnext"].activations == images * widest_bytes(config, (84, 84))
    trained = run(**sizes, **{"convnext.trainable": True})
    assert memory_parts(trained)["convnext"].activations == memory_parts(run(**trained_as(trained)))["convnext"].activations


def trained_as(config: RunConfig) -> dict[str, object]:
    """The same run without a cache, which a ConvNeXt that trains never has."""
    return {"train.batch_size": config.train.batch_size, "convnext.trainable": True, "runtime.feature_cache": False}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({}, ("the language model alone takes", "lower train.batch_size (now 64)")),
        ({"train.batch_size": 1, "train.eval_batch_size": 1}, ("the language model alone takes", "set language.trainable=false")),
        (
            {"language.width": 64, "language.heads": 1, "language.layers": 1, "language.intermediate": 64, "train.batch_size": 1},
            ("the ConvNeXt alone takes", "lower geometry.detail_cells (now 24)"),
        ),
        (
            {"language.width": 64, "language.heads": 1, "language.layers": 1, "language.intermediate": 64, "geometry.whole_image": 3072},
            ("the ViT alone takes", "lower train.batch_size"),
        ),
    ],
)
def test_what_does_not_fit_is_named_with_its_remedy(overrides: dict[str, object], words: tuple[str, ...]) -> None:
    message = check_memory(run("paper", **overrides), 8 * GIB)
    assert message is not None
    assert "8.0 GiB are there" in message
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize("preset", ["base", "paper"])
def test_a_presets_questions_take_no_more_than_training_on_eight_rows(preset: str) -> None:
    asked, one = (run(preset, **{"train.batch_size": 8, **more}) for more in ({}, {"train.eval_batch_size": 1}))
    assert memory_parts(asked) == memory_parts(one)
    long = run(preset, **{"train.batch_size": 1, "train.eval_batch_size": 256, "language.answer_tokens": 1000})
    short = run(preset, **{"train.batch_size": 1, "train.eval_batch_size": 256})
    assert memory_parts(long)["language"].activations > memory_parts(short)["language"].activations


def test_what_fits_is_not_talked_about() -> None:
    assert check_memory(run(), 2 * GIB) is None
    assert check_memory(run(), memory_bytes(run())) is None


@pytest.mark.parametrize(
    ("preset", "fusion"),
    [("mini", "none"), ("mini", "concat"), pytest.param("base", "cross_attention", marks=pytest.mark.slow)],
)
def test_activations_agree_with_what_autograd_keeps_on_the_real_classes(preset: str, fusion: str) -> None:
    from fila_lab.cost.count import kept_bytes

    small = {"language.layers": 2, "train.batch_size": 1, "train.eval_batch_size": 1}
    config = run(preset, **{"fusion.name": fusion, "runtime.fused_optimizer": True}, **small)  # whose step takes nothing beside
    kept = sum(kept_bytes(config).values())
    assert sum(part.activations for name, part in memory_parts(config).items() if name != "convnext") == pytest.approx(kept, rel=0.2)


@pytest.mark.parametrize(
    "fields",
    [
        {"language.trainable": False},
        {"language.lora": {"rank": 8, "alpha": 8}, "runtime.precision": "fp32"},
        pytest.param({"language.lora": {"rank": 8, "alpha": 8, "targets": ["q_proj", "v_proj"]}}, marks=pytest.mark.slow),
    ],
)
def test_what_a_frozen_language_model_and_its_adapters_keep_agrees_with_the_real_classes(fields: dict[str, object]) -> None:
    from fila_lab.cost.count import kept_bytes

    one = {"train.batch_size": 1, "train.eval_batch_size": 1, "runtime.attention": "flash"}
    config = run(**{"fusion.name": "none", "language.layers": 2, **one, **fields})
    assert memory_parts(config)["language"].activations == pytest.approx(kept_bytes(config)["language prefill"], rel=0.12)


NEW: list[dict[str, object]] = [
    {"name": name}
    for name in ("cross_attention_tile", "cross_attention_neighbours", "cross_tile", "llava_hr", "mini_gemini", "bidirectional")
]
RIVALS: list[dict[str, object]] = [
    {"name": name, "reach": reach} for name in ("slice_restore", "shifted_window", "tile_summary") for reach in ("canvas", "tile")
]
RIVALS += [{"name": "slice_restore", "options": {"parts": "local"}}]


@pytest.mark.parametrize(
    "fusion",
    [*NEW, *(pytest.param(fusion, marks=pytest.mark.slow) for fusion in RIVALS)],
    ids=lambda fusion: "-".join(map(str, fusion.values())),
)
def test_what_a_fusion_keeps_agrees_with_the_real_classes(fusion: dict[str, object]) -> None:
    from fila_lab.cost.closed.fusion_memory import kept_values
    from fila_lab.cost.closed.memory import value_bytes
    from fila_lab.cost.count import kept_bytes

    config = run(**{"fusion": fusion, "language.layers": 1, "convnext.depths": [1, 1, 1, 1], "runtime.precision": "fp32"})
    kept = sum(count for name, count in kept_bytes(config).items() if name.startswith("fusion point"))
    assert value_bytes(config) * kept_values(config, (84, 84)) == pytest.approx(kept, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"language.layers": 4}, {"language.lora": {"rank": 8, "alpha": 16}}])
def test_the_peak_of_a_step_of_base_is_within_15_per_cent_of_the_closed_form(fields: dict[str, object]) -> None:
    """From pixels, on the largest canvas: weights and their copies, gradients, moments and activations, above a process that has only
    imported. A small vocabulary, and four of the language model's layers or adapters in all: the whole would take 10 GiB."""
    from fila_lab.cost.closed.components import PROCESS_BYTES
    from fila_lab.cost.fresh import peak_memory_mib

    one = {"train.batch_size": 1, "train.eval_batch_size": 1, "runtime.feature_cache": False, "runtime.accelerator": "cpu"}
    config = run("base", **one, **fields, **{"language.tokenizer": "characters", "language.weights": "random"})
    measured = peak_memory_mib({"base": config})["base"] * 2**20
    assert memory_bytes(config) - PROCESS_BYTES == pytest.approx(measured, rel=0.15)


def test_only_large_cells_on_a_cpu_give_blocks_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    library = type("Library", (), {"mallopt": staticmethod(lambda *given: calls.append(given))})
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(heap.sys, "platform", "linux")
    for small in (run(), run("base", **{"runtime.accelerator": "gpu"})):
        heap.give_back_large_blocks(small)
    assert calls == []
    heap.give_back_large_blocks(run("base", **{"runtime.accelerator": "cpu"}))
    assert calls == [(-3, heap.BLOCK)]
