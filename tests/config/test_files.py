"""Atomic writes and locks on file systems that can less."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from fila_lab.config import FilaError, MachineError
from fila_lab.config.files import file_lock, sync, try_lock, write_atomically

UNABLE = [errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.ENOLCK]


@pytest.mark.parametrize("code", UNABLE)
def test_a_file_system_that_cannot_sync_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def unable(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", unable)
    write_atomically(tmp_path / "file", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_folder_that_cannot_be_opened_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = os.open

    def closed(path: object, *further: int) -> int:
        if Path(str(path)) == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return right(path, *further)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", closed)
    write_atomically(tmp_path / "file", b"content")
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "missing")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_is_said_and_leaves_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    (tmp_path / "file").write_bytes(b"former")

    def fails(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match=os.strerror(code)):
        write_atomically(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"former"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("code", UNABLE)
def test_no_locks_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    from fila_lab.studies.costs import measure_costs
    from fila_lab.studies.lock import StudyLock, holders

    def unable(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    (tmp_path / "lock.json").touch()
    monkeypatch.setattr(fcntl, "flock", unable)
    for taken in (lambda: file_lock(tmp_path / "a.lock"), lambda: StudyLock(tmp_path)):
        with pytest.raises(MachineError, match=r"this file system has no locks .*choose a folder on a local disk"), taken():
            pass
    assert holders(tmp_path) == []
    assert not measure_costs(tmp_path, {}, "code", lambda *_: {})


def test_a_lock_that_is_held_is_not_taken(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w", encoding="utf-8") as one, (tmp_path / "lock").open("w", encoding="utf-8") as two:
        assert try_lock(one, shared=True)
        assert try_lock(two, shared=True)
        assert not try_lock(two)


def test_a_lock_file_that_cannot_be_made_is_one_message(tmp_path: Path) -> None:
    from fila_lab.studies.lock import StudyLock

    (tmp_path / "lock.json").mkdir()
    with pytest.raises(FilaError, match=r"--out: .*lock\.json cannot be written \(Is a directory\)"), StudyLock(tmp_path):
        pass
