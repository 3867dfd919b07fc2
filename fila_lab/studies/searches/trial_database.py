"""The database in which the searches of a folder are mirrored, and which of its Optuna studies are this folder's.

A study of the user's, or of another folder, is never written to: one that has the name of ours is refused, with what to do.
"""

from __future__ import annotations

import itertools
import logging
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import RDBStorage

from fila_lab.config.base import ConfigError, FilaError
from fila_lab.config.files import write_atomically
from fila_lab.config.search import Direction
from fila_lab.studies.address import Address, masked
from fila_lab.studies.folder_mark import FolderMark
from fila_lab.studies.searches.trial_storage import EXAMPLES, OPTION, explained, open_own, open_storage, spoken
from fila_lab.studies.sqlite import sqlite_url

log = logging.getLogger("fila_lab")

DATABASE = "optuna.db"
MARK, BEGUN = "key.json", "key.begun"
"""In the folder of a phase: by what a shared database knows this folder, and the names of the studies it has begun to make there."""
OWNER = "fila_lab_folder"
"""The attribute of an Optuna study that says whose it is."""
KEY_OPTION = "--sweep-key"
KEY_LENGTH = 200
RETRY_SECONDS = 300.0
"""How long a database that failed is left in peace."""


def check_key(key: str) -> None:
    """Refuse what cannot be the name of a search.

    Raises:
        ConfigError: it is empty, too long, or cannot be printed.
    """
    if not key.strip() or key != key.strip() or not key.isprintable():
        raise ConfigError(f"{KEY_OPTION} = {key!r} is no name for a search; give a plain one, e.g. fusion-7b")
    if len(key) > KEY_LENGTH:
        raise ConfigError(f"{KEY_OPTION} = '{key[:40]}...' has {len(key)} characters, more than {KEY_LENGTH}; choose a shorter one")


class TrialDatabase:
    """The database of one phase's searches: the folder's own, or one of the user's that folders may share."""

    def __init__(self, root: Path, folder: Path, url: str | None = None) -> None:
        """
        Args:
            root: the result folder.
            folder: the folder of the phase in it; without `url`, its `optuna.db` is the database.
            url: a database of the user's.

        Raises:
            FilaError: the user's cannot be used. Of the folder's own one, that is a warning.
        """
        self.own = url is None
        self.address = Address(OPTION, sqlite_url(folder / DATABASE) if url is None else url, EXAMPLES)
        self._folder = folder
        self._failed, self._failed_at = False, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._mark = FolderMark.here(root) if self.own else FolderMark.of(root, folder / MARK)
        self._storage: RDBStorage | None = None if self.own else open_storage(self.address.uri)

    @property
    def storage(self) -> RDBStorage:
        """Optuna's storage: opened at first use, and anew after a failure."""
        if self._storage is None:
            self._storage = open_own(self._folder / DATABASE) if self.own else open_storage(self.address.uri)
        return self._storage

    def attempt(self, action: Callable[[], object], *, again: bool = False) -> bool:
        """Whether an action that the database may hinder was done. A failure is one warning; for RETRY_SECONDS nothing is tried then, but
        for what is to be tried `again` at once."""
        if self._failed and not again and time.monotonic() - self._failed_at < RETRY_SECONDS:
            return False
        try:
            action()
        except Exception as error:  # Optuna passes on what SQLAlchemy, drivers and the file system raise
            if not self._failed:
                where, said = masked(self.address.uri), self.address.hide(spoken(error))
                log.warning("trials cannot be shown at %s (%s); the study goes on, and its next run shows them", where, said)
            self._failed, self._failed_at, self._storage = True, time.monotonic(), None
            return False
        self._failed = False
        return True

    def insist(self, action: Callable[[], object]) -> None:
        """Do it before anything runs: where the user has named the database, a failure is the end.

        Raises:
            FilaError: what failed, and what to do.
        """
        if self.own:
            self.attempt(action)
            return
        with explained(self.address):
            action()

    def studies(self, name: str) -> list[optuna.Study]:
        """This folder's studies of a name: itself, then `name (2)` and so on.

        Raises:
            FilaError: the name is taken by somebody else.
        """
        there = set(optuna.get_all_study_names(self.storage))
        found: list[optuna.Study] = []
        for number in itertools.count(1):
            if (numbered := _numbered(name, number)) not in there:
                return found
            study = self._load(numbered)
            if self._claim(study):
                found.append(study)
            elif number == 1:
                raise self._taken(study)
        raise AssertionError

    def make(self, name: str, objectives: Mapping[str, Direction]) -> optuna.Study:
        """A new study under the first of the names that is free.

        Raises:
            FilaError: somebody else has just taken it.
        """
        there = set(optuna.get_all_study_names(self.storage))
        free = next(numbered for number in itertools.count(1) if (numbered := _numbered(name, number)) not in there)
        self._begun(free, begin=True)
        try:
            study = optuna.create_study(
                storage=self.storage, study_name=free, directions=list(objectives.values()), sampler=RandomSampler(seed=0)
            )
        except optuna.exceptions.DuplicatedStudyError:
            study = self._load(free)
        if not self._claim(study):
            raise self._taken(study)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(objectives))
        return study

    def _load(self, name: str) -> optuna.Study:
        return optuna.load_study(study_name=name, storage=self.storage, sampler=RandomSampler(seed=0))

    def _claim(self, study: optuna.Study) -> bool:
        """Whether a study is this folder's, which is written on it where it is not yet.

        A study is made and then given its owner: one that a kill left between the two is ours if we had begun to make it.
        """
        owner = study.user_attrs.get(OWNER)
        if owner is None:
            ours = (self.own or self._begun(study.study_name)) and not study.get_trials(deepcopy=False)
        else:
            ours = self.own or (isinstance(owner, dict) and self._mark.owns(owner))
        if ours and owner != self._mark.to_dict():
            study.set_user_attr(OWNER, self._mark.to_dict())
            ours = study.user_attrs.get(OWNER) == self._mark.to_dict()  # another may have done so in the same instant
        return ours

    def _begun(self, name: str, begin: bool = False) -> bool:
        """Whether this folder has begun to make a study; with `begin`, note that it does."""
        if self.own:
            return True
        entry, file = f"{self._mark.id} {masked(self.address.uri)} {name}", self._folder / BEGUN
        entries = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
        if begin and entry not in entries:
            write_atomically(file, "".join(f"{line}\n" for line in (*entries, entry)).encode())
        return entry in entries

    def _taken(self, study: optuna.Study) -> FilaError:
        owner: Any = study.user_attrs.get(OWNER)
        try:
            whose = f"the folder {owner['path']} on {owner['host']}"
        except (TypeError, KeyError):
            whose = "somebody"
        return self.address.refusal(
            f"holds a study {study.study_name!r} of {whose} already, which is left as it is; name this folder's searches otherwise with "
            f"{KEY_OPTION}"
        )


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} ({number})"
