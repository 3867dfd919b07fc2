"""Workers and drivers that are killed, and Ctrl-C."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from thin_study import Bench, quality

from fila_lab.config import MachineError

HERE = Path(__file__).parent
Log = Callable[[], list[str]]
WORKERS = pytest.mark.parametrize("engine", ["process", pytest.param("ray", marks=pytest.mark.slow)])
"""Engines whose workers can be lost."""


def drive(bench: Bench, budget: str = "small", engine: str = "process") -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "drive.py"), str(bench.file), str(bench.out), budget, engine]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@WORKERS
def test_a_killed_worker_is_replaced_and_its_cell_tried_again(
    bench: Bench, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setenv("FAKE_KILL", "concat")
    monkeypatch.setenv("FAKE_KILL_ONCE", str(tmp_path / "killed"))
    bench.run(engine=engine, workers=2)
    assert not bench.store.failures()
    assert len(log()) == 7
    assert "was killed (signal 9" in bench.said.getvalue()
    assert "tried once more" in bench.said.getvalue()


@WORKERS
@pytest.mark.parametrize("number", [signal.SIGSEGV, pytest.param(signal.SIGABRT, marks=pytest.mark.slow)])
def test_a_cell_that_crashes_every_worker_is_a_failed_cell(
    bench: Bench, engine: str, monkeypatch: pytest.MonkeyPatch, log: Log, number: signal.Signals
) -> None:
    monkeypatch.setenv("FAKE_KILL", "concat")
    monkeypatch.setenv("FAKE_SIGNAL", str(int(number)))
    bench.run(engine=engine, workers=2)
    failures = bench.store.failures().values()
    assert len(failures) == 2
    assert all(number.name in result.failure.message and "tried 2 times" in result.failure.message for result in failures if result.failure)
    assert len(bench.store.done_ids()) == 6
    assert len(log()) == 8


OUTSIDE = [signal.SIGKILL, pytest.param(signal.SIGBUS, marks=pytest.mark.slow), pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]


@WORKERS
@pytest.mark.parametrize("number", OUTSIDE)
def test_a_cell_whose_workers_are_killed_is_undone_and_the_others_go_on(
    bench: Bench, engine: str, monkeypatch: pytest.MonkeyPatch, log: Log, number: signal.Signals
) -> None:
    """A signal from outside, memory that ran out or a cut file say nothing of the cell."""
    monkeypatch.setenv("FAKE_KILL", "concat")
    monkeypatch.setenv("FAKE_SIGNAL", str(int(number)))
    with pytest.raises(MachineError, match=r"2 cells were left undone.*finished cells are kept.*\n.*tried 2 times; free memory.*--workers"):
        bench.run(engine=engine, workers=2)
    assert not bench.store.failures()
    assert len(bench.store.done_ids()) == 4
    monkeypatch.delenv("FAKE_KILL")
    bench.run(engine=engine)
    assert len(bench.store.done_ids()) == 6
    assert len(log()) == 10


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["inline", "process"])
def test_a_driver_killed_at_random_instants_ends_with_the_same_table(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    (tmp_path / "reference").mkdir()
    whole = Bench(tmp_path / "reference")
    whole.run(budget="full")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "cells.log"))
    monkeypatch.setenv("FAKE_SECONDS", "0.2")
    chance = random.Random(engine)
    for _ in range(2):
        known = len(bench.store.ids())
        driver = drive(bench, "full", engine)
        wait_until(lambda known=known: len(bench.store.ids()) > known)
        time.sleep(chance.uniform(0, 0.6))
        workers = psutil.Process(driver.pid).children()
        driver.kill()
        driver.wait()
        psutil.wait_procs(workers, timeout=5)
        assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers), (
            "a worker outlived its driver"
        )
    assert drive(bench, "full", engine).wait() == 0
    assert quality(bench.store) == quality(whole.store)
    assert (bench.out / "tuning" / "trials.csv").read_text(encoding="utf-8") == (whole.out / "tuning" / "trials.csv").read_text(
        encoding="utf-8"
    )
    started = (tmp_path / "cells.log").read_text(encoding="utf-8").splitlines()
    assert len(started) <= 18 + 2 * 2, "only cells under way at a kill run again"


@pytest.mark.parametrize("engine", ["inline", "process"])
def test_ctrl_c_stops_within_seconds_and_says_what_is_left(bench: Bench, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "1.5")
    driver = drive(bench, engine=engine)
    wait_until(lambda: bool(bench.store.done_ids()))
    workers = psutil.Process(driver.pid).children()
    os.kill(driver.pid, signal.SIGINT)
    stopped = time.monotonic()
    _, said = driver.communicate(timeout=10)
    assert time.monotonic() - stopped < 5
    assert driver.returncode != 0
    assert "Left: " in said
    assert "addition seeds 0, 1" in said
    assert "The same command goes on" in said
    assert not any(worker.is_running() for worker in workers)
    monkeypatch.setenv("FAKE_SECONDS", "0")
    bench.run()
    assert len(bench.store.done_ids()) == 6
