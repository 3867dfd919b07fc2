"""A machine that fails leaves cells undone: nothing is recorded, it is said once, and the same command goes on after the mend."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fake_cell
import pytest
import yaml
from thin_study import ENGINES, Bench, quality

from fila_lab.config import MachineError, weights_file
from fila_lab.studies import study_status

Log = Callable[[], list[str]]
FAULTS = [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENOENT, errno.EPIPE, errno.EDQUOT, errno.EACCES, errno.ESTALE]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What undisturbed runs of both budgets give."""
    found = {}
    for budget in ("small", "full"):
        bench = Bench(tmp_path_factory.mktemp(budget))
        bench.run(budget=budget)
        found[budget] = quality(bench.store)
    return found


@pytest.fixture
def fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], Path]:
    """Cells of a fusion (or `all`) meet an OSError while the file returned is there."""

    def break_it(fusion: str, number: int) -> Path:
        mark = tmp_path / "broken"
        mark.touch()
        monkeypatch.setenv("FAKE_FAULT", f"{fusion}:{number}")
        monkeypatch.setenv("FAKE_FAULT_WHILE", str(mark))
        return mark

    return break_it


@pytest.mark.parametrize("number", FAULTS, ids=lambda number: errno.errorcode[number])
def test_a_fault_in_one_arm_is_no_result_and_said_once(
    bench: Bench, number: int, fault: Callable[[str, int], Path], reference: dict[str, dict[str, object]]
) -> None:
    mark = fault("addition", number)
    with pytest.raises(MachineError) as raised:
        bench.run()
    assert str(raised.value).count(os.strerror(number)) == 1
    assert "The same command goes on" in str(raised.value)
    assert bench.said.getvalue().count(os.strerror(number)) <= 1
    assert [(row.arm, row.done, row.failed, row.left) for row in study_status(bench.out).rows] == [
        ("none", 2, 0, 0),
        ("concat", 2, 0, 0),
        ("addition", 0, 0, 2),
    ]
    assert "2 undone" in bench.said.getvalue()
    assert not (bench.out / "costs.json").exists()
    mark.unlink()
    bench.run()
    assert quality(bench.store) == reference["small"]


@ENGINES
def test_a_fault_of_every_cell_stops_the_run_early_and_the_same_command_completes(
    bench: Bench, engine: str, fault: Callable[[str, int], Path], log: Log, reference: dict[str, dict[str, object]]
) -> None:
    mark = fault("all", errno.ENOSPC)
    with pytest.raises(MachineError, match=r"no more were begun.*\n.*No space left.*free space there"):
        bench.run(engine=engine, workers=2)
    assert not bench.store.done_ids()
    assert len(log()) <= 4, "two in a row are enough to see that it is hopeless"
    mark.unlink()
    bench.run(engine=engine, workers=2)
    assert quality(bench.store) == reference["small"]


@pytest.mark.parametrize("engine", ["inline", pytest.param("process", marks=pytest.mark.slow)])
def test_a_fault_while_tuning_freezes_no_winner(
    bench: Bench, engine: str, fault: Callable[[str, int], Path], reference: dict[str, dict[str, object]]
) -> None:
    mark = fault("concat", errno.EIO)
    with pytest.raises(MachineError, match="Input/output error"):
        bench.run(budget="full", engine=engine, workers=2)
    assert not (bench.out / "tuning" / "winners.yaml").exists()
    assert not bench.store.failures()
    mark.unlink()
    bench.run(budget="full", engine=engine, workers=2)
    assert quality(bench.store) == reference["full"]
    assert set(yaml.safe_load((bench.out / "tuning" / "winners.yaml").read_text(encoding="utf-8"))["winners"]) == {
        "none",
        "concat",
        "addition",
    }


@ENGINES
def test_shared_work_that_meets_a_full_disk_ends_the_run_before_any_cell(bench: Bench, engine: str, log: Log) -> None:
    with pytest.raises(MachineError, match=r"No space left on device.*free space there.*same command"):
        bench.run(engine=engine, prepare_function="fake_cell:full_disk")
    assert not log()
    assert not bench.store.ids()


