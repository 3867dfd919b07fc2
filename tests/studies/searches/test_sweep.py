"""Sweeps: the same questions whatever is killed and whoever is faster, the front frozen, its points run as arms."""

from __future__ import annotations

import json
import random
import shutil
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import optuna
import pytest
import yaml
from sweep_study import found, write
from thin_study import Bench, quality

from fila_lab.analysis import StudyFolder
from fila_lab.cli import main
from fila_lab.config import FilaError, MachineError, RunConfig, StudyConfig, load_study
from fila_lab.config.declaration import judged_by
from fila_lab.config.power import seeds_needed
from fila_lab.studies import session, study_status
from fila_lab.studies.engines import Job
from fila_lab.studies.engines.base import Listener
from fila_lab.studies.engines.inline import InlineEngine
from fila_lab.studies.plan import make_plan
from fila_lab.studies.publish import publish
from fila_lab.studies.searches import trial_mirrors

Log = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def unseen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of these searches are shown in no database, which takes longer than they do."""
    if "shown" not in request.function.__name__:
        monkeypatch.setattr(trial_mirrors, "TrialMirror", lambda *_: MagicMock())


def costs(configs: dict[str, RunConfig], out: Path, progress: Any) -> dict[str, Any]:
    """Stands for the measurement: leaves a line, and takes longer the wider the fusion."""
    with (out / "measured.txt").open("a", encoding="utf-8") as log:
        log.write(f"{len(configs)}\n")
    return {arm: {"latency_ms": 1.0 + len(config.fusion.name), "peak_memory_mib": 100.0} for arm, config in configs.items()}


def truth(bench: Bench) -> tuple[Any, Any, str]:
    """All that a sweep and its study came to."""
    plan = json.loads((bench.out / "plan.json").read_text(encoding="utf-8"))
    return found(bench.out), quality(bench.store), json.dumps([plan["study"], plan["cells"]])


def test_a_front_becomes_arms_beside_the_declared_ones(bench: Bench, log: Log) -> None:
    write(bench).run(budget="swept")
    made = found(bench.out)
    complete = [trial for trial in made["trials"] if trial["state"] == "complete"]
    assert [trial["number"] for trial in made["trials"]] == list(range(10))
    for number in made["front"]:  # by the definition
        own = made["trials"][number]["values"]
        assert not any(other[0] >= own[0] and other[1] <= own[1] and other != own for other in (trial["values"] for trial in complete))
    plan = json.loads((bench.out / "plan.json").read_text(encoding="utf-8"))
    for arm, number in made["arms"].items():
        trial, declared = made["trials"][number], plan["study"]["arms"][arm]
        assert (declared["role"], declared["set"]) == ("front", {"fusion.name": trial["parameters"]["fusion.name"], **trial["parameters"]})
        assert [cell["seed"] for cell in plan["cells"] if cell["arm"] == arm] == [0, 1]
    assert {cell["phase"] for cell in plan["cells"]} == {"main"}
    assert all(("fusion.depth" in trial["parameters"]) == (trial["parameters"]["fusion.name"] != "none") for trial in made["trials"])
    assert plan["study_hash"] == make_plan(load_study(bench.file), "swept").study_hash, "a front is a result, not a declaration"
    assert judged_by(StudyConfig.model_validate(plan["study"]), load_study(bench.file), "swept")[1] == (), "no file declares it"
    cells = {cell for trial in made["trials"] for cell in trial["cells"]}
    assert [line.split()[3] for line in log()].count("False") == len(cells), "a sweep never reads the test pool"
    rows = {(row.phase, row.arm): (row.done, row.left) for row in study_status(bench.out).rows}
    assert rows["sweep", "none"] == (10, 0)
    assert all(rows["main", arm] == (2, 0) for arm in made["arms"])


class AnyOrder(InlineEngine):
    """Cells end in any order, as those of several workers do."""

    chance = random.Random(1)

    def run(self, queue: deque[Job], listener: Listener) -> None:
        while queue:
            drawn = queue[self.chance.randrange(len(queue))]
            queue.remove(drawn)
            super().run(deque([drawn]), listener)


def two_runs(folder: Path, first: dict[str, Any], second: dict[str, Any], between: Callable[[], None] = lambda: None) -> list[Any]:
    made = []
    for name, options in (("first", first), ("second", second)):
        (folder / name).mkdir()
        bench = write(Bench(folder / name), sampler="tpe")
        bench.run(budget="swept", costs=False, **options)
        made.append(truth(bench))
        between()
    return made


def test_the_order_in_which_cells_end_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disorder = partial(monkeypatch.setattr, session, "make_engine", lambda *_, **__: AnyOrder())
    one, other = two_runs(tmp_path, {}, {}, disorder)
    assert one == other


@pytest.mark.slow
def test_three_workers_and_one_give_the_same_trials(tmp_path: Path) -> None:
    one, other = two_runs(tmp_path, {"engine": "inline"}, {"engine": "process", "workers": 3})
    assert one == other


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_a_sweep_killed_anywhere_is_replayed_to_the_same_front(bench: Bench, sampler: str, log: Log) -> None:
    write(bench, sampler=sampler, objectives=["exact/reading", "latency"]).run(budget="swept", measure=costs)
    whole, ran = truth(bench), len(log())
    measured = (bench.out / "sweep" / "measured.txt").read_text(encoding="utf-8")
    for kept in (0, 5):
        lost = {cell for trial in whole[0]["trials"][kept:] for cell in trial["cells"]} - {
            cell for trial in whole[0]["trials"][:kept] for cell in trial["cells"]
        }
        for cell in lost:
            shutil.rmtree(bench.store.folder(cell))
        (bench.out / "sweep" / "trials.json").unlink()
        lines = (bench.out / "sweep" / "cells.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (bench.out / "sweep" / "cells.jsonl").write_text("".join(lines[:kept]) + lines[kept][:20], encoding="utf-8")
        assert study_status(bench.out).name == "thin", "what was torn off is no cell"
        bench.run(budget="swept", measure=costs)
        assert truth(bench) == whole
        ran += len(lost)
        assert len(log()) == ran, "only what was lost runs again"
    assert (bench.out / "sweep" / "measured.txt").read_text(encoding="utf-8") == measured, "a configuration is measured once"


def test_a_pruned_sweep_is_replayed_and_what_another_search_stopped_is_run_again(bench: Bench, log: Log) -> None:
    pruned = {"objectives": ["exact/reading"], "sampler": "random", "trials": 15, "set": {"train.steps": 3, "train.validate_every": 1}}
    write(bench, pruner={"name": "median", "n_startup_trials": 2}, **pruned).run(budget="swept")
    whole = truth(bench)
    stopped = [trial for trial in whole[0]["trials"] if trial["state"] == "pruned"]
    assert stopped
    assert all(max(map(int, trial["intermediate"])) < 3 and trial["values"] is None for trial in stopped)
    assert len(whole[0]["front"]) == 1
    for trial in whole[0]["trials"][6:]:
        for cell in trial["cells"]:
            shutil.rmtree(bench.store.folder(cell), ignore_errors=True)
    bench.run(budget="swept")
    assert truth(bench) == whole
    write(bench, pruner="none", **pruned).run(budget="swept")
    assert {trial["state"] for trial in found(bench.out)["trials"]} == {"complete"}
    assert not [cell for cell, result in bench.store.results().items() if result.pruned is not None]


def test_what_is_impossible_is_told_with_its_reason_and_what_fails_is_not(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "addition")
    space = {"fusion.name": ["none", "concat", "addition"], "fusion.detail_resolution": ["high", "canvas"]}
    write(bench, space=space, sampler="grid", trials=50).run(budget="swept")
    made = {tuple(trial["parameters"].values()): trial for trial in found(bench.out)["trials"]}
    assert len(made) == 6, "the grid ends when it is exhausted, and asks everything once"
    assert made["none", "canvas"]["state"] == "impossible"
    assert "says what the ConvNeXt sees" in made["none", "canvas"]["reason"]
    assert made["none", "canvas"]["cells"] == []
    assert {made["addition", one]["state"] for one in ("high", "canvas")} == {"failed"}
    assert made["addition", "high"]["reason"].startswith(f"cell {made['addition', 'high']['cells'][0]} failed")
    failed = {f"trial-{trial['number']}" for trial in made.values() if trial["state"] == "failed"}
    assert not failed & set(found(bench.out)["arms"]), "a failed trial is on no front"


def test_a_trial_of_several_seeds_is_their_mean(bench: Bench) -> None:
    write(bench, run_seeds=[1000, 1001, 1002], trials=3, objectives={"exact/reading": "maximize"}).run(budget="swept")
    for trial in found(bench.out)["trials"]:
        results = [bench.store.get(cell) for cell in trial["cells"]]
        assert [result.config["seed"] for result in results] == [1000, 1001, 1002]
        assert trial["values"] == [pytest.approx(sum(result.validation["exact/reading"] for result in results) / 3)]


def test_tuning_takes_several_seeds_and_the_new_grammar(bench: Bench) -> None:
    content = yaml.safe_load(bench.file.read_text(encoding="utf-8"))
    space = {"train.learning_rate": [1e-4, 1e-2], "train.weight_decay": {"low": 0.0, "high": 0.1}, "train.warmup": [0.0, 0.1, 0.2]}
    content["tuning"] = {"space": space, "trials": 3, "run_seeds": [1000, 1001]}
    bench.file.write_text(yaml.safe_dump(content), encoding="utf-8")
    bench.run(budget="full")
    winners = yaml.safe_load((bench.out / "tuning" / "winners.yaml").read_text(encoding="utf-8"))
    assert winners["search"]["run_seeds"] == [1000, 1001]
    assert all(set(values) == set(space) for values in winners["winners"].values())
    assert {(row.phase, row.arm): row.done for row in study_status(bench.out).rows}["tuning", "none"] == 6


def test_costs_alone_need_no_cell(bench: Bench, log: Log) -> None:
    write(bench, objectives=["flops", "parameters", "latency", "peak_memory"], confirm=None).run(budget="swept", measure=costs)
    made = found(bench.out)
    assert not [line for line in log() if line.split()[3] == "False"]
    assert all(trial["cells"] == [] and len(trial["values"]) == 4 for trial in made["trials"])
    assert made["complete"]
    assert made["arms"] == {}
    bench.run(budget="swept", measure=lambda *_: pytest.fail("measured again"), costs=False)
    assert found(bench.out) == made


@pytest.mark.parametrize("cause", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=["Ctrl-C", "full disk"])
def test_a_sweep_that_is_stopped_while_it_measures_goes_on(bench: Bench, cause: BaseException) -> None:
    def failing(configs: dict[str, RunConfig], out: Path, progress: Any) -> dict[str, Any]:
        if len(json.loads((out / "costs.json").read_text(encoding="utf-8")) if (out / "costs.json").exists() else {}) == 3:
            raise cause
        return costs(configs, out, progress)

    write(bench, sampler="random", objectives=["exact/reading", "latency"])
    with pytest.raises(KeyboardInterrupt if isinstance(cause, KeyboardInterrupt) else MachineError):
        bench.run(budget="swept", measure=failing)
    if isinstance(cause, KeyboardInterrupt):
        assert "the sweep comes first (3 of 10 trials told). The same command goes on" in bench.said.getvalue()
    bench.run(budget="swept", measure=costs, costs=False)
    made = found(bench.out)
    assert (made["complete"], len(made["trials"])) == (True, 10)


def test_a_published_sweep_is_read_like_a_run(bench: Bench, tmp_path: Path) -> None:
    write(bench, trials=6).run(budget="swept")
    publish(bench.out, tmp_path / "published")
    assert found(tmp_path / "published") == found(bench.out)
    run, published = (study_status(folder) for folder in (bench.out, tmp_path / "published"))
    assert run.rows == published.rows
    assert len([cell for cell in StudyFolder.open(tmp_path / "published").cells if cell.phase == "sweep" and cell.done]) == 6


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_trials_of_a_batch_that_are_one_cell_run_it_once(bench: Bench, sampler: str) -> None:
    write(bench, space={"fusion.name": ["addition"]}, sampler=sampler, trials=6, batch=3, confirm=None).run(budget="swept", costs=False)
    made = found(bench.out)
    assert [trial["state"] for trial in made["trials"]] == ["complete"] * 6
    assert len({tuple(trial["cells"]) for trial in made["trials"]}) == 1
    assert "sweep: 1 of 1 done" in bench.said.getvalue()


def test_a_point_that_is_a_declared_arm_is_that_arm(bench: Bench) -> None:
    write(bench, space={"fusion.name": ["concat", "addition"]}, sampler="grid", set={"train.weight_decay": 0.02}).run(budget="swept")
    made = found(bench.out)
    assert set(made["arms"]) <= {"concat", "addition"}
    assert {row.arm for row in study_status(bench.out).rows if row.phase == "main"} == {"none", "concat", "addition"}


def test_shards_need_a_frozen_front(bench: Bench) -> None:
    write(bench)
    with pytest.raises(FilaError, match=r"--shard 0/2: .*sweeps first, and a search has one driver"):
        bench.run(budget="swept", shard="0/2")
    bench.run(budget="swept")
    whole = truth(bench)
    bench.run(budget="swept", shard="0/2")
    assert truth(bench) == whole


def test_the_front_is_printed_as_a_study_that_can_be_planned(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(bench, sampler="random", objectives={"exact/reading": "minimize", "flops": "minimize"}).run(budget="swept", costs=False)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["arms", str(bench.out), "--front"])
    assert not stop.value.code
    printed = tmp_path / "front.yaml"
    printed.write_text(capsys.readouterr().out, encoding="utf-8")
    plan = make_plan(load_study(printed))
    assert plan.budget == "swept", "what it was run with keeps its name"
    pairs = len(plan.arms) - 1
    assert f"# A verdict needs {seeds_needed(pairs)} seeds for {pairs} contrast" in printed.read_text(encoding="utf-8")
    made, own = found(bench.out), json.loads((bench.out / "plan.json").read_text(encoding="utf-8"))
    assert len(plan.arms) == len(made["front"])
    run = {cell["id"] for cell in own["cells"]}
    assert {cell.id for cell in plan.cells} <= run, "its cells are those that have confirmed the front"


def test_a_search_is_shown_in_its_database(bench: Bench) -> None:
    write(bench).run(budget="swept")
    made = found(bench.out)
    shown = optuna.load_study(study_name=None, storage=f"sqlite:///{bench.out}/sweep/optuna.db")
    assert [trial.values for trial in shown.trials] == [trial["values"] for trial in made["trials"]]
    assert [trial.user_attrs["cells"] for trial in shown.trials] == [trial["cells"] for trial in made["trials"]]
    assert {trial.number for trial in shown.best_trials} >= set(made["front"])
