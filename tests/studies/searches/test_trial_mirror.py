"""The mirror of searches in Optuna's database: complete, idempotent whenever it is killed, and apart from everybody else's."""

from __future__ import annotations

import dataclasses
import json
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from fake_searches import BOTH, QUALITY, SPACE, expected, held, names, play, reader, trials
from postgres import Server

from fila_lab.config import FilaError
from fila_lab.studies.searches import trial_database
from fila_lab.studies.searches.trial_database import TrialDatabase
from fila_lab.studies.searches.trial_mirror import SHOWN, TrialMirror
from fila_lab.studies.sqlite import sqlite_url

KEY = "thin-full"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, quick_disk: Path) -> str:
    """A database that several folders may share."""
    if request.param == "sqlite":
        return sqlite_url(quick_disk / "sweeps.db")
    server: Server = request.getfixturevalue("server")
    return server.database()


def opened(root: Path, url: str | None, key: str = KEY, objectives: dict[str, str] = QUALITY) -> TrialMirror:
    root.mkdir(exist_ok=True)
    return TrialMirror(TrialDatabase(root, root / "sweep", url), key, objectives, SPACE)


@pytest.mark.parametrize("objectives", [QUALITY, pytest.param(BOTH, marks=pytest.mark.slow)])
def test_a_search_is_shown_as_it_goes_and_once(tmp_path: Path, url: str, objectives: dict[str, str]) -> None:
    search = trials(5, len(objectives))
    mirror = opened(tmp_path / "a", url, objectives=objectives)
    running = dataclasses.replace(search[0], state="running", values=None, intermediate={100: 0.1})
    mirror.show(running)
    number, state, parameters, values, steps, attributes = held(url, KEY)[0]
    assert (number, state, values, attributes["cells"]) == (0, "RUNNING", None, list(running.cells))
    assert steps == ({100: "0.1"} if len(objectives) == 1 else {})
    assert parameters == expected(search)[0][2]
    play(mirror, search)
    assert held(url, KEY) == expected(search, len(objectives))
    assert optuna.load_study(study_name=KEY, storage=reader(url)).metric_names == list(objectives)
    # Shown again, as it goes or as it ended, by another process: nothing changes, nothing is added.
    before = dump(url)
    play(opened(tmp_path / "a", url, objectives=objectives), search)
    again = opened(tmp_path / "a", url, objectives=objectives)
    assert again.holds(search)
    assert not again.holds(search[:-1])
    for trial in search:
        again.show(trial)
    again.finish()
    assert dump(url) == before


def dump(url: str) -> dict[str, list]:
    """Every row of a database."""
    engine = sqlalchemy.create_engine(url)
    tables = sqlalchemy.MetaData()
    with engine.connect() as connection:
        tables.reflect(connection)
        found = {name: sorted(map(repr, connection.execute(sqlalchemy.select(table)))) for name, table in tables.tables.items()}
    engine.dispose()
    return found


# Kills ---------------------------------------------------------------------------------------------------------------


