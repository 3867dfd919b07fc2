"""Settings that are said to fit do fit by the closed form, and leave a step its rows."""

from __future__ import annotations

import pytest

from fila_lab.config import RunConfig, parse_set, resolve_run
from fila_lab.config.stage_runs import stages_of
from fila_lab.cost.closed.fitting import advice, as_overrides, fitting_devices, fitting_passes
from fila_lab.cost.closed.memory import memory_bytes

GIB = 2**30
LLAVA = "experiments/recipes/llava15.yaml"


def steps(config: RunConfig) -> list[int]:
    return [stage.run.train.batch_size * stage.run.train.accumulate for stage in stages_of(config)]


def keeping(preset: str, way: str = "") -> RunConfig:
    """A run that keeps its activations, unless `way` says otherwise."""
    return resolve_run(preset, {"runtime.checkpointing": False}, parse_set(way.replace("--set ", "").split()))


@pytest.mark.parametrize(("preset", "gib"), [("base", 80), ("base", 24), ("base", 12), ("paper", 80), (LLAVA, 80)])
def test_what_is_advised_fits_and_steps_stay(preset: str, gib: int) -> None:
    config = keeping(preset)
    advised = advice(config, gib * GIB, spread=True)
    assert memory_bytes(config) > gib * GIB
    for way in advised.split(", or "):
        changed = keeping(preset, way)
        assert memory_bytes(changed) <= gib * GIB
        assert steps(changed) == steps(config)
        assert changed.train.batch_size % changed.runtime.world == 0


def test_as_few_passes_as_fit() -> None:
    config = resolve_run("base")
    assert as_overrides(config, fitting_passes(config, 80 * GIB) or ()) == "--set train.batch_size=32 --set train.accumulate=2"
    assert memory_bytes(resolve_run("base", {"train.batch_size": 64})) > 80 * GIB
    own = fitting_passes(config, 200 * GIB)
    assert own is not None
    assert as_overrides(config, own) == ""
    assert advice(config, 200 * GIB) == ""


def test_where_nothing_helps_it_is_said() -> None:
    paper = resolve_run("paper")
    assert fitting_passes(paper, 80 * GIB) is None
    assert advice(paper, 80 * GIB) == "nothing"
    devices, _ = fitting_devices(paper, 80 * GIB) or (0, ())
    assert devices == 4
    assert advice(paper, GIB, spread=True) == "nothing"


def test_a_loss_of_whole_batches_is_not_split() -> None:
    config = resolve_run("mini", {"train.truth_weight": 0.5, "fusion.control": "oracle_map", "fusion.name": "concat"})
    assert fitting_passes(config, memory_bytes(config) - 1) is None
