"""What `status --watch` sees of a study: from its folder alone, and nothing of a driver that is dead."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from sweep_study import write
from thin_study import Bench

from fila_lab.cli.watch import headline, is_over
from fila_lab.config import FilaError
from fila_lab.studies import outlook
from fila_lab.studies.engines import Finished, Progress, Started
from fila_lab.studies.lock import Shard, StudyLock
from fila_lab.studies.outlook import Watcher
from fila_lab.studies.standing import StandingFile, standings


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose cells are all done."""
    bench = Bench(tmp_path_factory.mktemp("done"))
    bench.run(costs=False)
    return bench.out


def states(root: Path) -> dict[str, list[str]]:
    return {row.arm: [square.state for square in row.squares] for row in Watcher(root).look().rows}


def test_every_cell_is_shown_in_its_state(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "concat")
    bench.run()
    first = bench.store.ids()[0]
    assert states(bench.out) == {"none": ["done"] * 2, "concat": ["failed"] * 2, "addition": ["done"] * 2}
    (bench.store.folder(first) / "result.json").unlink()
    watcher = Watcher(bench.out)
    seen = watcher.look()
    assert seen.count("left") == 1
    assert (seen.drivers, seen.workers, seen.per_hour, seen.seconds_left) == ((), 0, None, None)
    failure = next(square.failure for row in seen.rows for square in row.squares if square.state == "failed")
    assert failure == "out_of_memory: no room"
    bench.run()
    assert watcher.look().count("left") == 0, "the same watcher sees what has come"
    assert not list(bench.out.glob("progress*")), "a driver that ends leaves none"


@pytest.mark.parametrize("damage", [
    [1], {}, {"status": [1]}, {"status": "fine"}, {"status": "done", "timing": 3}, {"status": "failed", "failure": [1]},
])  # fmt: skip
def test_a_result_that_is_none_is_left_to_be_run(done: Path, tmp_path: Path, damage: object) -> None:
    root = Path(shutil.copytree(done, tmp_path / "copy"))
    watcher = Watcher(root)
    assert watcher.look().count("left") == 0
    next(root.glob("cells/*/result.json")).write_text(json.dumps(damage), encoding="utf-8")
    assert [look().count("left") for look in (watcher.look, Watcher(root).look)] == [1, 1]


@pytest.mark.parametrize("damage", ["x", "[1]", '{"running": 3}', '{"running": [{"id": "a", "worker": 0, "since": 0, "step": "x"}]}'])
def test_what_a_driver_left_half_written_is_nobodys_standing(tmp_path: Path, damage: str) -> None:
    with StudyLock(tmp_path), StandingFile(tmp_path, None, 2) as file:
        assert len(standings(tmp_path)) == 1
        whole = json.loads(file.path.read_text(encoding="utf-8"))
        text = json.dumps(whole | json.loads(damage)) if damage.startswith("{") else damage
        file.path.write_text(text, encoding="utf-8")
        assert standings(tmp_path) == []


def test_a_result_is_read_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run()
    watcher = Watcher(bench.out)
    before = watcher.look()
    monkeypatch.setattr(outlook, "_seen", lambda *_: pytest.fail("read again"))
    assert watcher.look().rows == before.rows


def test_cells_that_a_search_asks_for_are_seen_although_the_plan_stays(bench: Bench) -> None:
    write(bench, trials=4, batch=2).run(budget="swept")
    asked = bench.out / "sweep" / "cells.jsonl"
    lines = asked.read_text(encoding="utf-8").splitlines(keepends=True)
    plan = json.loads((bench.out / "plan.json").read_text(encoding="utf-8"))
    (bench.out / "plan.json").write_text(json.dumps({**plan, "provisional": True}), encoding="utf-8")
    asked.write_text("".join(lines[:2]), encoding="utf-8")
    watcher = Watcher(bench.out)
    before = watcher.look().total
    with asked.open("a", encoding="utf-8") as file:
        file.write(lines[2] + '{"id": ["x"], "arm": 3, "seed": 0, "phase": "sweep", "trial": 7}\n' + lines[3][:20])
    seen = watcher.look()
    assert seen.total == before + 1, "and what is no cell is passed over"
    assert seen.count("left") == 0
    assert "nobody is at work" in headline(seen), "a search that has not ended is not complete"
    assert not is_over(seen)