def killed(root: Path, url: str | None, statements: int) -> bool:
    """Play a search in a process of its own that is killed when it has sent so many statements; False where it ended before."""

    def body() -> None:
        left = statements

        def count(*_: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", count)
        sqlalchemy.event.listen(sqlalchemy.Engine, "commit", count)
        play(opened(root, url), trials(4))

    child = multiprocessing.get_context("fork").Process(target=body)
    child.start()
    child.join()
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


@pytest.mark.parametrize("step", [97, pytest.param(13, marks=pytest.mark.slow)])
def test_a_driver_that_is_killed_at_any_statement_leaves_nothing_that_is_not_taken_up(tmp_path: Path, url: str, step: int) -> None:
    statements = 3
    while killed(tmp_path / "a", url, statements):
        statements += step
    assert names(url) == [KEY]
    assert held(url, KEY) == expected(trials(4))


@pytest.mark.slow
def test_each_kill_alone_is_taken_up(tmp_path: Path, server: Server) -> None:
    """In a database of its own: where tables, the study and its trials are made."""
    for statements in range(1, 400, 9):
        root = tmp_path / str(statements)
        url = server.database() if statements % 2 else sqlite_url(tmp_path / f"{statements}.db")
        went_on = killed(root, url, statements)
        play(opened(root, url), trials(4))
        assert names(url) == [KEY], statements
        assert held(url, KEY) == expected(trials(4)), statements
        if not went_on:
            return
    raise AssertionError("it always ended before its end")


def test_a_study_that_was_made_and_not_yet_marked_is_ours_and_nobody_elses(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "set_user_attr", killed)
        with pytest.raises(KeyboardInterrupt):
            opened(tmp_path / "a", url)
    assert names(url) == [KEY]
    with pytest.raises(FilaError, match="of somebody already"):
        opened(tmp_path / "b", url)
    play(opened(tmp_path / "a", url), trials(2))
    assert held(url, KEY) == expected(trials(2))


# Whose it is ---------------------------------------------------------------------------------------------------------


def test_folders_share_a_database_in_peace(tmp_path: Path, url: str) -> None:
    first, second = trials(3), trials(2, shift=1e-4)
    play(opened(tmp_path / "a", url), first)
    before = dump(url)
    with pytest.raises(FilaError, match=r"--sweep-storage: .* holds a study 'thin-full' of the folder .*/a on .*--sweep-key") as refused:
        opened(tmp_path / "b", url)
    assert "se/sam" not in str(refused.value)
    assert "se%2Fsam" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert dump(url) == before
    play(opened(tmp_path / "b", url, "other"), second)
    assert held(url, KEY) == expected(first)
    assert held(url, "other") == expected(second)
    play(opened(tmp_path / "a", url), first)
    assert names(url) == ["other", KEY]


@pytest.mark.parametrize("trials_of_his", [0, 1])
def test_a_study_of_the_users_is_left_alone(tmp_path: Path, url: str, trials_of_his: int) -> None:
    study = optuna.create_study(study_name=KEY, storage=url, direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=trials_of_his)
    before = dump(url)
    with pytest.raises(FilaError, match=r"holds a study 'thin-full' of somebody already, which is left as it is; .*--sweep-key"):
        opened(tmp_path / "a", url)
    assert dump(url) == before


def test_a_changed_search_goes_on_beside_the_former(tmp_path: Path, url: str) -> None:
    former, changed = trials(5), trials(2, shift=1e-4)
    mirror = opened(tmp_path / "a", url)
    for trial in former[:4]:
        mirror.show(trial)
    mirror.show(dataclasses.replace(former[4], state="running", values=None))
    play(opened(tmp_path / "a", url), changed)
    assert names(url) == [KEY, f"{KEY} (2)"]
    assert held(url, f"{KEY} (2)") == expected(changed)
    assert [row[:2] for row in held(url, KEY)] == [(0, "COMPLETE"), (1, "PRUNED"), (2, "FAIL"), (3, "PRUNED"), (4, "FAIL")]
    # Changed back, its trials are found again as far as they go.
    play(opened(tmp_path / "a", url), former[:4])
    assert names(url) == [KEY, f"{KEY} (2)"]
    # A trial whose cell ran again and came to something else cannot be untold.
    mended = [*former[:2], dataclasses.replace(former[2], state="complete", values=(0.5,), reason="", intermediate={}), former[3]]
    play(opened(tmp_path / "a", url), mended)
    assert held(url, f"{KEY} (3)") == expected(mended)


@pytest.mark.slow
def test_a_search_of_other_objectives_is_another(tmp_path: Path, url: str) -> None:
    play(opened(tmp_path / "a", url), trials(2))
    play(opened(tmp_path / "a", url, objectives=BOTH), trials(2, 2))
    assert held(url, KEY) == expected(trials(2))
    assert held(url, f"{KEY} (2)") == expected(trials(2, 2), 2)


@pytest.mark.slow
def test_a_search_cut_short_leaves_nothing_running(tmp_path: Path, url: str) -> None:
    search = trials(5)
    mirror = opened(tmp_path / "a", url)
    for trial in search:
        mirror.show(dataclasses.replace(trial, state="running", reason="", values=None))
    play(opened(tmp_path / "a", url), search[:3])
    assert [row[1] for row in held(url, KEY)] == ["COMPLETE", "PRUNED", "FAIL", "FAIL", "FAIL"]


@pytest.mark.slow
def test_trials_that_somebody_adds_to_our_study_are_not_told(tmp_path: Path, url: str) -> None:
    search = trials(4)
    mirror = opened(tmp_path / "a", url)
    mirror.show(search[0])
    his = optuna.load_study(study_name=KEY, storage=url)
    asked = his.ask()
    for trial in search[1:]:
        mirror.show(dataclasses.replace(trial, state="running", reason="", values=None))
    for trial in search[1:]:
        mirror.show(trial)
    mirror.finish()
    assert held(url, f"{KEY} (2)") == expected(search)
    his.tell(asked, 0.5)
    assert his.trials[1].value == 0.5


@pytest.mark.slow
def test_a_moved_folder_stays_the_same_and_a_copy_does_not(tmp_path: Path, url: str) -> None:
    search = trials(3)
    play(opened(tmp_path / "a", url), search)
    (tmp_path / "a").rename(tmp_path / "b")
    play(opened(tmp_path / "b", url), search)
    shutil.copytree(tmp_path / "b", tmp_path / "copy")
    with pytest.raises(FilaError, match=r"of the folder .*/b on "):
        opened(tmp_path / "copy", url)
    (tmp_path / "b" / "sweep" / "key.json").unlink()  # with the phase's folder, say
    play(opened(tmp_path / "b", url), search)
    assert names(url) == [KEY]


# Failures ------------------------------------------------------------------------------------------------------------


def test_a_server_that_goes_away_is_one_warning_and_what_it_missed_is_made_up(
    tmp_path: Path, url: str, server_of: Callable[[str], tuple[Callable[[], None], Callable[[], None]]], caplog: pytest.LogCaptureFixture
) -> None:
    stop, start = server_of(url)
    search = trials(6)
    mirror = opened(tmp_path / "a", url)
    mirror.show(dataclasses.replace(search[0], state="running", values=None, intermediate={}))
    stop()
    try:
        for trial in search[:3]:
            mirror.show(trial)
        with pytest.raises(FilaError, match="--sweep-storage"):
            opened(tmp_path / "a", url)
    finally:
        start()
    for trial in search[3:]:
        mirror.show(trial)
    assert len(held(url, KEY)) == 1
    mirror.finish()
    assert held(url, KEY) == expected(search)
    (said,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING and "fila_lab" in record.name]
    assert "the study goes on" in said
    assert "sam" not in said.replace("same", "")


@pytest.mark.slow
def test_a_server_that_comes_back_is_shown_what_it_missed_in_time(
    tmp_path: Path, quick_disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trial_database, "RETRY_SECONDS", 0.0)
    url, search = sqlite_url(quick_disk / "sweeps.db"), trials(4)
    mirror = opened(tmp_path / "a", url)
    for trial in search[:2]:
        mirror.show(dataclasses.replace(trial, state="running", reason="", values=None, intermediate={}))
    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "tell", lambda *_, **__: 1 / 0)
        mirror.show(search[0])
        patch.setattr(optuna.Study, "add_trial", lambda *_, **__: 1 / 0)
        mirror.show(search[2])
    mirror.show(search[3])
    mirror.show(search[1])
    assert held(url, KEY) == expected(search)
    assert len(caplog.records) == 1


