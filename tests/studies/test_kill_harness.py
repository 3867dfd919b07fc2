"""Kills at random instants, mirror on, checkpoints on another file system than TMPDIR: nothing lost, doubled, unequal or left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import TARGETS, Harness, outcomes
from sweep_study import sweep_study
from thin_study import Bench

REAL = """
name: real
question: is anything lost?
set:
  vit.weights: random
  convnext.weights: random
  language.weights: random
  data.train_pool: 48
  data.train_items: 40
  data.val_pool: 16
  data.val_items: 12
  data.test_triplets: 8
  train.steps: 24
  train.batch_size: 4
  train.log_every: 5
  train.validate_every: 7
arms:
  none: {role: baseline, set: {fusion.name: none}}
  concat: {set: {fusion.name: concat}}
families: {fusion: {contrasts: [[concat, none]]}}
margin: 0.03
budgets:
  small: {seeds: [0, 1]}
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the test's, where there is one."""
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK) and memory.stat().st_dev != tmp_path.stat().st_dev
    folder = Path(tempfile.mkdtemp(dir=memory if usable else tmp_path))
    yield folder
    shutil.rmtree(folder)


def report(harness: Harness, seconds: float, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        by_target = ", ".join(f"{count} {target}" for target, count in sorted(harness.kills.items()))
        print(f"\n{sum(harness.kills.values())} kills ({by_target}) over {harness.folders} folders in {seconds / 60:.1f} minutes")


def run(
    tmp_path: Path,
    elsewhere: Path,
    capsys: pytest.CaptureFixture[str],
    kills: int,
    targets: tuple[str, ...] = TARGETS,
    real: bool = False,
    swept: str = "",
    tracking: bool = True,
) -> Harness:
    (tmp_path / "whole").mkdir()
    whole = Bench(tmp_path / "whole")
    study = REAL if real else swept
    if study:
        whole.file.write_text(study, encoding="utf-8")
    budget = "small" if real else "swept" if swept else "full"
    further = {"cell_function": "often_cell:run_cell", "prepare_function": "fila_lab.studies.prepare:prepare"} if real else {}
    whole.run(budget=budget, cache_dir=tmp_path / "whole" / "cache", **further)
    options = {"tracking": tracking} | ({"real": True} if real else {})
    harness = Harness(tmp_path, elsewhere, outcomes(whole.store), budget, options, seed=kills)
    harness.study = study
    if swept:
        harness.files = {name: (whole.out / name).read_bytes() for name in ("sweep/trials.json", "sweep/cells.jsonl")}
    began = time.monotonic()
    harness.campaign(kills, targets)
    report(harness, time.monotonic() - began, capsys)
    return harness


def test_a_few_kills(tmp_path: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the mirror, whose loading takes a driver longer than all else."""
    harness = run(tmp_path, elsewhere, capsys, 2, ("driver", "both"), tracking=False)
    assert sum(harness.kills.values()) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("targets", [TARGETS, ("mirror",)], ids=["everything", "mirror"])
def test_many_kills(tmp_path: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str], targets: tuple[str, ...]) -> None:
    harness = run(tmp_path, elsewhere, capsys, 48 if targets == TARGETS else 12, targets)
    assert set(harness.kills) == set(targets)


PRUNED = {
    "objectives": ["exact/reading"],
    "sampler": "tpe",
    "trials": 16,
    "pruner": {"name": "median", "n_startup_trials": 2},
    "set": {"train.steps": 40, "train.validate_every": 10},
}


@pytest.mark.slow
@pytest.mark.parametrize("search", [{"trials": 16}, PRUNED], ids=["two objectives", "pruning"])
def test_kills_of_a_sweep(tmp_path: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str], search: dict[str, Any]) -> None:
    """The same trials and the same front, bit for bit."""
    harness = run(tmp_path, elsewhere, capsys, 12, swept=sweep_study(**search))
    assert set(harness.kills) == set(TARGETS)
    trials = json.loads(harness.files["sweep/trials.json"])["trials"]
    assert len(trials) == 16
    assert ("pruned" in {trial["state"] for trial in trials}) == ("pruner" in search)


@pytest.mark.slow
def test_kills_of_real_cells(tmp_path: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harness = run(tmp_path, elsewhere, capsys, 24, real=True)
    assert set(harness.kills) == set(TARGETS)


@pytest.mark.slow
@pytest.mark.parametrize("small", ["cache", "out"])
def test_a_disk_that_is_full_and_then_enlarged(
    tmp_path: Path, elsewhere: Path, disk: Callable[[str], Path], capsys: pytest.CaptureFixture[str], small: str
) -> None:
    """The same command completes, and its table is that of a machine with room, mirror and real cells included."""
    (tmp_path / "whole").mkdir()
    whole = Bench(tmp_path / "whole")
    whole.file.write_text(REAL, encoding="utf-8")
    roomy = {"cell_function": "often_cell:run_cell", "prepare_function": "fila_lab.studies.prepare:prepare"}
    whole.run(cache_dir=tmp_path / "whole" / "cache", **roomy)
    place = disk("200k" if small == "cache" else "1m")
    harness = Harness(tmp_path, elsewhere, outcomes(whole.store), "small", {"real": True}, seed=0)
    (tmp_path / "tried").mkdir()
    bench = Bench(tmp_path / "tried")
    bench.file.write_text(REAL, encoding="utf-8")
    if small == "cache":
        harness.options["cache_dir"] = str(place / "cache")
    else:
        bench.out = place / "out"
    for size in ("2m", "4m", None):
        code = harness._start(bench).wait()
        said = (bench.file.parent / "driver.log").read_text(encoding="utf-8")
        if size is not None:
            assert code != 0, "the disk is too large for this test"
            assert "free space there" in said
            assert not bench.store.failures()
            harness._nothing_torn(bench)
        subprocess.run(["mount", "-o", f"remount,size={size or '1g'}", str(place)], check=True)
    harness._complete(bench)
