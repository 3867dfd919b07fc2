"""A cell that is cut off anywhere ends as if it had not been: same weights, same curve, whatever lies in its work folder."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from safetensors import safe_open
from tiny_run import tiny

from fila_lab.config import MachineError, RunConfig
from fila_lab.modeling import build_model
from fila_lab.training import FilaModule, fit, run_cell
from fila_lab.training.checkpoints import FOLDER, WholeFiles, resumable

CONFIG = {"fusion__name": "addition", "train__steps": 7, "train__validate_every": 3, "train__log_every": 2, "data__val_items": 10}


class CutOff(Callback):
    """Saves a checkpoint when a hook is called after a step, and ends the cell as a kill would."""

    def __init__(self, hook: str, step: int, name: str = "last.ckpt") -> None:
        def cut(trainer: Trainer, *_: object) -> None:
            if trainer.global_step == step and not self.done:
                self.done = True
                trainer.save_checkpoint(self.workdir / FOLDER / name)
                raise KeyboardInterrupt

        self.done = False
        self.workdir = Path()
        setattr(self, hook, cut)


def cut_off(config: RunConfig, workdir: Path, cache_dir: Path, hook: str, step: int, name: str = "last.ckpt", **options: Any) -> None:
    """Leaves the work folder of a cell that was killed; options: of `run_cell`."""
    callback, make = CutOff(hook, step, name), fit.make_trainer
    callback.workdir = workdir
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "make_trainer", lambda config, workdir, *callbacks: make(config, workdir, *callbacks, callback))
        with pytest.raises(KeyboardInterrupt):
            run_cell(config, workdir=workdir, cache_dir=cache_dir, **options)


@pytest.fixture(scope="module")
def undisturbed(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    outcome = run_cell(tiny(**CONFIG), workdir=tmp_path_factory.mktemp("whole"), cache_dir=cache_dir).result
    assert outcome["failure"] is None
    assert [point["validation"] is None for point in outcome["curve"]] == [True, False, True, False, True]
    return table(outcome)


def table(result: dict[str, object]) -> dict[str, object]:
    return {name: result[name] for name in ("status", "metrics", "validation", "curve", "failure")}


HOOKS = [("on_train_batch_end", 3), ("on_validation_end", 3), ("on_train_end", 7)]
"""Before a validation that is due, after it, and when nothing is left to train."""
MORE = [("on_train_batch_end", step) for step in (1, 2, 4, 5, 6, 7)]


@pytest.mark.parametrize(("hook", "step"), [*HOOKS, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE)])
def test_a_resumed_cell_has_the_curve_and_numbers_of_an_undisturbed_one(
    hook: str, step: int, cache_dir: Path, tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    config = tiny(**CONFIG)
    cut_off(config, tmp_path, cache_dir, hook, step)
    assert table(run_cell(config, workdir=tmp_path, cache_dir=cache_dir).result) == undisturbed


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler is here")
def test_a_compiled_cell_goes_on_as_one_that_was_not_cut_off(cache_dir: Path, tmp_path: Path) -> None:
    """Its trained parts carry the names of a plain cell's."""
    config = tiny(**CONFIG, runtime__compile=True)
    whole = run_cell(config, workdir=tmp_path / "whole", cache_dir=cache_dir, checkpoint=tmp_path / "model.safetensors").result
    assert whole["status"] == "done"
    cut_off(config, tmp_path / "cut", cache_dir, "on_train_batch_end", 4)
    assert table(run_cell(config, workdir=tmp_path / "cut", cache_dir=cache_dir).result) == table(whole)
    names = {name for name, value in build_model(config).named_parameters() if value.requires_grad}
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == names


def test_a_validation_due_at_the_last_step_is_made_up_for(cache_dir: Path, tmp_path: Path) -> None:
    config = tiny(**CONFIG | {"train__steps": 6})
    whole = run_cell(config, workdir=tmp_path / "whole", cache_dir=cache_dir).result
    cut_off(config, tmp_path / "cut", cache_dir, "on_train_batch_end", 6)
    assert table(run_cell(config, workdir=tmp_path / "cut", cache_dir=cache_dir).result) == table(whole)
    assert whole["curve"][-1]["validation"] is not None


