"""`arms --front`: the front of this very search, or one message that says why there is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from sweep_study import found, write
from thin_study import Bench

from fila_lab.config import FilaError
from fila_lab.studies import runner
from fila_lab.studies.searches import study_search, trial_mirrors
from fila_lab.studies.searches.front_study import front_study


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = Bench(tmp_path_factory.mktemp("swept"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_mirrors, "TrialMirror", lambda *_: MagicMock())
        patch.setattr(runner, "code_hash", lambda *_: "code")
        write(bench, objectives=["flops", "parameters"], trials=3, confirm=None).run(budget="swept", costs=False)
    return bench


@pytest.fixture
def copy(swept: Bench, tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    shutil.copytree(swept.out, bench.out)
    return bench


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def lose(content: dict[str, Any]) -> None:
    """As if no trial could be measured."""
    content["front"], content["arms"] = [], {}
    for trial in content["trials"]:
        trial.update(state="failed", values=None, reason="no latency could be measured")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda made: made.update(front=[99]), r"sweep/trials\.json cannot be read"),
        (lambda made: [trial.update(values=["dear", None]) for trial in made["trials"]], r"sweep/trials\.json cannot be read"),
        (lambda made: made.update(schema=99), "schema 99 is of a newer fila_lab"),
        (lambda made: made.update(front=[], complete=False), "has no complete trial yet; the same `fila-lab run` goes on"),
        (lose, r"ended without a front, for none of its 3 trials is complete \(the first .*: no latency could be measured\)"),
    ],
)
def test_a_folder_without_a_front_says_why(copy: Bench, change: Callable[[dict[str, Any]], object], words: str) -> None:
    edit(copy.out / "sweep" / "trials.json", change)
    with pytest.raises(FilaError, match=words):
        front_study(copy.out)


def test_a_search_that_was_killed_at_its_first_batch_goes_on(copy: Bench) -> None:
    (copy.out / "sweep" / "trials.json").unlink()
    with pytest.raises(FilaError, match="has no complete trial yet; the same `fila-lab run` goes on"):
        front_study(copy.out)


def test_a_folder_that_does_not_sweep_has_no_front_whatever_lies_in_it(copy: Bench) -> None:
    edit(copy.out / "plan.json", lambda plan: plan["study"]["budgets"]["swept"].update(sweep=False))
    with pytest.raises(FilaError, match="budget 'swept' of study 'thin' does not sweep"):
        front_study(copy.out)
    (copy.out / "plan.json").unlink()
    with pytest.raises(FilaError, match=r"holds no plan\.json"):
        front_study(copy.out)


def test_a_search_that_has_not_ended_says_so_of_its_front(copy: Bench, caplog: pytest.LogCaptureFixture) -> None:
    front_study(copy.out)
    assert not caplog.records
    edit(copy.out / "sweep" / "trials.json", lambda made: (made.update(complete=False), made["search"].update(trials=60)))
    assert front_study(copy.out)["arms"]
    assert "has not ended (3 of 60 trials are told); this is the front so far" in caplog.text


def test_what_another_search_found_is_gone_before_this_ones_first_question(copy: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill at that moment leaves a folder whose trials would otherwise be those of the other search."""
    write(copy, objectives=["flops"], sampler="tpe", trials=3, confirm=None)
    monkeypatch.setattr(study_search, "TrialMirrors", MagicMock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        copy.run(budget="swept", costs=False)
    made = found(copy.out)
    assert ([objective["name"] for objective in made["objectives"]], made["trials"], made["complete"]) == (["flops"], [], False)


def test_a_run_says_that_its_search_has_no_front(copy: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(trial_mirrors, "TrialMirror", lambda *_: MagicMock())
    write(copy, objectives=["flops", "latency"], trials=3).run(budget="swept", costs=False)
    assert "sweep: none of the 3 trials is complete, so there is no front (the first: no latency could be measured)" in caplog.text