@pytest.mark.parametrize("shard", [None, Shard(1, 2)])
def test_what_runs_is_shown_while_its_driver_holds_the_lock(bench: Bench, shard: Shard | None) -> None:
    bench.run()
    path = bench.store.folder(bench.store.ids()[0]) / "result.json"
    cell_id, content = path.parent.name, path.read_bytes()
    path.unlink()
    with StudyLock(bench.out, shard), StandingFile(bench.out, shard, 2) as file:
        file.listen(Started(cell_id, 0))
        file.listen(Started("preparation", 1))
        file.listen(Progress(cell_id, 0, "train", 30, 40))
        file.write()
        seen = Watcher(bench.out).look()
        (running,) = [square for row in seen.rows for square in row.squares if square.state == "running"]
        assert (running.id, running.share, running.doing) == (cell_id, 0.75, "train 30/40")
        assert seen.preparing == ("preparation: start",)
        assert seen.workers == 2
        assert seen.seconds_left == pytest.approx(0.1, abs=0.1), "by the cells that are done"
        left_behind = file.path.read_bytes()
        file.listen(Finished("preparation", 1, {}, None, {}, 0.0, 0.0, ""))
        file.listen(Finished(cell_id, 0, {}, None, {}, 0.0, 0.0, ""))
        assert standings(bench.out)[0].running == [], "the last end is written at once"
    file.path.write_bytes(left_behind)
    seen = Watcher(bench.out).look()
    assert (seen.count("running"), seen.count("left")) == (0, 1), "its driver is gone"
    with StudyLock(bench.out, shard):
        assert Watcher(bench.out).look().count("running") == 1, "the same process, as the file has it"
        other = json.loads(left_behind) | {"pid": os.getpid() + 1}
        file.path.write_text(json.dumps(other), encoding="utf-8")
        assert Watcher(bench.out).look().count("running") == 0, "another driver holds the lock now"
        file.path.write_bytes(left_behind)
        path.write_bytes(content)
        os.utime(path, (time.time() + 5, time.time() + 5))
        assert Watcher(bench.out).look().count("running") == 0, "it has ended since"
        file.path.write_text('{"pid": "x', encoding="utf-8")
        assert standings(bench.out) == []


def test_cells_that_a_search_asks_for_are_seen_as_they_come(bench: Bench) -> None:
    """They are appended to a file of their own: plan.json stays as it is."""
    bench.run()
    watcher = Watcher(bench.out)
    before = watcher.look()
    assert not before.searching
    (bench.out / "sweep").mkdir()
    with (bench.out / "sweep" / "cells.jsonl").open("a", encoding="utf-8") as file:
        for trial in (0, 1):
            cell = {"id": f"asked{trial}", "arm": "none", "seed": 1000, "phase": "sweep", "trial": trial}
            file.write(json.dumps(cell) + "\n")
            file.flush()
            seen = watcher.look()
            assert seen.total == before.total + trial + 1
    assert [square.trial for square in seen.rows[0].squares] == [0, 1]


def test_the_rate_counts_from_when_the_drivers_began(bench: Bench) -> None:
    bench.run()
    with StudyLock(bench.out), StandingFile(bench.out, None, 2) as file:
        file.standing.began = time.time() - 60
        file.write()
        assert Watcher(bench.out).look().per_hour == pytest.approx(6 * 60, rel=0.1)


def test_a_folder_without_a_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(FilaError, match=r"holds no plan\.json"):
        Watcher(tmp_path).look()