def test_the_times_of_a_resumed_cell_count_what_lies_behind_its_checkpoint(cache_dir: Path, tmp_path: Path) -> None:
    """Seconds a step are read from them."""
    config = tiny(**CONFIG)
    cut_off(config, tmp_path, cache_dir, "on_train_batch_end", 6)
    spent = torch.load(tmp_path / FOLDER / "last.ckpt", weights_only=True)["callbacks"]["Recorder"]["spent"]
    timing = run_cell(config, workdir=tmp_path, cache_dir=cache_dir).result["timing"]
    assert timing["total"] > timing["train"] > spent > 0
    assert timing["train_steps"] <= timing["train"]


def damaged(content: bytes, how: str) -> bytes:
    middle = len(content) // 2
    flipped = bytes(byte ^ 0xFF for byte in content[middle : middle + 200])
    return {
        "empty": b"",
        "cut": content[:middle],
        "short": content[:-1],
        "garbage": os.urandom(5000),
        "text": b"not a checkpoint\n",
        "zeros": bytes(len(content)),
        "flipped": content[:middle] + flipped + content[middle + 200 :],
        "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
    }[how]


@pytest.mark.parametrize("how", ["empty", "cut", "short", "garbage", "text", "zeros", "flipped", "one bit", "folder", "other"])
def test_a_checkpoint_that_cannot_be_trusted_is_set_aside_with_one_warning(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, half: Path
) -> None:
    last = tmp_path / FOLDER / "last.ckpt"
    last.parent.mkdir()
    content = b""
    if how == "folder":
        last.mkdir()
    elif how == "other":
        torch.save({"step": 3}, last)
    else:
        last.write_bytes(content := damaged(half.read_bytes(), how))
    with caplog.at_level(logging.WARNING, "fila_lab"):
        assert [resumable(tmp_path, tiny(**CONFIG)) for _ in range(2)] == [None, None]
    warnings = [record.getMessage() for record in caplog.records if "cannot be resumed from" in record.getMessage()]
    assert len(warnings) == 1
    (aside,) = last.parent.iterdir()
    assert aside.name == "last.ckpt.unreadable-1"
    if how not in ("folder", "other"):
        assert aside.read_bytes() == content


def test_a_cell_whose_checkpoint_cannot_be_trusted_begins_anew(
    half: Path, cache_dir: Path, tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "last.ckpt").write_bytes(damaged(half.read_bytes(), "one bit"))
    assert table(run_cell(tiny(**CONFIG), workdir=tmp_path, cache_dir=cache_dir).result) == undisturbed
    assert (tmp_path / FOLDER / "last.ckpt.unreadable-1").exists()


