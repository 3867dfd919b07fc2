"""What this machine cannot do is refused before anything is computed: absent devices, settings that are no settings."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from thin_study import Bench

from fila_lab.config import ConfigError, RunConfig, resolve_run
from fila_lab.config.files import cache_limit
from fila_lab.studies import machine, make_plan
from fila_lab.studies.lock import Shard

RANDOM = {"vit.weights": "random", "convnext.weights": "random", "language.weights": "random"}


def run(accelerator: str, devices: int = 1) -> RunConfig:
    return resolve_run("mini", RANDOM, {"runtime.accelerator": accelerator, "runtime.devices": devices})


@pytest.mark.parametrize(
    ("there", "wanted", "words"),
    [
        (0, 1, "set runtime.accelerator=cpu"),
        (1, 2, "runtime.devices = 2: 1 GPU is here"),
        (2, 4, "2 GPUs are here; use --set runtime.devices=2"),
    ],
)
def test_absent_devices_are_refused(monkeypatch: pytest.MonkeyPatch, there: int, wanted: int, words: str) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: ("no CUDA device is here", there))
    with pytest.raises(ConfigError) as error:
        machine.check_devices([run("cpu"), run("gpu", wanted)])
    assert words in str(error.value)
    machine.check_devices([run("cpu", 8)])  # processes, as many as one likes
    monkeypatch.setattr(machine, "gpus", lambda: ("", wanted))
    machine.check_devices([run("gpu", wanted)])
    monkeypatch.setattr(machine, "gpus", lambda: ("", None))
    machine.check_devices([run("gpu", wanted)])


def test_planning_counts_the_devices_that_torch_finds() -> None:
    import torch

    _, there = machine.gpus()
    assert there == torch.cuda.device_count()


def test_a_plan_for_another_machine_is_forced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: ("no CUDA device is here", 0))
    from fila_lab.config import load_study

    plan = make_plan(load_study(bench.file), None, {"runtime.accelerator": "gpu"})
    with pytest.raises(ConfigError, match="no CUDA device is here"):
        machine.check_machine(plan, 1)
    assert any("no CUDA device" in message for message in machine.check_machine(plan, 1, force=True))
    assert not any("no CUDA device" in message for message in machine.check_machine(plan, 1, force=True, elsewhere=True))
    with pytest.raises(ConfigError, match="no CUDA device is here"):
        bench.run(overrides={"runtime.accelerator": "gpu"})
    assert not bench.out.exists()


@pytest.mark.parametrize("text", ["10G", "10 GiB", "-3", "0", "nan", "inf", "1e999", "ten", "0x10"])
def test_a_cache_size_that_is_none_is_refused_by_name(bench: Bench, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FILA_LAB_CACHE_GIB", text)
    with pytest.raises(ConfigError, match=rf"^FILA_LAB_CACHE_GIB = '{text}' is no size.*give a positive number of GiB"):
        cache_limit()
    with pytest.raises(ConfigError, match="FILA_LAB_CACHE_GIB"):
        bench.run()
    assert not bench.out.exists()


@pytest.mark.parametrize(("text", "gib"), [("", 40), (" ", 40), ("10", 10), ("0.5", 0.5), ("1e2", 100)])
def test_a_cache_size(monkeypatch: pytest.MonkeyPatch, text: str, gib: float) -> None:
    monkeypatch.setenv("FILA_LAB_CACHE_GIB", text)
    assert math.isclose(cache_limit(), gib * 2**30)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2/2", "counted from 0, so of 2 they are 0/2 and 1/2"),
        ("9/4", "0/4, 1/4, 2/4 and 3/4"),
        ("1/1", "0/1 alone"),
        ("12/12", "0/12, 1/12, 2/12, ... and 11/12"),
        ("1/0", "is not i/n"),
        ("²/3", "is not i/n"),
        ("-1/2", "is not i/n"),
        ("1", "is not i/n"),
        ("", "is not i/n"),
    ],
)
def test_shares_are_counted_from_0_and_the_message_says_so(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        Shard.parse(text)
    assert words in str(error.value)


def test_every_share_is_taken() -> None:
    for count in range(1, 6):
        assert [Shard.parse(f"{index}/{count}").index for index in range(count)] == list(range(count))


def test_a_failed_cell_is_met_with_no_costs_unless_asked_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "concat")
    bench.run()
    assert "costs are not measured, for 2 cells failed; --retry-failed" in bench.said.getvalue()
    assert not (bench.out / "costs.json").exists()
    bench.run(costs=True)
    assert (bench.out / "costs.json").exists()


@pytest.mark.parametrize("costs", [True, None, False])
def test_costs_and_no_costs(bench: Bench, costs: bool | None) -> None:
    bench.run(costs=costs)
    assert (bench.out / "costs.json").exists() is (costs is not False)
    assert ("costs: done in" in bench.said.getvalue()) is (costs is not False)


def test_the_only_budget_is_run_without_its_name(bench: Bench, tmp_path: Path) -> None:
    text = bench.file.read_text(encoding="utf-8").replace("  small:", "  huge:")
    bench.file.write_text(text.replace("  full: {seeds: [0, 1], tune: true}\n", ""), encoding="utf-8")
    bench.run()
    assert '"budget": "huge"' in (bench.out / "plan.json").read_text(encoding="utf-8")
