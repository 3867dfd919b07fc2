"""Atomic writes and locks on file systems that can less."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from fila_lab.config import ConfigError, FilaError, MachineError
from fila_lab.config.files import (
    becoming,
    cache_limit,
    file_lock,
    left_over,
    set_usual_mode,
    sync,
    temporary_path,
    try_lock,
    write_atomically,
    written_for,
)

UNABLE = [errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.ENOLCK]


@pytest.mark.parametrize("code", UNABLE)
def test_a_file_system_that_cannot_sync_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def unable(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", unable)
    write_atomically(tmp_path / "file", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_private_file_becomes_as_open_as_others(tmp_path: Path) -> None:
    """safetensors writes by way of a private file, and nobody else could load what was trained."""
    mask = os.umask(0o027)
    try:
        path = tmp_path / "weights"
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        set_usual_mode(path)
        (tmp_path / "usual").touch()
        assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)


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


def test_content_is_on_the_disk_before_its_name_and_the_name_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash at any moment leaves the former file or the new one whole."""
    seen: list[tuple[str, bool]] = []
    right = os.fsync

    def noted(handle: int) -> None:
        seen.append(("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file", (tmp_path / "file").exists()))
        right(handle)

    monkeypatch.setattr(os, "fsync", noted)
    write_atomically(tmp_path / "file", b"content")
    assert seen == [("file", False), ("folder", True)]


def test_what_becomes_a_file_is_synced_unless_it_may_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with becoming(tmp_path / "file") as temporary:
        temporary.write_bytes(b"whole")
    assert len(synced) == 2, "the file and its folder"


def test_a_file_of_a_living_process_is_not_left_over_and_looking_harms_nobody(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as writer:
        path = tmp_path / temporary_path(tmp_path / "file").name.replace(f"-{os.getpid()}", f"-{writer.pid}")
        path.write_bytes(b"half")
        assert not left_over(path, {"file"}, alone=False)
        time.sleep(0.1)
        assert writer.poll() is None
        writer.kill()
        writer.wait()
        assert left_over(path, {"file"}, alone=False)


def test_what_a_process_may_lose_is_not_synced_and_still_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: pytest.fail("synced"))
    (tmp_path / "file").write_bytes(b"former")
    with becoming(tmp_path / "file", durable=False) as temporary:
        temporary.write_bytes(b"half")
        assert written_for(temporary.name) == "file"
        assert (tmp_path / "file").read_bytes() == b"former"
    assert (tmp_path / "file").read_bytes() == b"half"
    with suppress(KeyboardInterrupt), becoming(tmp_path / "file", durable=False) as temporary:
        temporary.write_bytes(b"other")
        raise KeyboardInterrupt
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"half")]


@pytest.mark.parametrize("path", [None, "other"])
def test_a_disk_that_fails_says_at_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | None) -> None:
    def fails(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space left") as error:
        write_atomically(tmp_path / "file", b"content")
    assert error.value.filename == (path or str(tmp_path / "file"))


def test_other_errors_of_a_write_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "file", "text")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_file_is_left_over_once_its_writer_is_gone(tmp_path: Path) -> None:
    own = temporary_path(tmp_path / "file")
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    dead = own.with_name(own.name.replace(f"-{os.getpid()}.tmp", f"-{child}.tmp"))
    elsewhere = own.with_name(f".file.elsewhere-{child}.tmp")
    for path in (own, dead, elsewhere):
        path.touch()
    found = {path.name: [left_over(path, {"file"}, alone) for alone in (False, True)] for path in (own, dead, elsewhere)}
    assert found == {own.name: [False, True], dead.name: [True, True], elsewhere.name: [False, True]}
    assert not left_over(dead, {"other"}, True)


@pytest.mark.parametrize("kind", ["file", "folder", "absent"])
def test_a_lock_keeps_others_out_while_it_is_held(tmp_path: Path, kind: str) -> None:
    path = tmp_path if kind == "folder" else tmp_path / "lock"
    if kind == "file":
        path.write_text("content", encoding="utf-8")
    descriptor = None
    with file_lock(path):
        descriptor = os.open(path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)
    assert kind != "file" or path.read_text(encoding="utf-8") == "content"


@pytest.mark.parametrize(("text", "gib"), [(None, 40), ("", 40), (" ", 40), ("10", 10), (" 0.5 ", 0.5), ("1e3", 1000), ("1", 1)])
def test_the_caches_limit_is_in_gibibytes(monkeypatch: pytest.MonkeyPatch, text: str | None, gib: float) -> None:
    monkeypatch.delenv("FILA_LAB_CACHE_GIB", raising=False)
    if text is not None:
        monkeypatch.setenv("FILA_LAB_CACHE_GIB", text)
    assert cache_limit() == gib * 1024**3


@pytest.mark.parametrize(
    ("text", "example"),
    [("10G", "10"), ("0.5GB", "0.5"), ("0", "40"), ("0G", "40"), ("-1", "40"), ("inf", "40"), ("nan", "40"), ("much", "40")],
)
def test_a_limit_that_is_none_is_refused_with_an_example(monkeypatch: pytest.MonkeyPatch, text: str, example: str) -> None:
    monkeypatch.setenv("FILA_LAB_CACHE_GIB", text)
    with pytest.raises(ConfigError, match=rf"FILA_LAB_CACHE_GIB = '{text}' .*e\.g\. {example}$"):
        cache_limit()
