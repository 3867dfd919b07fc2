"""Runs of studies whose searches are shown in a database: what it holds is what the folder says, whoever is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_searches import held, names
from sweep_study import found, write
from thin_study import Bench

from fila_lab.cli import main
from fila_lab.config import FilaError
from fila_lab.studies.sqlite import sqlite_url

HERE = Path(__file__).parents[1]
STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "impossible": "PRUNED", "failed": "FAIL"}
PRUNED = {"objectives": ["exact/reading"], "sampler": "tpe", "set": {"train.steps": 3, "train.validate_every": 1}}
PRUNED["pruner"] = {"name": "median", "n_startup_trials": 2}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, quick_disk: Path) -> str:
    return sqlite_url(quick_disk / "sweeps.db") if request.param == "sqlite" else str(request.getfixturevalue("server").database())


def same(out: Path, url: str, name: str) -> None:
    """Whether a database holds the very trials that a folder does."""
    made = found(out)
    shown = held(url, name)
    assert [(number, state) for number, state, *_ in shown] == [(trial["number"], STATES[trial["state"]]) for trial in made["trials"]]
    for trial, (_, state, parameters, values, steps, attributes) in zip(made["trials"], shown, strict=True):
        given = {path: value if isinstance(value, str | int | float) else json.dumps(value) for path, value in trial["parameters"].items()}
        assert parameters == given
        assert attributes["cells"] == trial["cells"]
        assert attributes.get("reason", "") == trial["reason"]
        assert (values if state == "COMPLETE" else None) == trial["values"]
        if len(made["objectives"]) == 1:
            assert steps == {int(step): repr(value) for step, value in trial["intermediate"].items()}


def test_a_sweep_is_shown_beside_its_results(bench: Bench) -> None:
    write(bench, trials=4, confirm=None).run(budget="swept", costs=False)
    same(bench.out, sqlite_url(bench.out / "sweep" / "optuna.db"), "thin-swept")


def test_folders_of_one_study_share_a_database(tmp_path: Path, url: str, log: Callable[[], list[str]]) -> None:
    benches = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        benches.append(write(Bench(tmp_path / name), trials=2, confirm=None, **PRUNED))
    benches[0].run(budget="swept", costs=False, sweep_storage=url)
    before = len(log())
    with pytest.raises(FilaError, match=r"--sweep-storage: .*'thin-swept' of the folder .*/a/out on .*--sweep-key"):
        benches[1].run(budget="swept", costs=False, sweep_storage=url)
    assert len(log()) == before, "nothing has run"
    benches[1].run(budget="swept", costs=False, sweep_storage=url, sweep_key="mine")
    same(benches[0].out, url, "thin-swept")
    same(benches[1].out, url, "mine")


@pytest.mark.slow
def test_each_arms_tuning_is_a_search_of_its_own(bench: Bench, url: str) -> None:
    bench.run(budget="full", costs=False, sweep_storage=url, sweep_key="key")
    bench.run(budget="full", costs=False, sweep_storage=url, sweep_key="key")
    assert names(url) == ["key/addition", "key/concat", "key/none"]
    for name in names(url):
        assert [row[1] for row in held(url, name)] == ["COMPLETE"] * 4


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        (
            "--sweep-storage",
            "postgresql://fila:sesame@127.0.0.1:9/x",
            "postgresql://fila:***@127.0.0.1:9/x does not answer",
        ),
        ("--sweep-storage", "sweeps.db", "has no scheme; write e.g. postgresql://"),
        ("--sweep-key", "", "--sweep-key = '' is no name"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    bench: Bench, option: str, value: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(bench)
    with pytest.raises(SystemExit) as ended:
        main(["run", str(bench.file), "--budget", "swept", "--out", str(bench.out), option, value])
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert says in said
    assert "sesame" not in said
    assert not bench.out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("sweep", [PRUNED, {"objectives": ["exact/reading", "flops"], "sampler": "nsga2"}], ids=["pruned", "front"])
def test_a_driver_killed_at_random_shows_the_same_trials_in_the_end(tmp_path: Path, url: str, sweep: dict) -> None:
    whole = write(Bench(_folder(tmp_path / "whole")), trials=24, confirm=None, **sweep)
    whole.run(budget="swept", costs=False)
    bench = write(Bench(_folder(tmp_path / "killed")), trials=24, confirm=None, **sweep)
    options = {"costs": False, "sweep_storage": url, "sweep_key": "key", "workers": 2}
    command = [sys.executable, str(HERE / "drive.py"), str(bench.file), str(bench.out), "swept", "process", json.dumps(options)]
    environment = {**os.environ, "FAKE_SECONDS": "0.5", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    chance = random.Random(5)
    kills = 0
    while True:
        driver = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
        began = time.monotonic()
        while driver.poll() is None and kills < 6 and (not (bench.out / "lock.json").exists() or time.monotonic() - began < 4):
            time.sleep(0.05)
        if kills >= 6:
            assert driver.wait(300) == 0, driver.stderr.read() if driver.stderr else ""
            break
        time.sleep(chance.uniform(0, 3))
        if driver.poll() is not None:
            break
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        kills += 1
    assert kills
    assert found(bench.out) == found(whole.out)
    assert names(url) == ["key"]
    same(bench.out, url, "key")


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