@pytest.fixture
def server_of(request: pytest.FixtureRequest, quick_disk: Path) -> Callable[[str], tuple[Callable[[], None], Callable[[], None]]]:
    """How to make a database go away, and come back."""

    def make(url: str) -> tuple[Callable[[], None], Callable[[], None]]:
        if url.startswith("postgresql"):
            server: Server = request.getfixturevalue("server")
            return server.stop, server.start
        file, aside = quick_disk / "sweeps.db", quick_disk / "aside.db"

        def stop() -> None:
            file.rename(aside)
            file.mkdir()

        def start() -> None:
            file.rmdir()
            aside.rename(file)

        return stop, start

    return make


# The folder's own database -------------------------------------------------------------------------------------------


def own(root: Path) -> str:
    return sqlite_url(root / "sweep" / "optuna.db")


@pytest.mark.slow
def test_a_folders_own_database_goes_along_with_it(tmp_path: Path) -> None:
    search = trials(3)
    play(opened(tmp_path / "a", None), search)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    before = dump(own(tmp_path / "a"))
    play(opened(tmp_path / "copy", None), [*search, *trials(5)[3:]])
    assert dump(own(tmp_path / "a")) == before
    assert held(own(tmp_path / "copy"), KEY) == expected(trials(5))
    assert sorted(path.name for path in (tmp_path / "copy" / "sweep").iterdir()) == ["optuna.db"]


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["half", "garbage", "empty"])
def test_a_folders_own_database_that_cannot_be_opened_is_set_aside(tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    search = trials(3)
    play(opened(tmp_path / "a", None), search)
    database = tmp_path / "a" / "sweep" / "optuna.db"
    content = database.read_bytes()
    damaged = {"half": content[: len(content) // 2], "garbage": b"no database " * 1000, "empty": b""}[harm]
    database.write_bytes(damaged)
    play(opened(tmp_path / "a", None), search)
    assert held(own(tmp_path / "a"), KEY) == expected(search)
    if harm != "empty":
        assert "set aside as optuna.unreadable-1.db" in caplog.text
        assert (database.parent / "optuna.unreadable-1.db").read_bytes() == damaged


def test_a_folders_own_database_that_cannot_be_made_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a" / "sweep" / "optuna.db").mkdir(parents=True)
    mirror = opened(tmp_path / "a", None)
    assert not mirror.holds([])
    play(mirror, trials(2))
    assert [record.levelname for record in caplog.records if "fila_lab" in record.name] == ["WARNING"]
    assert SHOWN not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_dashboard_opens_it(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    command = shutil.which("optuna-dashboard")
    if command is None:
        pytest.skip("optuna-dashboard is not installed")
    url = request.getfixturevalue("server").database() if kind == "postgresql" else sqlite_url(tmp_path / "x.db")
    play(opened(tmp_path / "a", url), trials(8))
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([command, url, "--host", "127.0.0.1", "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert b"<html" in fetched(process, f"http://127.0.0.1:{port}/dashboard/").lower()
        (study,) = json.loads(fetched(process, f"http://127.0.0.1:{port}/api/studies"))["study_summaries"]
        assert study["study_name"] == KEY
        detail = json.loads(fetched(process, f"http://127.0.0.1:{port}/api/studies/{study['study_id']}?after=0"))
        assert [trial["state"] for trial in detail["trials"]] == ["Complete", "Pruned", "Fail", "Pruned"] * 2
        assert {attribute["key"] for attribute in detail["trials"][1]["user_attrs"]} == {"cells", "batch", "reason"}
    finally:
        process.kill()
        process.wait()


def fetched(process: subprocess.Popen[bytes], address: str) -> bytes:
    """A page, once the server answers."""
    ended = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(address, timeout=20) as page:
                return bytes(page.read())
        except urllib.error.URLError:
            if process.poll() is not None or time.monotonic() > ended:
                process.kill()
                raise AssertionError(process.communicate()[0].decode()) from None
            time.sleep(0.2)