@pytest.fixture(scope="module")
def half(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of step 5."""
    workdir = tmp_path_factory.mktemp("half")
    cut_off(tiny(**CONFIG), workdir, cache_dir, "on_train_batch_end", 5)
    return workdir / FOLDER / "last.ckpt"


def test_a_checkpoint_of_another_cell_is_not_resumed(half: Path, tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    shutil.copy(half, tmp_path / FOLDER / "last.ckpt")
    assert resumable(tmp_path, tiny(**CONFIG)) is not None
    assert resumable(tmp_path, tiny(**CONFIG, seed=1)) is None


def test_the_newest_checkpoint_counts_wherever_it_lies_and_whatever_it_is_called(
    cache_dir: Path, tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    """As a folder looks that was moved, and moved again, while Lightning numbered its files; times of change say nothing after a copy."""
    config = tiny(**CONFIG)
    cut_off(config, tmp_path / "a", cache_dir, "on_train_batch_end", 2)
    cut_off(config, tmp_path / "a", cache_dir, "on_train_batch_end", 5, "last-v1.ckpt")
    os.utime(tmp_path / "a" / FOLDER / "last-v1.ckpt", (1, 1))
    (tmp_path / "a").rename(tmp_path / "b")
    found = resumable(tmp_path / "b", config)
    assert found is not None
    assert Path(found).name == "last-v1.ckpt"
    assert torch.load(found, weights_only=True)["global_step"] == 5
    assert table(run_cell(config, workdir=tmp_path / "b", cache_dir=cache_dir).result) == undisturbed


def test_a_moved_folder_goes_on_writing_to_one_file_in_its_new_place(cache_dir: Path, tmp_path: Path) -> None:
    config = tiny(**CONFIG, runtime__checkpoint_minutes=1e-9)
    cut_off(config, tmp_path / "a", cache_dir, "on_train_batch_end", 4)
    (tmp_path / "a").rename(tmp_path / "b")
    run_cell(config, workdir=tmp_path / "b", cache_dir=cache_dir)
    assert [path.name for path in (tmp_path / "b" / FOLDER).iterdir()] == ["last.ckpt"]
    assert torch.load(tmp_path / "b" / FOLDER / "last.ckpt", weights_only=True)["global_step"] == 7
    assert not (tmp_path / "a").exists()


def test_a_checkpoint_holds_what_trains_and_the_optimiser(cache_dir: Path, tmp_path: Path) -> None:
    for name in ("addition", "none"):
        config = tiny(**CONFIG | {"fusion__name": name, "runtime__feature_cache": False})
        cut_off(config, tmp_path / name, cache_dir, "on_train_batch_end", 2)
        content = torch.load(tmp_path / name / FOLDER / "last.ckpt", weights_only=True)
        model = FilaModule.from_config(config).model
        trained = {parameter_name for parameter_name, value in model.named_parameters() if value.requires_grad}
        assert {key.removeprefix("model.") for key in content["state_dict"] if key.startswith("model.")} >= trained
        towers = [key for key in content["state_dict"] if ".vit." in key or ".convnext." in key]
        assert not [key for key in towers if key.removeprefix("model.") in dict(model.named_parameters())]
        assert len(content["optimizer_states"][0]["state"]) == len(trained)


def test_compiling_changes_no_name_in_a_checkpoint() -> None:
    plain, compiled = (list(FilaModule.from_config(tiny(runtime__compile=flag)).state_dict()) for flag in (False, True))
    assert compiled == plain


def test_a_disk_that_fills_while_a_checkpoint_is_written_leaves_the_cell_undone_and_the_old_checkpoint_whole(
    cache_dir: Path, tmp_path: Path, disk: Callable[[str], Path], undisturbed: dict[str, object]
) -> None:
    config, small = tiny(**CONFIG, runtime__checkpoint_minutes=1e-9), disk("16m")
    cut_off(config, small, cache_dir, "on_train_batch_end", 2)
    before = (small / FOLDER / "last.ckpt").read_bytes()
    (small / "full").write_bytes(bytes(16 * 2**20 - len(before) - len(before) // 2 - 65536))
    with pytest.raises(MachineError, match=r"No space left on device.*free space there"):
        run_cell(config, workdir=small, cache_dir=cache_dir)
    assert [path.name for path in (small / FOLDER).iterdir()] == ["last.ckpt"]
    assert (small / FOLDER / "last.ckpt").read_bytes() == before
    (small / "full").unlink()
    assert table(run_cell(config, workdir=small, cache_dir=cache_dir).result) == undisturbed


def test_checkpoints_do_not_pass_through_the_folder_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    WholeFiles().save_checkpoint({"step": torch.tensor(3)}, tmp_path / FOLDER / "last.ckpt")
    assert torch.load(tmp_path / FOLDER / "last.ckpt", weights_only=True)["step"] == 3
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["last.ckpt"]


def write_on_and_on(path: Path) -> None:
    for step in itertools.count(1):
        WholeFiles().save_checkpoint({"step": step, "weights": torch.full((2_000_000,), float(step))}, path)


@pytest.mark.parametrize("kills", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_a_kill_while_a_checkpoint_is_written_leaves_a_whole_one(kills: int, tmp_path: Path) -> None:
    """On a file system that is not the one of temporary files."""
    other = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=other if os.access(other, os.W_OK) else tmp_path))
    last, chance = folder / "last.ckpt", random.Random(kills)
    try:
        for _ in range(kills):
            writer = multiprocessing.get_context("fork").Process(target=write_on_and_on, args=(last,))
            writer.start()
            while not last.exists():
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.1))
            writer.kill()
            writer.join()
            content = torch.load(last, weights_only=True)
            assert torch.equal(content["weights"], torch.full((2_000_000,), float(content["step"])))
    finally:
        shutil.rmtree(folder)
