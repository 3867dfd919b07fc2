"""Every study of experiments/, at a tiny budget, from plan to report; and one that is stopped on the way and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from fila_lab.cli import main
from fila_lab.config import load_study, parse_set
from fila_lab.studies import ResultStore, run_study

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
FILES = sorted(EXPERIMENTS.glob("*.yaml"))
SETS = (  # a canvas needs two items for the control `foreign`, hence not fewer
    *("data.train_pool=160", "data.train_items=120", "data.val_pool=60", "data.val_items=40", "data.test_triplets=40"),
    *("train.steps=4", "train.batch_size=16", "train.log_every=2", "train.validate_every=2"),
)
FEW_ARMS = 6
"""Up to this many arms a study gets two seeds, so that pairing, too, is run."""
SECONDS = 300
"""Longest wait for the first cell of the study that is stopped."""

pytestmark = pytest.mark.studies


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def _tiny(file: Path, folder: Path, **changes: Any) -> Path:
    """A copy of a study file whose one budget is `tiny`."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    seeds = [0, 1] if len(load_study(file).arms) <= FEW_ARMS else [0]
    content["budgets"] = {"tiny": {"seeds": seeds, "workers": 2} | changes}
    path = folder / file.name
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def _say(*arguments: str) -> None:
    """A command line that must succeed, in this process."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert not stop.value.code


def _flags(sets: tuple[str, ...]) -> list[str]:
    return [word for text in sets for word in ("--set", text)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_study_runs_from_plan_to_report(file: Path, tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, out = _tiny(file, tmp_path), tmp_path / "out"
    _say("plan", str(study), "--budget", "tiny", "--out", str(out), *_flags(SETS))
    assert "0 done" in capsys.readouterr().out
    run_study(study, budget="tiny", overrides=parse_set(SETS), out=out, cache_dir=cache_dir, tracking=False, costs=False)
    results = ResultStore(out).results()
    planned = json.loads((out / "plan.json").read_text(encoding="utf-8"))["cells"]
    assert set(results) == {cell["id"] for cell in planned}
    assert {cell: result.failure for cell, result in results.items() if result.status != "done"} == {}

    _say("report", str(out))
    said = capsys.readouterr().out
    loaded = load_study(study)
    assert all(result.metrics[loaded.metric] is not None for result in results.values())
    page = (out / "report" / "report.html").read_text(encoding="utf-8")
    for section in ("Contrasts by family", "Failure signatures", "Arms: quality and cost", "Self-checks"):
        assert f"<h2>{section}</h2>" in page, section
    assert ("Crossed factors" in page) == bool(loaded.factors)
    assert '<b class="wrong">FAILED</b>' not in page
    assert "report/report.html" in said.replace("\n", "")


def test_a_study_that_is_stopped_goes_on_where_it_was(tmp_path: Path, cache_dir: Path) -> None:
    study = _tiny(EXPERIMENTS / "fusion_methods.yaml", tmp_path, arms=["none", "concat"], seeds=[0, 1], tune=True)
    out = tmp_path / "out"
    environment = os.environ | {"FILA_LAB_CACHE": str(cache_dir), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "fila_lab", "run", str(study), "--budget", "tiny", "--out", str(out), *_flags(SETS)]

    first = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, preexec_fn=_interruptible)
    until = time.monotonic() + SECONDS
    while not (before := _results(out)) and first.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    first.send_signal(signal.SIGINT)
    assert first.wait(SECONDS) == 130
    before = _results(out)
    total = 2 * 2 + 2 * 3  # arms x seeds, and arms x trials
    assert 0 < len(before) < total

    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=SECONDS)
    after = _results(out)
    assert len(after) == total
    assert {path: after[path] for path in before} == before, "what was done was not done again"
    assert all(result.status == "done" for result in ResultStore(out).results().values())
    assert set(json.loads((out / "costs.json").read_text(encoding="utf-8"))) == {"none", "concat"}


def _results(out: Path) -> dict[str, tuple[int, str]]:
    """Result files: time of writing and content."""
    return {path.parent.name: (path.stat().st_mtime_ns, path.read_text(encoding="utf-8")) for path in out.glob("cells/*/result.json")}


def _interruptible() -> None:
    """A test run in the background inherits SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
