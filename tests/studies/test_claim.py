"""A run writes over nothing of anybody's, and clears away only its own."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from thin_study import Bench

from fila_lab.config import FilaError
from fila_lab.config.files import left_over, temporary_path
from fila_lab.studies.claim import WRITTEN, clear_work, tidy, workdir


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_folder_with_somebodys_files_of_our_names_is_refused_untouched(bench: Bench, name: str) -> None:
    mine = bench.out / name if "." in name else bench.out / name / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text('{"cells": [], "mine": true}', encoding="utf-8")
    before = contents(bench.out)
    with pytest.raises(FilaError, match=rf"--out: .* is no study's folder and holds {name}, .*choose a new folder"):
        bench.run()
    assert contents(bench.out) == before


def test_other_files_stay_and_are_no_obstacle(bench: Bench) -> None:
    mine = {"notes.md": b"mine", "optuna.db": b"mine", "data/work/x": b"mine", ".hidden.7.tmp": b"mine", "own.tmp": b"mine"}
    for name, content in mine.items():
        (bench.out / name).parent.mkdir(parents=True, exist_ok=True)
        (bench.out / name).write_bytes(content)
    (bench.out / "cells").mkdir()
    bench.run()
    later = {"work/mine.txt": b"mine", "work/project/a.txt": b"mine", "tuning/optuna.db.backup": b"mine", "cells/notes.md": b"mine"}
    for name, content in later.items():
        (bench.out / name).parent.mkdir(parents=True, exist_ok=True)
        (bench.out / name).write_bytes(content)
    bench.run()
    assert mine | later == {name: content for name, content in contents(bench.out).items() if name in mine | later}


def test_the_study_file_may_lie_in_its_folder(bench: Bench) -> None:
    bench.out.mkdir()
    bench.file = bench.file.rename(bench.out / "study.yaml")
    bench.run()
    assert len(bench.store.done_ids()) == 6


def test_a_driver_killed_before_its_plan_is_gone_on_from(bench: Bench) -> None:
    bench.run()
    (bench.out / "plan.json").write_text("{", encoding="utf-8")
    bench.run()
    assert json.loads((bench.out / "plan.json").read_text(encoding="utf-8"))["cells"]


def test_only_work_of_cells_is_cleared(tmp_path: Path) -> None:
    ours = [workdir(tmp_path, code, name) for code in ("code", "0" * 16) for name in ("a" * 16, "preparation")]
    elsewhere = tmp_path / "elsewhere"
    for folder in (*ours, elsewhere, tmp_path / "work" / "code" / "mine", tmp_path / "work" / "project"):
        folder.mkdir(parents=True)
        (folder / "file").write_text("x", encoding="utf-8")
    (tmp_path / "work" / "code" / ("b" * 16)).symlink_to(elsewhere)
    clear_work(tmp_path, "code")
    assert not any(folder.exists() for folder in ours)
    assert {"elsewhere/file", "work/code/mine/file", "work/project/file"} <= set(contents(tmp_path))


def test_temporary_files_of_the_dead_are_cleared_and_only_they(tmp_path: Path) -> None:
    (tmp_path / "tuning").mkdir()
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.waitpid(dead, 0)
    own = temporary_path(tmp_path / "plan.json")
    own.write_text("x", encoding="utf-8")
    host = own.name.removeprefix(".plan.json.").partition(f"-{os.getpid()}")[0]
    assert socket.gethostname().replace(".", "-") == host
    of_the_dead = [f".plan.json.{host}-{dead}.tmp", f"tuning/.trials.csv.{host}-{dead}.tmp"]
    unsure = [f".study.yaml.elsewhere-{dead}.tmp", f".costs.json.{dead}.tmp", own.name]
    foreign = [".plan.json.tmp", f".thesis.{host}-{dead}.tmp", f"plan.json.{host}-{dead}.tmp", f".trials.csv.{host}-{dead}.tmp"]
    for name in (*of_the_dead, *unsure, *foreign):
        (tmp_path / name).write_text("x", encoding="utf-8")
    tidy(tmp_path, alone=False)
    assert set(contents(tmp_path)) == {*unsure, *foreign}
    tidy(tmp_path, alone=True)
    assert set(contents(tmp_path)) == set(foreign)


def test_a_link_is_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x", encoding="utf-8")
    link = tmp_path / ".plan.json.7.tmp"
    link.symlink_to(tmp_path / "mine")
    assert not left_over(link, {"plan.json"}, alone=True)
