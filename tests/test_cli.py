"""The command line: quick to answer, one message and exit code 2 for a mistake, 130 for Ctrl-C."""

from __future__ import annotations

import math
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fila_lab.cli import main
from fila_lab.config import FilaError, load_preset, preset_names
from fila_lab.config.base import ToldInterrupt

ROOT = Path(__file__).parents[1]
RANDOM = ["--set", "vit.weights=random", "--set", "convnext.weights=random", "--set", "language.weights=random"]
STUDY = str(ROOT / "experiments" / "fusion_methods.yaml")
VERBS = ("plan", "run", "status", "arms", "report", "sync", "ui", "publish", "reproduce", "diff", "train", "predict", "chat", "save")
VERBS += ("evaluate", "score", "audit", "probe", "cost", "calibrate", "pretrain", "weights", "keys", "doctor", "data", "presets")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command line in this process: (exit code, standard output, standard error)."""
    monkeypatch.chdir(ROOT)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run


@pytest.fixture(scope="module")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where processes of this module find what the first of them compiled."""
    return tmp_path_factory.mktemp("bytecode")


YARDSTICK = ("sum(n * n for n in range(2_000_000))", 0.12)
"""Plain computing, and the seconds that it takes where half a second is meant."""


@pytest.mark.parametrize("arguments", [["--help"], ["plan", STUDY, *RANDOM]], ids=["help", "plan"])
def test_answers_at_once(arguments: list[str], tmp_path: Path, bytecode: Path) -> None:
    """Start-up is pure computing, so its processor time is its time on an idle machine, however busy this one is. Best of four, with
    bytecode, which an installed package has whatever this machine says of keeping it; slower machines are given as much longer as plain
    computing takes there."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    kept["PYTHONPYCACHEPREFIX"] = str(bytecode)

    def seconds(*command: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], cwd=tmp_path, env=kept, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    yardstick, usual = YARDSTICK
    shares = []
    while min(shares, default=math.inf) >= 0.5 and len(shares) <= 4:
        slower = max(1.0, seconds("-c", yardstick) / usual)
        shares.append(seconds("-m", "fila_lab", *arguments) / slower)
    assert min(shares) < 0.5


def test_help_lists_the_verbs_in_the_order_of_work_and_the_page_names_the_same(call: Any) -> None:
    _, out, _ = call("--help")
    listed = re.findall(r"^  ([a-z]+)  ", out.partition("Commands:")[2], re.MULTILINE)
    assert tuple(listed) == VERBS
    page = (ROOT / "docs" / "reference" / "at_a_glance.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z]+)(?=[ `,])", page, re.MULTILINE)) == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_teaches_with_an_example(call: Any, verb: str) -> None:
    code, out, _ = call(verb, "--help")
    assert code == 0
    assert "Usage: fila-lab" in out
    assert f"  fila-lab {verb}" in out or verb in ("data", "presets")


def test_plan_says_what_is_crossed_and_how_many_seeds_its_effects_need(call: Any, tmp_path: Path) -> None:
    for budget, verdict in (("full", "enough"), ("small", "3 cannot be tested: estimates and intervals only")):
        code, out, _ = call("plan", "crossed", "--budget", budget, "--out", str(tmp_path / "none_yet"), *RANDOM)
        assert code == 0
        assert f"crossed   fusion (3) x depth (2) x k (3): 6 effects need 8 seeds; {verdict}" in out


def test_plan_prints_cells_time_memory_and_what_the_seeds_show(call: Any, tmp_path: Path) -> None:
    code, out, err = call("plan", "fusion_methods", "--out", str(tmp_path / "none_yet"), *RANDOM)
    assert (code, err) == (0, "")
    for words in ("cross_attention", "12 to do", "time ", "memory ", "cache ", "effect ", "6 contrasts need 8 seeds", "cannot be tested"):
        assert words in out
    assert not (tmp_path / "none_yet").exists()  # a plan starts nothing


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "fusion_method"], "did you mean 'fusion_methods'"),
        (["plan", STUDY, "--budget", "ful"], "did you mean 'full'"),
        (["plan", STUDY, *RANDOM, "--set", "train.stpes=3"], "unknown key 'train.stpes' (did you mean 'steps'?)"),
        (["plan", STUDY, *RANDOM, "--set", "geometry.detail_cells=0"], "geometry.detail_cells = 0"),
        (["plan", STUDY, "--set", "vit.weights=nowhere.safetensors"], "the weights file nowhere.safetensors is missing"),
        (["run", STUDY, "--engine", "proces"], "did you mean 'process'"),
        (["run", STUDY, "--address", "auto"], "--address = auto is of a Ray cluster, and cells run with --engine process"),
        (["run", STUDY, "--engine", "ray", "--address", "head"], "--address = 'head' is no address of a Ray cluster"),
        (["run", STUDY, "--engine", "ray", "--cell-gpus", "0.5"], "--cell-gpus = 0.5: the study's cells compute on CPUs"),
        (["reproduce", "concat:0"], "CELL = concat:0: whose? give --study STUDY"),
        (["reproduce", "concta:0", "--study", "experiments/results/fusion_methods"], "did you mean 'concat'"),
        (["reproduce", "concat:0", "--out", "experiments/results/fusion_methods", "-b", "wrong"], "fusion_methods holds the budget 'full'"),
        (["status", "experiments/results/fusion_methods", "--budget", "small"], "fusion_methods holds the budget 'full'"),
        (["diff", "concat", "none"], "'concat' is of which study?"),
        (["status", STUDY, "--out", "no/such/folder"], "no such result folder"),
        (["report", STUDY, "--out", "no/such/folder"], "no such result folder"),
        (["presets", "show", "minni"], "did you mean 'mini'"),
        (["keys", "train.stpes"], "did you mean 'train.steps'"),
        (["weights"], "PRESET and --smollm2: neither is given"),
        (["weights", "mini", "--smollm2", "somewhere"], "PRESET and --smollm2: both are given"),
        (["weights", "--smollm2", "somewhere", "--json"], "leave --set and --json out"),
        (["weights", "--smollm2", "docs"], "--smollm2 = docs exists and is no empty folder"),
        (["predict", "no.png", "what?", "--cell", "."], "IMAGE = no.png"),
        (["evaluate", "no", "--benchmark", "docvqa=x"], "CELL = no: no such folder"),
        (["evaluate", ".", "--benchmark", "docvqa"], "'docvqa' is not NAME=PATH"),
        (["evaluate", ".", "--benchmark", "docvqq=x"], "did you mean 'docvqa'"),
        (["evaluate", ".", "--benchmark", "pope=x", "--benchmark", "pope=y"], "pope is given twice"),
        (["evaluate", ".", "--benchmark", "docvqa=x"], "there is no model.safetensors"),
        (["evaluate", ".", "--benchmark", "entity_grid"], "there is no model.safetensors"),
        (["data", "tsv", "entity_grid", "--path", "x", "--out", "y.tsv"], "leave --path out"),
        (["probe", STUDY], "--arm is missing; choose none, concat"),
        (["probe", STUDY, "--arm", "concta"], "did you mean 'concat'"),
        (["pretrain", "vitt"], "choose vit, convnext, answers"),
        (["pretrain", "vit", "--solved", "0.1"], "--solved is of the answers"),
        (["pretrain", "convnext", "--steps", "0"], "--steps 0 is of the answers"),
        (["pretrain", "vit", "--device", "tpu"], "choose cpu, cuda, auto"),
        (["data", "preview", "--split", "dev"], "choose train, val or test"),
        (["data", "preview", "--task", "chrt"], "did you mean 'chart'"),
        (["data", "card", "--set", "data.seam.cut_share=[0.1, 0.5]"], "data.seam.cut_share = [0.1, 0.5]"),
        (["data", "card", "--set", "data.seam.tasks={chrt: 1}"], "did you mean 'chart'"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(call: Any, arguments: list[str], words: str) -> None:
    code, out, err = call(*arguments)
    assert code == 2
    assert words in err
    assert out == ""
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_a_plan_on_gpus_says_whether_a_usual_one_holds_a_cell(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fila_lab.cost.closed import fitting

    said = ("plan", STUDY, "--force", "--set", "runtime.accelerator=gpu", "--out", str(tmp_path))
    assert "one of 80.0 GiB holds it\n" in call(*said)[1]
    monkeypatch.setattr(fitting, "USUAL", 2**30)
    assert "one of 1.0 GiB holds the same steps with --set train.batch_size=" in call(*said, "--set", "train.batch_size=2000")[1]


def test_debug_shows_the_traceback_wherever_it_stands() -> None:
    for arguments in (["--debug", "plan", "nothing"], ["plan", "nothing", "--debug"]):
        with pytest.raises(FilaError, match="no such file"):
            main(arguments)


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [(KeyboardInterrupt(), 130, "same command goes on"), (ToldInterrupt(), 130, ""), (FilaError("out: full"), 2, "out: full")],
)
def test_run_hands_over_and_ends_well(
    call: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raised: BaseException, code: int, words: str
) -> None:
    from fila_lab.studies import runner

    seen: list[Any] = []

    def run_plan(*handed: Any) -> Path:
        seen.extend(handed)
        raise raised

    monkeypatch.setattr(runner, "run_plan", run_plan)
    arguments = ["--set", "train.steps=3", "--engine", "inline", "--workers", "1", "--shard", "1/2", "--out", str(tmp_path)]
    found, _, err = call("run", STUDY, *arguments)
    assert found == code
    assert words in err
    assert bool(err) == bool(words)  # what has been said is not said again
    plan, path, out, options = seen
    assert (plan.budget, plan.overrides) == ("small", {"train.steps": 3})
    assert (str(path), out) == (STUDY, tmp_path)
    assert (options.engine, options.workers, str(options.shard)) == ("inline", 1, "1/2")


def test_presets_and_costs(call: Any) -> None:
    assert call("presets", "list")[1].split() == ["base", "mini", "paper"]
    shown = call("presets", "show", "mini", "--set", "train.steps=3")[1]
    assert "detail_cells: 3" in shown
    assert re.search(r"^  steps: 3 +# optimiser steps", shown, re.MULTILINE)
    assert "7.2" in call("cost", "--preset", "paper")[1]  # billions of parameters
    assert "cross_attention" in call("cost", "fusion_methods", *RANDOM)[1]


def test_a_preset_that_is_shown_is_a_preset_file(call: Any, tmp_path: Path) -> None:
    """Tower pairs and all: weights that pairs name are not said a second time."""
    for name in preset_names():
        file = tmp_path / f"{name}.yaml"
        file.write_text(call("presets", "show", name)[1], encoding="utf-8")
        assert load_preset(str(file)) == load_preset(name)


def test_makefile_explains_itself() -> None:
    text = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "MAKEFLAGS": ""}).stdout
    assert all(f"make {target}" in text for target in ("help", "setup", "compare", "test", "lint"))
