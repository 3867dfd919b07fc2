"""A pruned sweep is a function of its study file: whatever is killed, whoever is faster, and whoever else asked for the same cells."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_cell
import pytest
import yaml
from harness import Harness, outcomes
from sweep_study import found, sweep_study
from test_kill_harness import REAL
from thin_study import Bench

from fila_lab.config import load_study
from fila_lab.studies import ResultStore
from fila_lab.studies.plan import make_plan
from fila_lab.studies.searches.searching import Seams
from fila_lab.studies.searches.sweep import Sweeper

PRUNERS: list[Any] = [
    {"name": "median", "n_startup_trials": 2},
    {"name": "successive_halving", "reduction_factor": 2},
    {"name": "hyperband", "reduction_factor": 2},
]
WIDE = {"fusion.name": ["none", "concat", "addition"], "train.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
NARROW = {"fusion.name": ["none", "concat"], "train.learning_rate": [1e-3, 2e-3]}
"""Of four points, so that trials ask for the same cells."""
PLAIN: dict[str, Any] = {"objectives": ["exact/reading"], "trials": 18, "batch": 4, "confirm": None}
SHORT = {"train.steps": 8, "train.validate_every": 1}


class Study:
    """A sweep that is run in this process, a cell at a time, with no database and no mirror.

    Args:
        folder: where the study file goes, and the results below it.
        sweep: what is changed of PLAIN.
    """

    def __init__(self, folder: Path, **sweep: Any) -> None:
        folder.mkdir()
        (folder / "thin.yaml").write_text(sweep_study(**{**PLAIN, "set": SHORT, **sweep}), encoding="utf-8")
        self.plan = make_plan(load_study(folder / "thin.yaml"), "swept")
        self.store = ResultStore(folder / "out").open()
        self.ran: list[str] = []

    def run(self, first: Callable[[int], int] = lambda _: 0, most: int = 10**6) -> list[dict[str, Any]] | None:
        """The trials; None where the driver was killed after `most` cells. first: of so many cells under way, the one that ends."""
        sweeper = Sweeper(self.plan, Seams(self.store, "code", lambda *_: None, lambda _: None))
        under_way = sweeper.phase.first()
        for _ in range(most):
            if not under_way:
                return [trial.to_dict() for trial in sweeper.search.trials]
            cell = under_way.pop(first(len(under_way)))
            place = self.store.folder(cell.id)
            result = fake_cell.run_cell(
                cell.config, workdir=place, cache_dir=place, test=False, stop=sweeper.phase.rules.get(cell.id)
            ).result
            self.store.write(cell.id, {**result, "id": cell.id}, None, {})
            self.ran.append(cell.id)
            under_way += sweeper.phase.finished(cell.id)
        return None

    @property
    def cells(self) -> dict[str, Any]:
        """What every cell says of itself."""
        return {cell_id: result.dump() for cell_id, result in self.store.results().items()}


@pytest.mark.parametrize(
    ("pruner", "space", "sampler"),
    [
        pytest.param(PRUNERS[0], WIDE, "tpe", id="median"),
        pytest.param(PRUNERS[1], WIDE, "tpe", id="halving", marks=pytest.mark.slow),
        pytest.param(PRUNERS[2], WIDE, "random", id="hyperband", marks=pytest.mark.slow),
        pytest.param(PRUNERS[0], NARROW, "random", id="median of equal trials", marks=pytest.mark.slow),
        pytest.param(PRUNERS[1], NARROW, "random", id="halving of equal trials", marks=pytest.mark.slow),
        pytest.param(PRUNERS[2], NARROW, "random", id="hyperband of equal trials"),
    ],
)
def test_trials_and_cells_are_the_same_whatever_is_killed_and_whoever_is_faster(
    pruner: Any, space: Any, sampler: str, tmp_path: Path
) -> None:
    whole = Study(tmp_path / "whole", pruner=pruner, space=space, sampler=sampler)
    trials = whole.run()
    assert trials is not None
    assert {trial["state"] for trial in trials} == {"complete", "pruned"}
    chance = random.Random(str(pruner) + sampler)
    study = Study(tmp_path / "killed", pruner=pruner, space=space, sampler=sampler)
    for _ in range(6):
        told = study.run(lambda count: chance.randrange(count), chance.randrange(1, 8))
        assert told in (None, trials)
        if chance.random() < 0.5 and (kept := study.store.ids()):
            shutil.rmtree(study.store.folder(chance.choice(kept)))
    assert study.run(lambda count: chance.randrange(count)) == trials
    assert study.cells == whole.cells
    before = len(study.ran)
    assert study.run() == trials
    assert len(study.ran) == before, "the same command runs nothing"
    if space is WIDE:
        assert Counter(whole.ran).most_common(1)[0][1] == 1


def test_a_cell_runs_for_as_long_as_any_equal_trial_asks_for_it(tmp_path: Path) -> None:
    """Of trials that ask for one cell, each is told by its own rule from the longest curve."""
    study = Study(tmp_path / "study", pruner=PRUNERS[2], space=NARROW, sampler="random", trials=40)
    trials = study.run()
    assert trials is not None
    by_cell: dict[str, list[dict[str, Any]]] = {}
    for trial in trials:
        by_cell.setdefault(trial["cells"][0], []).append(trial)
    assert any(len({trial["state"] for trial in equal}) == 2 for equal in by_cell.values())
    for cell, equal in by_cell.items():
        result = study.store.get(cell)
        assert result is not None
        assert (result.status == "done") == any(trial["state"] == "complete" for trial in equal)
        assert max(max(map(int, trial["intermediate"])) for trial in equal) == result.curve[-1].step
        for trial in equal:
            shown = {str(point.step): point.validation for point in result.curve}
            assert trial["intermediate"].items() <= shown.items()


def test_what_another_search_made_of_a_cell_is_told_by_this_ones_rule(tmp_path: Path) -> None:
    """A curve that goes on beyond the stop is cut there, failed or not; one that was stopped before it runs again."""
    whole = Study(tmp_path / "whole", pruner=PRUNERS[0], space=WIDE, sampler="random")
    trials = whole.run()
    assert trials is not None
    other = Study(tmp_path / "other", pruner="none", space=WIDE, sampler="random")
    other.run()
    lost = next(trial["cells"][0] for trial in trials if trial["state"] == "pruned")
    result = {**other.cells[lost], "status": "failed", "validation": {}, "failure": {"kind": "not_finite", "message": "at the end"}}
    other.store.write(lost, result, None, {})
    study = Study(tmp_path / "study", pruner=PRUNERS[0], space=WIDE, sampler="random")
    shutil.copytree(other.store.root, study.store.root, dirs_exist_ok=True)
    assert study.run() == trials
    assert not study.ran
    early = next(trial["cells"][0] for trial in trials if trial["state"] == "complete")
    curve = study.cells[early]["curve"][:2]
    stopped = {"status": "pruned", "validation": {}, "curve": curve, "pruned": {"step": 2, "value": curve[-1]["validation"]}}
    study.store.write(early, {**study.cells[early], **stopped}, None, {})
    assert study.run() == trials
    assert study.ran == [early]


def under_kills(place: Path, study: str, kills: int, states: set[str], options: dict[str, Any], **run: Any) -> Harness:
    """Kills of the driver, its workers, or both, by SIGKILL: each folder ends with the trials of a sweep that was left alone.

    states: of its trials.
    """
    (place / "whole").mkdir()
    whole = Bench(place / "whole")
    whole.file.write_text(study, encoding="utf-8")
    whole.run(budget="swept", **run)
    assert {trial["state"] for trial in found(whole.out)["trials"]} == states
    temporary = place / "temporary"
    temporary.mkdir()
    harness = Harness(place, temporary, outcomes(whole.store), "swept", {"tracking": False, **options}, seed=7)
    harness.study = study
    harness.campaign(kills, ("driver", "worker", "both"))
    for folder in range(1, harness.folders + 1):
        assert found(place / f"folder-{folder}" / "out") == found(whole.out)
    return harness


@pytest.mark.slow
def test_a_pruned_sweep_under_kills_of_its_processes(tmp_path: Path) -> None:
    sweep = {**PLAIN, "pruner": PRUNERS[0], "space": WIDE, "sampler": "tpe", "set": SHORT, "confirm": {"seeds": 1}}
    assert under_kills(tmp_path, sweep_study(**sweep), 10, {"complete", "pruned"}, {}).folders >= 2


@pytest.mark.slow
def test_a_pruned_sweep_of_real_cells_under_kills(tmp_path: Path) -> None:
    """With a checkpoint every few steps: some kills fall between a stop and its result. (No cell this small learns to read.)"""
    content = yaml.safe_load(REAL)
    space = {"fusion.name": ["none", "concat"], "train.learning_rate": {"low": 1e-5, "high": 1e-2, "log": True}}
    pruner = {"name": "threshold", "lower": 0.9, "n_warmup_steps": 14}
    content["sweep"] = {**PLAIN, "pruner": pruner, "space": space, "sampler": "random", "trials": 4, "batch": 2}
    content["budgets"]["swept"] = {"seeds": [0], "sweep": True}
    cells = {"cell_function": "often_cell:run_cell", "prepare_function": "fila_lab.studies.prepare:prepare"}
    study, cache = yaml.safe_dump(content, sort_keys=False), tmp_path / "whole" / "cache"
    under_kills(tmp_path, study, 4, {"pruned"}, {"real": True}, cache_dir=cache, **cells)
