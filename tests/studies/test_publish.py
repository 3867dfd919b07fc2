"""What is published can be reported on, nothing else is copied, and nothing of anybody's is replaced."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from thin_study import STUDY, Bench

from fila_lab.analysis import StudyFolder, load_study_frame
from fila_lab.config import FilaError, load_study
from fila_lab.config.hashing import file_sha256
from fila_lab.config.published import MANIFEST, Mark, read_mark, renew_mark, write_mark
from fila_lab.studies import runner
from fila_lab.studies.publish import publish
from fila_lab.studies.status import study_status
from fila_lab.studies.step_times import find_step_seconds
from fila_lab.studies.store import ResultStore


def tree(folder: Path) -> dict[str, object]:
    """Every entry below a folder, links as what they say."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the thin study, run once. Read only."""
    bench = Bench(tmp_path_factory.mktemp("whole"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "code_hash", lambda *_: "code")
        bench.run()
    return bench.out


@pytest.fixture
def done(bench: Bench, whole: Path) -> Bench:
    shutil.copytree(whole, bench.out)
    return bench


def test_a_published_folder_reads_like_the_run_and_holds_no_checkpoint(done: Bench, tmp_path: Path) -> None:
    cell = next(iter(done.store.done_ids()))
    (done.store.folder(cell) / "model.safetensors").write_bytes(b"large")
    (done.out / "mlflow.db").write_bytes(b"large")
    target = tmp_path / "results" / "thin"
    assert publish(done.out, target) == sum(path.is_file() for path in target.rglob("*"))
    assert load_study_frame(target).equals(load_study_frame(done.out))
    assert not list(target.rglob("*.safetensors"))
    assert not (target / "mlflow.db").exists()
    mark = read_mark(target)
    assert mark is not None
    assert mark.files == {name: file_sha256(target / name) for name in tree(target) if (target / name).is_file() and name != MANIFEST}
    assert [path.name for path in target.parent.iterdir()] == ["thin"]


def test_what_is_wrong_with_the_copy_is_told_of_the_folder_that_can_be_mended(done: Bench, tmp_path: Path) -> None:
    def report(fresh: Path) -> None:
        raise FilaError(f"{fresh / 'costs.json'}: not readable as JSON; delete it and run the study again")

    with pytest.raises(FilaError) as error:
        publish(done.out, tmp_path / "published", report=report)
    assert str(error.value).startswith(f"{done.out}/costs.json: not readable")


def test_publishing_again_replaces_what_it_wrote(done: Bench, tmp_path: Path) -> None:
    target = tmp_path / "thin"
    publish(done.out, target)
    (gone, *_), first = sorted(done.store.done_ids()), tree(target)
    shutil.rmtree(done.store.folder(gone))
    publish(done.out, target)
    assert set(tree(target)) == set(first)
    assert set(ResultStore(target).ids()) == done.store.done_ids() != {*done.store.done_ids(), gone}


@pytest.mark.parametrize("name", ["notes.md", "report/notes.md", "cells/notes.txt", "own/deep/data.bin", ".git/HEAD", "mlflow.db"])
def test_what_somebody_added_stays(done: Bench, tmp_path: Path, name: str) -> None:
    target = tmp_path / "thin"
    publish(done.out, target)
    added = target / name
    added.parent.mkdir(parents=True, exist_ok=True)
    added.write_text("mine", encoding="utf-8")
    (added.parent / "link").symlink_to("/etc")
    (added.parent / "empty").mkdir()
    publish(done.out, target)
    assert added.read_text(encoding="utf-8") == "mine"
    assert os.readlink(added.parent / "link") == "/etc"
    assert (added.parent / "empty").is_dir()
    assert [path.name for path in tmp_path.iterdir() if "publish" in path.name] == []


@pytest.mark.parametrize("change", ["edited", "link", "folder", "where a new file would stand"])
def test_what_somebody_changed_is_not_replaced(done: Bench, tmp_path: Path, change: str) -> None:
    target = tmp_path / "thin"
    publish(done.out, target)
    path = target / "costs.json"
    if change == "edited":
        path.write_text("{}", encoding="utf-8")
    elif change == "where a new file would stand":
        (done.out / "calibration.md").write_text("new", encoding="utf-8")
        path = target / "calibration.md"
        path.write_text("mine", encoding="utf-8")
    else:
        path.unlink()
        path.symlink_to("/etc/hostname") if change == "link" else path.mkdir()
    before = tree(target)
    with pytest.raises(FilaError, match=rf"--to=.*{path.name} changed since.*nothing was replaced"):
        publish(done.out, target)
    assert tree(target) == before
    assert [each.name for each in tmp_path.iterdir() if "publish" in each.name] == []


def test_a_report_made_anew_is_no_change_of_somebody(done: Bench, tmp_path: Path) -> None:
    target = tmp_path / "thin"
    publish(done.out, target)
    (target / "report").mkdir()
    (target / "report" / "report.md").write_text("of today's rules", encoding="utf-8")
    renew_mark(target, [target / "report" / "report.md"])
    publish(done.out, target)
    assert not (target / "report").exists()


def foreign_folders(tmp_path: Path, done: Bench) -> dict[str, Path]:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work", encoding="utf-8")
    (other / "plan.json").write_text('{"cells": "of a prison"}', encoding="utf-8")
    link = tmp_path / "link"
    link.symlink_to(other)
    broken = tmp_path / "broken"
    broken.symlink_to(tmp_path / "nowhere")
    file = tmp_path / "file"
    file.write_text("a file", encoding="utf-8")
    run = Bench(tmp_path / "sub") if (tmp_path / "sub").mkdir() is None else done
    run.run()
    forged = tmp_path / "forged"
    forged.mkdir()
    (forged / MANIFEST).write_text('{"files": {"a": "b"}}', encoding="utf-8")
    return {
        "foreign": other,
        "parent of the source": done.out.parent,
        "root": Path("/"),
        "the source": done.out,
        "in the source": done.out / "inside",
        "by a detour": done.out / "cells" / ".." / ".." / "other",
        "link": link,
        "broken link": broken,
        "through a link": link / "..",
        "file": file,
        "below a file": file / "thin",
        "a run's folder": run.out,
        "another's manifest": forged,
    }


def test_folders_without_our_mark_are_refused_untouched(done: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home" / "deep"
    home.mkdir(parents=True)
    targets = foreign_folders(tmp_path, done)
    monkeypatch.chdir(home)
    targets |= {"here": Path("."), "above": Path(".."), "nothing": Path(""), "here by name": home, "above by name": home.parent}
    before = tree(tmp_path)
    for what, target in targets.items():
        with pytest.raises(FilaError, match=r"^--to=") as refused:
            publish(done.out, target)
        assert "\n" not in str(refused.value), what
        assert tree(tmp_path) == before, what


def test_results_of_another_study_are_not_replaced(done: Bench, tmp_path: Path) -> None:
    target = tmp_path / "thin"
    publish(done.out, target)
    (tmp_path / "two").mkdir()
    two = Bench(tmp_path / "two")
    two.file.write_text(two.file.read_text(encoding="utf-8").replace("name: thin", "name: other"), encoding="utf-8")
    two.run()
    with pytest.raises(FilaError, match="of study 'thin', not 'other'"):
        publish(two.out, target)


def older(run: Path, target: Path) -> Path:
    """A folder as it was published before there was a mark: a folder a cell, pages, tables and pictures."""
    names = ("plan.json", "study.yaml", "costs.json", "costs.manifest.json", "cells/*/*.json", "cells/*/*.parquet")
    for path in (path for name in names for path in run.glob(name)):
        copy = target / path.relative_to(run)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    for name in ("report/report.html", "report/report.md", "report/figures/gaps.svg", "report/tables/arms.csv", "gallery/gallery.json"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("made of it", encoding="utf-8")
    return target


@pytest.mark.parametrize("marked", [False, True])
def test_what_an_older_version_published_is_replaced(done: Bench, tmp_path: Path, marked: bool) -> None:
    target, fresh = older(done.out, tmp_path / "older"), tmp_path / "fresh"
    if marked:
        files = {name: file_sha256(target / name) for name in tree(target) if (target / name).is_file()}
        write_mark(target, Mark("thin", "small", files, schema=1))
    (target / "notes.md").write_text("mine", encoding="utf-8")
    (target / "cells" / "notes.md").write_text("mine", encoding="utf-8")
    publish(done.out, target)
    publish(done.out, fresh)
    assert tree(target) == tree(fresh) | {"notes.md": b"mine", "cells": None, "cells/notes.md": b"mine"}


@pytest.mark.parametrize("marked", [False, True])
def test_published_results_are_brought_to_the_present_form_where_they_are(done: Bench, tmp_path: Path, marked: bool) -> None:
    folder, fresh = older(done.out, tmp_path / "older"), tmp_path / "fresh"
    frame = load_study_frame(folder)
    if marked:
        files = {name: file_sha256(folder / name) for name in tree(folder) if (folder / name).is_file()}
        write_mark(folder, Mark("thin", "small", files, schema=1))
    publish(done.out, fresh)
    with pytest.raises(FilaError, match="leave out --to to bring it to the present form"):
        publish(folder, folder)
    publish(folder)
    assert tree(folder) == tree(fresh)
    assert load_study_frame(folder).equals(frame)
    before = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
    publish(folder, None, lambda place: (place / "report.md").write_text("by other rules", encoding="utf-8"))
    assert {path: path.read_bytes() for path in folder.rglob("*.parquet")} == before
    assert tree(folder) == tree(fresh) | {"report.md": b"by other rules", MANIFEST: (folder / MANIFEST).read_bytes()}


def test_published_results_are_judged_as_their_study_file_says_by_now(done: Bench, tmp_path: Path) -> None:
    folder, file = tmp_path / "thin", tmp_path / "now.yaml"
    publish(done.out, folder)
    said = STUDY.replace("margin: 0.03", "margin: 0.05")
    file.write_text(said, encoding="utf-8")
    publish(folder, by=load_study(file))
    opened = StudyFolder.open(folder)
    assert (opened.study.margin, opened.changed) == (0.05, ("margin: 0.03 then, 0.05 now",))
    file.write_text(said.replace("margin: 0.05", "margin: 0.06"), encoding="utf-8")
    publish(folder, by=load_study(file))
    assert StudyFolder.open(folder).changed == ("margin: 0.03 then, 0.06 now",), "as it stood when the first cell ran"
    file.write_text(said + "equalise: flops\n", encoding="utf-8")
    before = tree(folder)
    with pytest.raises(FilaError, match="the cells were not run with its equalise"):
        publish(folder, by=load_study(file))
    assert tree(folder) == before


def test_a_run_is_not_turned_into_published_results(done: Bench, tmp_path: Path) -> None:
    kept = older(done.out, tmp_path / "kept")
    (kept / "cells" / sorted(done.store.done_ids())[0] / "notes.md").write_text("mine", encoding="utf-8")
    for folder in (done.out, kept):
        before = tree(folder)
        with pytest.raises(FilaError, match=r"^FOLDER=.* is a run's folder.*--to experiments/results/thin"):
            publish(folder)
        assert tree(folder) == before


@pytest.mark.parametrize("name", ["costs.json", "cells.parquet", "predictions.parquet"])
def test_what_was_changed_after_it_was_published_gets_no_fresh_mark(done: Bench, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "thin"
    publish(done.out, folder)
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    for target in (None, tmp_path / "other"):
        with pytest.raises(FilaError, match=f"^FOLDER=.*: {name} changed since it was published"):
            publish(folder, target)


def test_nothing_is_run_in_published_results(done: Bench, tmp_path: Path) -> None:
    publish(done.out, tmp_path / "thin")
    before = tree(tmp_path / "thin")
    with pytest.raises(FilaError, match="holds published results, to which nothing is added"):
        done.run(out=tmp_path / "thin")
    assert tree(tmp_path / "thin") == before


def test_published_results_are_a_study_to_every_verb_that_reads(done: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "thin"
    publish(done.out, folder)
    run, published = ResultStore(done.out), ResultStore(folder)
    assert published.ids() == run.ids()
    assert published.results() == run.results()
    for cell_id in run.ids():
        assert published.manifest(cell_id) == run.manifest(cell_id)
        assert published.digest(cell_id) == run.digest(cell_id)
        pd.testing.assert_frame_equal(published.predictions(cell_id), run.predictions(cell_id))
    assert replace(study_status(folder), drivers=()) == replace(study_status(done.out), drivers=())
    study = load_study(done.file).model_copy(update={"equalise": "time"})
    timed = find_step_seconds(study, "small", done.out)
    assert timed == find_step_seconds(study, "small", tmp_path / "nowhere", published=tmp_path)
    assert timed
    plan = folder / "plan.json"
    plan.write_text(plan.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert study_status(folder).altered == ("plan.json",)


def test_links_do_not_lead_out_of_the_source(done: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = tmp_path / "secret"
    (secret / "deep").mkdir(parents=True)
    (secret / "deep" / "key.txt").write_text("secret", encoding="utf-8")
    cell = sorted(done.store.done_ids())[0]
    (done.out / "costs.json").unlink()
    (done.out / "costs.json").symlink_to(secret / "deep" / "key.txt")
    (done.out / "tuning").symlink_to(secret)
    shutil.move(done.store.folder(cell), secret / "cell")
    done.store.folder(cell).symlink_to(secret / "cell")
    target = tmp_path / "thin"
    publish(done.out, target)
    assert b"secret" not in tree(target).values()
    assert cell not in ResultStore(target).ids()
    assert "symbolic links and are left out" in caplog.text
    assert (secret / "deep" / "key.txt").read_text(encoding="utf-8") == "secret"


TOUCHES = frozenset({"open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"})


def publish_in_a_child(source: Path, target: Path, instant: int) -> int:
    """Publish in a forked process that is killed before its touch number `instant` of what lies beside the target; how many touches."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        touches = 0

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal touches
            if event in TOUCHES and str(arguments[0]).startswith(str(target.parent)):
                if touches == instant:
                    os.kill(os.getpid(), signal.SIGKILL)
                touches += 1

        sys.addaudithook(count)
        publish(source, target)
        os.write(write, str(touches).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return int(said or -1)


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_any_instant_leaves_the_former_folder_or_the_new_one(every: int, done: Bench, tmp_path: Path) -> None:
    target, former, whole = tmp_path / "to" / "thin", tmp_path / "former", tmp_path / "whole"
    publish(done.out, former)
    (former / "notes.md").write_text("mine", encoding="utf-8")
    shutil.rmtree(done.store.folder(sorted(done.store.done_ids())[0]))
    publish(done.out, whole)
    new = tree(whole) | {"notes.md": b"mine"}
    shutil.copytree(former, target)
    touches = publish_in_a_child(done.out, target, -1)
    assert touches > 30
    for instant in (0, 1, 2, 5, 20)[::every] + tuple(range(touches - 16, touches, every)):
        shutil.rmtree(target.parent)
        shutil.copytree(former, target)
        assert publish_in_a_child(done.out, target, instant) == -1, "it was not killed"
        left = target if target.exists() else target.parent / ".thin.publishing" / "old"
        assert tree(left) in (tree(former), new), instant
        publish(done.out, target)
        assert tree(target) == new, instant
        assert [path.name for path in target.parent.iterdir()] == ["thin"]


@pytest.mark.parametrize("to", ["x" * 300, "a\0b", "circle/x", "/dev/null/x"], ids=["too long", "null", "circle", "below a device"])
def test_a_path_that_cannot_be_is_one_message(done: Bench, tmp_path: Path, to: str) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(FilaError, match=r"^--to="):
        publish(done.out, tmp_path / to)


@pytest.mark.parametrize(
    "kept", ["lock-0-of-2.json", "costs.lock", "mlflow.db", "logs/worker-0.log", "work/x/y", "cells/a/model.safetensors"]
)
def test_a_runs_folder_is_known_by_whatever_only_a_run_holds(done: Bench, tmp_path: Path, kept: str) -> None:
    target = tmp_path / "run"
    publish(done.out, target)
    (target / MANIFEST).unlink()
    (target / kept).parent.mkdir(parents=True, exist_ok=True)
    (target / kept).write_text("of a run", encoding="utf-8")
    before = tree(target)
    with pytest.raises(FilaError, match="no published results"):
        publish(done.out, target)
    assert tree(target) == before


@pytest.mark.parametrize("name", ["old", "new"])
def test_a_folder_of_somebody_with_the_name_of_ours_is_not_touched(done: Bench, tmp_path: Path, name: str) -> None:
    """Without our lock in it, it is not ours; whatever it holds."""
    mine = tmp_path / ".thin.publishing" / name
    mine.mkdir(parents=True)
    (mine / "precious").write_text("mine", encoding="utf-8")
    before = tree(mine.parent)
    with pytest.raises(FilaError, match="move it away"):
        publish(done.out, tmp_path / "thin")
    assert tree(mine.parent) == before
    assert not (tmp_path / "thin").exists()


def test_a_mark_nested_beyond_reading_is_no_mark(done: Bench, tmp_path: Path) -> None:
    publish(done.out, tmp_path / "thin")
    (tmp_path / "thin" / MANIFEST).write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(FilaError, match="no published results"):
        publish(done.out, tmp_path / "thin")


def test_who_publishes_to_one_place_at_once_publishes_in_turn(done: Bench, tmp_path: Path) -> None:
    target, alone = tmp_path / "to" / "thin", tmp_path / "alone"
    publish(done.out, alone)
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda _: publish(done.out, target), range(12)))
    assert set(counts) == {publish(done.out, target)}
    assert tree(target) == tree(alone)
    assert [path.name for path in target.parent.iterdir()] == ["thin"]