def test_an_out_folder_that_fills_or_vanishes_ends_the_run_and_loses_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, reference: dict[str, dict[str, object]]
) -> None:
    from fila_lab.studies import store

    right, calls = store.write_atomically, []

    def full(path: Path, content: bytes) -> None:
        calls.append(path)
        if len(calls) > 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        right(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_atomically", full)
        with pytest.raises(MachineError, match=r"cannot be written.*No space left.*free space there.*2 finished cells are kept"):
            bench.run()
    assert len(bench.store.done_ids()) == 2

    cell = fake_cell.run_cell

    def vanishing(*positional: object, **named: object) -> fake_cell.Outcome:
        shutil.rmtree(bench.out)
        return cell(*positional, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(fake_cell, "run_cell", vanishing)
        with pytest.raises(MachineError, match=r"No such file.*put it back"):
            bench.run()
    bench.run()
    assert quality(bench.store) == reference["small"]


@pytest.mark.parametrize("size", ["60k", pytest.param("120k", marks=pytest.mark.slow)])
def test_a_disk_too_small_for_the_search_is_the_machines_fault(
    bench: Bench, disk: Callable[[str], Path], reference: dict[str, dict[str, object]], size: str
) -> None:
    place = disk(size)
    bench.out = place / "out"
    with pytest.raises(MachineError, match="free space there"):
        bench.run(budget="full")
    subprocess.run(["mount", "-o", "remount,size=8m", str(place)], check=True)
    bench.run(budget="full")
    assert quality(bench.store) == reference["full"]


def test_a_full_out_disk_by_the_command_line(tmp_path: Path, disk: Callable[[str], Path], reference: dict[str, dict[str, object]]) -> None:
    """A real full disk under --out, a driver as a user starts it; enlarged, the same command completes."""
    small, bench = disk("48k"), Bench(tmp_path)
    bench.out = small / "out"
    driver = [sys.executable, str(Path(__file__).parent / "drive.py"), str(bench.file), str(bench.out), "small", "inline"]
    first = subprocess.run(driver, capture_output=True, text=True, check=False)
    assert first.returncode != 0
    assert "MachineError" in first.stderr
    assert "free space there" in first.stderr
    assert not bench.store.failures()
    assert not list(bench.out.rglob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
    subprocess.run(driver, check=True, capture_output=True)
    assert quality(bench.store) == reference["small"]


def test_a_weights_file_that_vanishes_while_cells_run_fails_none(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, shipped = tmp_path / "vit.safetensors", weights_file("package:mini_vit_0")
    assert shipped is not None
    shutil.copyfile(shipped, weights)
    right = fake_cell.run_cell

    def gone(*positional: object, **named: object) -> fake_cell.Outcome:
        weights.unlink(missing_ok=True)
        outcome = right(*positional, **named)  # type: ignore[arg-type]
        outcome.result |= {"status": "failed", "failure": {"kind": "bad_input", "message": "vit.weights is missing"}}
        return outcome

    with monkeypatch.context() as patch:
        patch.setattr(fake_cell, "run_cell", gone)
        with pytest.raises(MachineError, match=r"vit\.weights.*put the file back"):
            bench.run(overrides={"vit.weights": str(weights)})
    assert not bench.store.done_ids()
    shutil.copyfile(shipped, weights)
    bench.run(overrides={"vit.weights": str(weights)})
    assert len(bench.store.done_ids()) == 6


@pytest.mark.parametrize("engine", ["process", pytest.param("ray", marks=pytest.mark.slow)])
def test_warnings_of_a_worker_reach_the_user_once(bench: Bench, engine: str) -> None:
    bench.run(engine=engine, cell_function="fake_cell:warning_cell")
    assert bench.said.getvalue().count("warning: something is odd") == 6
