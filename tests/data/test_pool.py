"""A pool is built once, completely or not at all, with the same bytes however many processes draw it."""

from __future__ import annotations

import errno
import os
import pickle
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from fila_lab.config.base import FilaError
from fila_lab.config.data import DataConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.data import BucketBatches, StoredPool, draw_seed_items, parallel, pool_build, pool_key
from fila_lab.data.seam import Seam, SeamSuite, seam_pool
from fila_lab.imaging import join_tiles, prepare

DATA = DataConfig(train_pool=90, val_pool=70, test_triplets=6)


@pytest.fixture(scope="module")
def train_pool(tmp_path_factory: pytest.TempPathFactory, geometry: GeometryConfig) -> StoredPool:
    return seam_pool(DATA, geometry, "train", tmp_path_factory.mktemp("cache"))


def test_rows_hold_their_items(train_pool: StoredPool, geometry: GeometryConfig) -> None:
    suite = SeamSuite(DATA.seam, geometry)
    assert sum(len(group) for group in train_pool.groups.values()) == len(train_pool) == 90
    for row in (0, 17, 89):
        line = train_pool.meta.iloc[row]
        item = suite.item("train", int(line["index"]))
        group, (place,) = train_pool.locate([row])
        prepared = prepare(item.image, geometry)
        assert (line["item_id"], line["answer"], line["place"]) == (item.item_id, item.answer, item.place)
        for name in ("tiles", "overview", "detail"):
            assert np.array_equal(getattr(group, name)[place], getattr(prepared, name))


def test_another_process_is_given_a_pools_place_and_not_its_pixels(train_pool: StoredPool) -> None:
    """Beside files in a mix, say: an item may have 8 MB."""
    held = pickle.dumps(train_pool.hold())
    assert len(held) < sum(group.tiles.nbytes for group in train_pool.groups.values()) / 10
    there, rows = pickle.loads(held), np.flatnonzero(train_pool.canvases == train_pool.canvases[0])
    own, other = (pool.pixels(rows, detail=True) for pool in (train_pool, there))
    assert all(np.array_equal(getattr(own, name), getattr(other, name)) for name in ("tiles", "overview", "detail"))


def test_enlarged_canvases_show_the_same_items_in_finer_pixels(train_pool: StoredPool, geometry: GeometryConfig, tmp_path: Path) -> None:
    fine = seam_pool(DATA, geometry.model_copy(update={"vit_scale": 2}), "train", tmp_path)
    assert fine.meta.equals(train_pool.meta)
    for name, group in fine.groups.items():
        plain = train_pool.groups[name]
        assert (group.bucket.geometry.rows, group.bucket.geometry.cols) == (2 * plain.bucket.geometry.rows, 2 * plain.bucket.geometry.cols)
        assert np.array_equal(group.glyphs, plain.glyphs)
        with pytest.raises(FileNotFoundError):
            _ = group.detail
        canvas = join_tiles(group.tiles[0], group.bucket.geometry.rows, group.bucket.geometry.cols).astype(float)
        means = canvas.reshape(plain.bucket.geometry.canvas[1], 2, plain.bucket.geometry.canvas[0], 2, 3).mean((1, 3))
        reduced = join_tiles(plain.tiles[0], plain.bucket.geometry.rows, plain.bucket.geometry.cols)
        assert np.abs(means - reduced).max() <= 1  # both are area means of the same page, rounded
        assert np.abs(canvas - np.kron(reduced, np.ones((2, 2, 1)))).max() > 30  # and the finer one is no enlargement of the other


def test_two_processes_draw_the_same_bytes_and_a_second_call_draws_nothing(
    train_pool: StoredPool, geometry: GeometryConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "CHUNKS_A_WORKER", 1)
    said: list[tuple[str, int, int]] = []
    twin = seam_pool(DATA, geometry, "train", tmp_path, workers=2, progress=lambda *words: said.append(words))
    assert twin.content_hash == train_pool.content_hash
    assert said[-1] == ("drawing train items", 90, 90)
    said.clear()
    again = seam_pool(DATA.model_copy(update={"train_items": 5}), geometry, "train", tmp_path, progress=lambda *words: said.append(words))
    assert again.folder == twin.folder
    assert not said


def test_test_pool_has_three_places_an_item(geometry: GeometryConfig, tmp_path: Path) -> None:
    meta = seam_pool(DATA, geometry, "test", tmp_path).meta
    assert (meta.groupby("item_id")["place"].agg(list).map(tuple) == ("cut", "sham", "intact")).all()


def test_a_failed_build_leaves_nothing_and_the_next_one_succeeds(
    geometry: GeometryConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(pool_build.os, "posix_fallocate", full)
        with pytest.raises(FilaError, match=r"cache_dir=.*No space left.*another cache folder"):
            seam_pool(DATA, geometry, "val", tmp_path)
    key = pool_key(Seam(DATA, geometry), "val", geometry)
    assert [path.name for path in (tmp_path / "pools").iterdir()] == [f"{key}.lock"]
    half = tmp_path / "pools" / f"{key}.tmp-1"  # as a killed builder leaves it
    half.mkdir()
    (half / "pool.json").write_text("{}", encoding="utf-8")
    assert len(seam_pool(DATA, geometry, "val", tmp_path)) == 70
    assert not half.exists()


def test_builders_at_the_same_time_share_one_build(geometry: GeometryConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds: list[int] = []
    stored_pool = sys.modules["fila_lab.data.stored_pool"]  # its function of the same name hides it in the room
    fill = stored_pool.fill
    monkeypatch.setattr(stored_pool, "fill", lambda *words: (builds.append(1), fill(*words))[1])
    threads = [threading.Thread(target=seam_pool, args=(DATA, geometry, "test", tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert builds == [1]


def test_a_folder_that_cannot_be_written_is_named(geometry: GeometryConfig, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    with pytest.raises(FilaError, match=r"cache_dir=.*file"):
        seam_pool(DATA, geometry, "train", blocked)


def test_seeds_draw_without_repetition_and_reproducibly(train_pool: StoredPool) -> None:
    one = draw_seed_items(train_pool, 3, 60, "train_items")
    assert len(set(one)) == 60
    assert np.array_equal(one, draw_seed_items(train_pool, 3, 60, "train_items"))
    assert not np.array_equal(one, draw_seed_items(train_pool, 4, 60, "train_items"))
    with pytest.raises(FilaError, match=r"data\.train_items=91"):
        draw_seed_items(train_pool, 3, 91, "train_items")


def test_batches_hold_one_canvas_and_every_row_once(train_pool: StoredPool) -> None:
    rows = draw_seed_items(train_pool, 0, 80, "train_items")
    for seed in (0, None):
        batches = BucketBatches(train_pool.meta["canvas"], rows, 16, seed)
        epoch = list(batches)
        assert len(epoch) == len(batches)
        assert sorted(np.concatenate(epoch)) == sorted(rows)
        for batch in epoch:
            group, places = train_pool.locate(batch)
            assert len(group.tiles[places]) == len(batch) <= 16
    assert np.array_equal(epoch[0], next(iter(BucketBatches(train_pool.meta["canvas"], rows, 16, None))))
    shuffled = BucketBatches(train_pool.meta["canvas"], rows, 16, 0)
    assert [b.tolist() for b in shuffled.epoch(0)] != [b.tolist() for b in shuffled.epoch(1)]
