"""The mirror of searches in Optuna's database: complete, idempotent whenever it is killed, and apart from everybody else's."""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from postgres import Server
from searches import BOTH, QUALITY, SPACE, expected, held, play, trials

from fila_lab.config import FilaError
from fila_lab.studies.sqlite import sqlite_url
from fila_lab.studies.trial_database import TrialDatabase
from fila_lab.studies.trial_mirror import SHOWN, TrialMirror

KEY = "thin-full"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that several folders may share."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "sweeps.db")
    server: Server = request.getfixturevalue("server")
    return server.database()


def opened(root: Path, url: str | None, key: str = KEY, objectives: dict[str, str] = QUALITY) -> TrialMirror:
    root.mkdir(exist_ok=True)
    return TrialMirror(TrialDatabase(root, root / "sweep", url), key, objectives, SPACE)


def names(url: str) -> list[str]:
    return sorted(optuna.get_all_study_names(url))


@pytest.mark.parametrize("objectives", [QUALITY, BOTH])
def test_a_search_is_shown_as_it_goes_and_once(tmp_path: Path, url: str, objectives: dict[str, str]) -> None:
    search = trials(9, len(objectives))
    mirror = opened(tmp_path / "a", url, objectives=objectives)
    running = dataclasses.replace(search[0], state="running", values=None, intermediate={100: 0.1})
    mirror.show(running)
    number, state, parameters, values, steps, attributes = held(url, KEY)[0]
    assert (number, state, values, attributes["cells"]) == (0, "RUNNING", None, list(running.cells))
    assert steps == ({100: "0.1"} if len(objectives) == 1 else {})
    assert parameters == expected(search)[0][2]
    play(mirror, search)
    assert held(url, KEY) == expected(search, len(objectives))
    assert optuna.load_study(study_name=KEY, storage=url).metric_names == list(objectives)
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
