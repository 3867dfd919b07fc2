"""A cache is looked at before it is believed: whatever happens to its files, the numbers stay right."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fila_lab.config import MachineError
from fila_lab.config.data import DataConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.data import StoredPool
from fila_lab.data.sealed import DamagedError, digests, discard, look, opened, seal, under_way
from fila_lab.data.seam import seam_pool

DATA = DataConfig(train_pool=12, val_pool=8, test_triplets=2)
MARK = "mark.json"


def flip(path: Path, at: int = 0, count: int = 200) -> None:
    """Other bytes, the same size, the same times."""
    state = path.stat()
    content = bytearray(path.read_bytes())
    for i in range(at, min(len(content), at + count)):
        content[i] ^= 0xFF
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "flipped at the end": lambda path: flip(path, path.stat().st_size - 200),
    "one byte": lambda path: flip(path, path.stat().st_size // 2, 1),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a byte longer": lambda path: os.truncate(path, path.stat().st_size + 1),
    "empty": lambda path: os.truncate(path, 0),
    "missing": lambda path: path.unlink(),
    "a folder": to_folder,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.fixture
def pool(tmp_path_factory: pytest.TempPathFactory, geometry: GeometryConfig, made: Path) -> StoredPool:
    copy = tmp_path_factory.mktemp("copy") / "cache"
    shutil.copytree(made, copy)
    return seam_pool(DATA, geometry, "val", copy)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, geometry: GeometryConfig) -> Path:
    cache = tmp_path_factory.mktemp("made")
    seam_pool(DATA, geometry, "val", cache)
    return cache


def content(pool: StoredPool) -> dict[str, bytes]:
    """Every byte that a cell could read."""
    parts = ("tiles", "overview", "detail", "glyphs", "counts")
    arrays = {f"{name} {part}": getattr(group, part).tobytes() for name, group in pool.groups.items() for part in parts}
    return arrays | {"meta": pool.meta.to_csv().encode(), "hash": pool.content_hash.encode()}


@pytest.mark.parametrize("file", ["_tiles.npy", "_detail.npy", "_counts.npy", "meta.parquet", "meta.jsonl", "pool.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pool_is_made_anew_with_one_warning(
    damage: str, file: str, pool: StoredPool, geometry: GeometryConfig, caplog: pytest.LogCaptureFixture
) -> None:
    right = content(pool)
    path = next(path for path in sorted(pool.folder.iterdir()) if path.name.endswith(file))
    DAMAGES[damage](path)
    with caplog.at_level(logging.WARNING, "fila_lab"):
        mended = seam_pool(DATA, geometry, "val", pool.folder.parents[1])
        assert content(mended) == right
        assert content(seam_pool(DATA, geometry, "val", pool.folder.parents[1])) == right
    assert [record.getMessage().count("is damaged") for record in caplog.records] == [1]
    if damage in ("missing", "a folder"):
        assert content(pool) == right, "maps that are open stay readable"
    assert sorted(path.suffix for path in pool.folder.parent.iterdir()) == ["", ".lock"]


@pytest.mark.parametrize("gone", ["pool", "pools", "cache"])
def test_a_cache_that_vanishes_is_made_anew_and_open_pools_stay_whole(gone: str, pool: StoredPool, geometry: GeometryConfig) -> None:
    right = content(pool)
    shutil.rmtree({"pool": pool.folder, "pools": pool.folder.parent, "cache": pool.folder.parents[1]}[gone])
    assert content(pool) == right, "everything was opened at once"
    assert content(seam_pool(DATA, geometry, "val", pool.folder.parents[1])) == right


def test_a_file_in_the_place_of_the_folder_is_replaced(pool: StoredPool, geometry: GeometryConfig) -> None:
    right = content(pool)
    shutil.rmtree(pool.folder)
    pool.folder.write_text("not a pool", encoding="utf-8")
    assert content(seam_pool(DATA, geometry, "val", pool.folder.parents[1])) == right


def test_a_process_without_open_files_left_does_not_take_a_cache_for_damaged(
    pool: StoredPool, geometry: GeometryConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object, **__: object) -> object:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    before = pool.folder.stat().st_ino
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", none_left)
        with pytest.raises(MachineError, match=r"Too many open files.*ulimit -n"):
            seam_pool(DATA, geometry, "val", pool.folder.parents[1])
    assert pool.folder.stat().st_ino == before


def test_a_full_cache_is_the_machines_fault_and_enlarged_it_is_filled(
    geometry: GeometryConfig, disk: Callable[[str], Path], made: Path
) -> None:
    small = disk("256k")
    message = r"cache_dir=.*val pool cannot be written \(No space left on device\); free space there"
    with pytest.raises(MachineError, match=message):
        seam_pool(DATA, geometry, "val", small)
    assert [path.suffix for path in (small / "pools").iterdir()] == [".lock"]
    subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
    assert content(seam_pool(DATA, geometry, "val", small)) == content(seam_pool(DATA, geometry, "val", made))


def make(folder: Path, value: int = 7) -> None:
    np.save(folder / "numbers.npy", np.full(1000, value))
    seal(folder, MARK, {"value": value}, digests(folder))


def read(folder: Path) -> np.ndarray:
    look(folder, MARK, contents=True)
    return np.load(folder / "numbers.npy", mmap_mode="r")


def read_and_damage(final: Path, rounds: int, wrong: object) -> None:
    for number in range(rounds):
        numbers = opened(final, "numbers", read, make, lambda: None)
        if not (np.asarray(numbers) == 7).all():
            wrong.value += 1  # type: ignore[attr-defined]
        if number % 3 == os.getpid() % 3:
            (final / "numbers.npy").unlink(missing_ok=True)


def test_processes_that_find_damage_at_once_all_read_right_numbers(tmp_path: Path) -> None:
    logging.getLogger("fila_lab").setLevel(logging.ERROR)
    context = multiprocessing.get_context("fork")
    wrong = context.Value("i", 0)
    processes = [context.Process(target=read_and_damage, args=(tmp_path / "final", 25, wrong)) for _ in range(4)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
    finally:
        logging.getLogger("fila_lab").setLevel(logging.NOTSET)
    assert wrong.value == 0
    assert not [path for path in tmp_path.iterdir() if ".tmp-" in path.name]


def test_a_map_in_use_is_not_touched_by_a_rebuild(tmp_path: Path) -> None:
    in_use = opened(tmp_path / "final", "numbers", read, make, lambda: None)
    (tmp_path / "final" / MARK).write_text("{}", encoding="utf-8")
    opened(tmp_path / "final", "numbers", read, lambda folder: make(folder, 8), lambda: None)
    assert (np.asarray(in_use) == 7).all()


def test_the_mark_is_written_last_and_covers_itself(tmp_path: Path) -> None:
    opened(tmp_path / "final", "numbers", read, make, lambda: None)
    card = json.loads((tmp_path / "final" / MARK).read_text(encoding="utf-8"))
    card["value"] = 8
    (tmp_path / "final" / MARK).write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(DamagedError, match=r"mark\.json is not what was written"):
        look(tmp_path / "final", MARK, contents=False)


def test_what_is_being_made_is_known_from_what_was_left(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(folder: Path) -> None:
        begun.set()
        go_on.wait(10)
        make(folder)

    thread = threading.Thread(target=opened, args=(tmp_path / "final", "numbers", read, slowly, lambda: None))
    thread.start()
    begun.wait(10)
    (temporary,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert under_way(temporary)
    go_on.set()
    thread.join()
    temporary.mkdir()
    assert not under_way(temporary)
    discard(temporary)
    assert not temporary.exists()
