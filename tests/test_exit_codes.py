"""How `run` ends: 0 when every cell is done, 3 when one failed, and never with the offer of a report of nothing."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fila_lab.cli import main
from fila_lab.studies import Plan
from fila_lab.studies.options import Options

sys.path.insert(0, str(Path(__file__).parent / "studies"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """`fila-lab run` of the thin study on the fake cell, or another verb: (exit code, standard output, standard error)."""
    import fake_cell
    from thin_study import CELL, STUDY

    from fila_lab.studies import runner

    run_plan = runner.run_plan

    def on_fake_cells(plan: Plan, path: Path | None, root: Path, options: Options) -> Path:
        fake = replace(options, engine="inline", cell_function=CELL, prepare_function=None, measure=fake_cell.measure, tracking=False)
        return run_plan(plan, path, root, fake)

    monkeypatch.setattr(runner, "run_plan", on_fake_cells)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thin.yaml").write_text(STUDY, encoding="utf-8")

    def call(*arguments: str, verb: tuple[str, ...] = ("run", "thin.yaml", "--engine", "inline")) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([*verb, "--out", "out", *arguments])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return call


def test_all_done_is_0_and_offers_the_report(run: Any) -> None:
    code, out, _ = run()
    assert code == 0
    assert out.strip() == "report: fila-lab report thin.yaml --budget small --out out"


def test_a_study_is_planned_once(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fila_lab.studies import plan, runner, session

    made = []
    make_plan = plan.make_plan

    def counted(*arguments: Any, **named: Any) -> Plan:
        made.append(make_plan(*arguments, **named))
        return made[-1]

    for module in (plan, runner, session):
        monkeypatch.setattr(module, "make_plan", counted)
    assert run()[0] == 0
    assert len(made) == 1


def test_some_failed_is_3_and_says_what_to_do(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "concat")
    code, out, err = run()
    assert code == 3
    assert "report: " in out
    assert "2 of 6 cells failed (2 out_of_memory)" in err
    assert "run thin.yaml --budget small --out out --retry-failed` runs them again" in err
    assert not Path("out/costs.json").exists()
    assert run()[0] == 3, "a recorded failure stays one"
    monkeypatch.delenv("FAKE_FAIL")
    assert run("--retry-failed")[0] == 0
    assert Path("out/costs.json").exists()


def test_all_failed_offers_no_report(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "concat")
    text = (tmp_path / "thin.yaml").read_text(encoding="utf-8")
    (tmp_path / "thin.yaml").write_text(text.replace("small: {seeds: [0, 1]", "small: {seeds: [0, 1], arms: [concat]"), encoding="utf-8")
    code, out, err = run()
    assert code == 3
    assert "report: " not in out
    assert "nothing to report" in err


def test_help_documents_the_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert "3 some cell failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "there"], "STUDY = there: is a folder; give its study file, there/study.yaml"),
        (["run", "empty"], "STUDY = empty: is a folder; give a study's YAML file"),
        (["run", "mini"], "STUDY = mini is a preset, not a study; train it by itself (fila-lab train mini)"),
        (["plan", "own"], "STUDY = experiments/recipes/own.yaml is a preset, not a study; train it by itself (fila-lab train exp"),
        (["report", "experiments/recipes/own.yaml"], "own.yaml is a preset, not a study; train it by itself"),
        (["train", "thin.yaml"], "thin.yaml is a study, not a preset; run it (fila-lab run thin.yaml)"),
        (["train", "thin"], "RECIPE = thin is a study, not a preset; run it (fila-lab run thin)"),
        (["plan", "thin.yaml", "--out", "thin.yaml"], "--out = thin.yaml: is a file; give a folder"),
        (["run", "thin.yaml", "--shard", "2/2"], "counted from 0"),
        (["plan", "thin.yaml", "--set", "train.steps=3", "--set", "train.steps=4"], "--set train.steps is given twice"),
        (["plan", "thin.yaml", "--set", "data.seam.tasks={document:1}"], "write `document: 1`"),
        (["plan", "thin.yaml", "--budget", "fulll"], "did you mean 'full'"),
    ],
)
def test_arguments_of_another_kind(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "experiments" / "recipes").mkdir(parents=True)
    (tmp_path / "experiments" / "recipes" / "own.yaml").write_text("fusion.name: concat\ntrain: {steps: 3}\n", encoding="utf-8")
    (tmp_path / "experiments" / "thin.yaml").write_text((tmp_path / "thin.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "there" / "study.yaml").write_text((tmp_path / "thin.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_ctrl_c_while_the_command_loads_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import builtins

    real = builtins.__import__

    def interrupted(name: str, *rest: Any, **named: Any) -> Any:
        if name == "fila_lab.cli.verbs":
            raise KeyboardInterrupt
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", interrupted)
    with pytest.raises(SystemExit) as left:
        main(["presets", "list"])
    assert left.value.code == 130
    assert "stopped" in capsys.readouterr().err


TRAIN = ("train", "mini", "--set", "vit.weights=random", "--set", "convnext.weights=random", "--set", "language.weights=random")


def test_train_leaves_a_cell_in_a_folder_that_is_a_studys(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 with the commands that go on, and the same line trains nothing again; the folder's study file is the same run to every verb."""
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    code, out, _ = run("--set", "train.steps=7", "--seed", "3", verb=TRAIN)
    assert code == 0
    (cell,) = (tmp_path / "out" / "cells").iterdir()
    assert out.startswith(f"trained: out/cells/{cell.name}\n")
    for words in (
        "loss ",
        "exact/reading",
        f"fila-lab save out/cells/{cell.name} --to mini-model",
        f"fila-lab evaluate out/cells/{cell.name}",
    ):
        assert words in out
    assert run("--set", "train.steps=7", "--seed", "3", verb=TRAIN)[0] == 0
    assert run(verb=("run", "out/study.yaml", "--engine", "inline"))[0] == 0
    assert len((tmp_path / "log").read_text(encoding="utf-8").splitlines()) == 1


def test_a_training_that_failed_is_3_and_said_to_be_tried_again(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "concat")
    code, out, err = run(verb=TRAIN)
    assert (code, out) == (3, "")
    assert err.splitlines()[-1].endswith("; the same line with --retry-failed tries again")
    monkeypatch.delenv("FAKE_FAIL")
    assert run(verb=TRAIN)[0] == 3  # a recorded failure stands
    assert run("--retry-failed", verb=TRAIN)[0] == 0


@pytest.mark.parametrize(
    ("said", "words"), [("seed=3", "give --seed 3"), ("data.evaluate={}", "gives no score to judge the run by")], ids=["seed", "no test"]
)
def test_a_recipe_that_cannot_be_trained_by_itself_is_refused(run: Any, said: str, words: str) -> None:
    code, _, err = run("--set", said, verb=TRAIN)
    assert code == 2
    assert words in err
