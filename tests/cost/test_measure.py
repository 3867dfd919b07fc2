"""Latency and memory on tiny arms: what must hold on a machine that is busy too."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from fila_lab.config import RunConfig, resolve_run
from fila_lab.config.seam_words import ORACLE_CHANNELS
from fila_lab.cost import forward_seconds, fresh, largest_canvas, measure_arms, synthetic_batch
from fila_lab.cost import measure as measure_module

COLUMNS = {
    "parameters", "trainable_parameters", "fusion_parameters", "flops", "latency_ms", "latency_iqr_ms", "peak_memory_mib",
}  # fmt: skip
ROUNDS = 4


def tiny(**overrides: object) -> RunConfig:
    return resolve_run("mini", {"geometry.canvases": [[42, 84], [84, 84]], "train.batch_size": 4}, overrides)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, float]], dict[str, list[float]]]:
    """Costs of tiny arms and the rounds that were written, measured from a process 600 MiB larger than it need be."""
    ballast = np.ones(600 * 2**20, np.uint8)
    out = tmp_path_factory.mktemp("study")
    arms = {
        "none": tiny(**{"fusion.name": "none"}),
        "concat": tiny(),
        "large_batch": tiny(**{"train.batch_size": 96, "runtime.threads": 2, "runtime.precision": "fp32"}),
        "oracle_map": tiny(**{"fusion.control": "oracle_map"}),
    }
    costs = measure_arms(arms, out, batch_size=2, rounds=ROUNDS)
    assert ballast[-1] == 1
    return costs, json.loads((out / "costs.rounds.json").read_text(encoding="utf-8"))["milliseconds_per_image"]


@pytest.mark.slow
def test_every_column_of_every_arm_is_a_positive_number(
    measured: tuple[dict[str, dict[str, float]], dict[str, list[float]]],
) -> None:
    costs, _ = measured
    for arm, row in costs.items():
        assert set(row) == COLUMNS
        for column, value in row.items():
            assert math.isfinite(value)
            assert value > 0 or column == "latency_iqr_ms" or (arm, column) == ("none", "fusion_parameters")
    assert costs["none"]["fusion_parameters"] == 0
    assert min(costs, key=lambda arm: costs[arm]["fusion_parameters"]) == "none"
    assert costs["none"]["flops"] < costs["concat"]["flops"] == costs["large_batch"]["flops"]
    json.dumps(costs)


@pytest.mark.slow
def test_latency_is_the_median_of_the_rounds_written(
    measured: tuple[dict[str, dict[str, float]], dict[str, list[float]]],
) -> None:
    costs, rounds = measured
    for arm, values in rounds.items():
        assert len(values) == ROUNDS
        assert costs[arm]["latency_ms"] == pytest.approx(np.median(values))
        assert costs[arm]["latency_iqr_ms"] == pytest.approx(np.subtract(*np.percentile(values, [75, 25])))


@pytest.mark.slow
def test_memory_grows_with_the_batch_and_not_with_the_driver(
    measured: tuple[dict[str, dict[str, float]], dict[str, list[float]]],
) -> None:
    costs, _ = measured
    assert costs["none"]["peak_memory_mib"] < 300
    assert costs["large_batch"]["peak_memory_mib"] > costs["concat"]["peak_memory_mib"] + 100


def test_rounds_are_interleaved(monkeypatch: pytest.MonkeyPatch) -> None:
    from fila_lab.cost import latency

    order: list[str] = []
    arms = {"none": tiny(**{"fusion.name": "none"}), "concat": tiny()}
    names = {id(config): arm for arm, config in arms.items()}
    monkeypatch.setattr(latency, "_forward", lambda model, batch, config: order.append(names[id(config)]) or 1.0)
    seconds = forward_seconds(arms, batch_size=2, rounds=3)
    turns = [order[i : i + 2] for i in range(0, len(order), 2)]
    assert all(sorted(turn) == ["concat", "none"] for turn in turns)
    assert {turn[0] for turn in turns} == {"concat", "none"}
    assert seconds == {"none": [0.5] * 3, "concat": [0.5] * 3}


@pytest.mark.parametrize(("seconds", "warm"), [(0.1, 3), (4.0, 1), (60.0, 1)])
def test_every_pass_is_warmed_up_in_whole_rounds_however_slow_they_are(monkeypatch: pytest.MonkeyPatch, seconds: float, warm: int) -> None:
    """Passes by a clock of their own: no arm, the last included, is timed cold, and all are warmed up equally often."""
    from fila_lab.cost import latency

    now, called = [0.0], dict.fromkeys("abcdef", 0)
    monkeypatch.setattr(latency.time, "perf_counter", lambda: now[0])

    def one(name: str) -> int:
        now[0] += seconds
        called[name] += 1
        return called[name]

    rounds = list(latency.interleaved({name: lambda name=name: one(name) for name in called}, 2))  # type: ignore[misc]
    assert rounds[0] == dict.fromkeys(called, warm + 1)
    assert rounds[1] == dict.fromkeys(called, warm + 2)


def test_the_batch_is_the_arms_own() -> None:
    config = tiny()
    assert largest_canvas(config) == (84, 84)
    assert largest_canvas(resolve_run("paper")) == (672, 672)
    batch = synthetic_batch(config, 3)
    assert batch.tiles.shape == (3, 4, 42, 42, 3)
    assert batch.detail is not None
    assert batch.detail.shape == (3, 192, 192, 3)
    assert synthetic_batch(tiny(**{"fusion.name": "none"}), 1).detail is None
    oracle = synthetic_batch(tiny(**{"fusion.control": "oracle_map"}), 1)
    assert oracle.detail is None
    assert oracle.oracle is not None
    assert [m.shape for m in oracle.oracle] == [(1, ORACLE_CHANNELS, side, side) for side in (48, 24, 12, 6)]


def test_what_does_not_fit_is_nan_and_still_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Full:
        available = 0

    monkeypatch.setattr(measure_module.psutil, "virtual_memory", lambda: Full)
    row = measure_arms({"none": tiny(**{"fusion.name": "none"})}, tmp_path)["none"]
    assert row["flops"] > 0
    assert math.isnan(row["latency_ms"])
    assert math.isnan(row["peak_memory_mib"])
    assert "GiB needed" in caplog.text


def test_a_process_that_dies_costs_a_column_not_the_pass(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(fresh.sys, "executable", "/bin/false")
    assert math.isnan(fresh.peak_memory_mib({"none": tiny()})["none"])
    assert "exit code 1" in caplog.text
