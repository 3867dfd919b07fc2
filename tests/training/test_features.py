"""The frozen-feature cache: the same bits hit or missed, by one worker or two, and equal to what the tower says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import tiny

from fila_lab.config import FilaError, MachineError
from fila_lab.data import parallel
from fila_lab.modeling import build_convnext, normalise
from fila_lab.modeling.detail_input import stage_maps
from fila_lab.studies.prepare import use_of_caches
from fila_lab.training.data import open_data
from fila_lab.training.features import cacheable, cached_features, features_key


@pytest.mark.slow
def test_records_equal_the_tower_and_do_not_depend_on_workers_or_on_a_hit(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "CHUNKS_A_WORKER", 1)
    config = tiny(fusion__name="concat", runtime__precision="fp32")
    pool = open_data(config, cache_dir, ("val",))["val"]
    missed = cached_features(config, pool, tmp_path / "one")
    hit = cached_features(config, pool, tmp_path / "one")
    by_two = cached_features(config, pool, tmp_path / "two", workers=2)
    tower = build_convnext(config).eval()
    for name, group in pool.groups.items():
        rows = np.arange(len(group))
        with torch.inference_mode():
            direct = tower(normalise(torch.from_numpy(np.array(group.detail))))
        for stage in range(4):
            assert torch.equal(missed.maps(name, rows)[stage], hit.maps(name, rows)[stage])
            assert torch.equal(missed.maps(name, rows)[stage], by_two.maps(name, rows)[stage])
            torch.testing.assert_close(missed.maps(name, rows)[stage].float(), direct[stage], rtol=2e-2, atol=2e-2)


def test_records_hold_what_the_run_shows_the_tower(cache_dir: Path, tmp_path: Path) -> None:
    config = tiny(runtime__precision="fp32", fusion__detail_resolution="canvas", fusion__detail_context="tile")
    pool = open_data(config, cache_dir, ("val",))["val"]
    cached, tower = cached_features(config, pool, tmp_path), build_convnext(config).eval()
    for name, group in pool.groups.items():
        pixels = torch.from_numpy(np.array(group.detail))
        with torch.inference_mode():
            shown = stage_maps(tower, pixels, config, group.bucket.geometry.rows, group.bucket.geometry.cols)
            plain = tower(normalise(pixels))
        for stage, here in enumerate(cached.maps(name, np.arange(len(group)))):
            torch.testing.assert_close(here.float(), shown[stage], rtol=2e-2, atol=2e-2)
            assert (here.float() - plain[stage]).abs().max() > 0.1


def test_the_key_knows_weights_and_resolution_but_neither_seed_nor_fusion(cache_dir: Path) -> None:
    base = tiny(fusion__name="concat")
    pool = open_data(base, cache_dir, ("val",))["val"]
    key = features_key(base, pool)
    assert features_key(tiny(fusion__name="addition", seed=5), pool) == key
    assert features_key(tiny(fusion__control="random_weights"), pool) != key
    assert features_key(tiny(runtime__precision="bf16"), pool) != key
    for field in ({"fusion__detail_resolution": "canvas"}, {"fusion__detail_context": "tile"}):
        assert features_key(tiny(**field), pool) != key
        assert use_of_caches(tiny(**field)) != use_of_caches(base)
    finer = tiny(geometry__detail_cells=4)
    assert features_key(finer, open_data(finer, cache_dir, ("val",))["val"]) != key


def test_what_does_not_look_at_frozen_maps_is_not_cached() -> None:
    assert cacheable(tiny(fusion__name="concat", fusion__control="foreign"))
    assert not cacheable(tiny(fusion__name="none"))
    assert not cacheable(tiny(fusion__control="oracle_map"))
    assert not cacheable(tiny(convnext__trainable=True))
    assert not cacheable(tiny(fusion__name="concat", runtime__feature_cache=False))


def test_a_cache_that_cannot_be_written_names_the_folder_and_the_remedy(cache_dir: Path, tmp_path: Path) -> None:
    config = tiny(fusion__name="concat")
    pool = open_data(config, cache_dir, ("val",))["val"]
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    with pytest.raises(FilaError, match=r"cache_dir=.*FILA_LAB_CACHE"):
        cached_features(config, pool, blocked)


def test_a_full_cache_drops_its_own_records_and_nothing_of_the_users(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(fusion__name="concat", runtime__precision="fp32")
    pool = open_data(config, cache_dir, ("val",))["val"]
    root, elsewhere = tmp_path / "features", tmp_path / "elsewhere"
    for folder in (root / "thesis", root / ("a" * 15), elsewhere, root / ("b" * 16)):
        folder.mkdir(parents=True)
        (folder / "data.npy").write_bytes(bytes(1000))
        os.utime(folder, (0, 0))
    (root / ("c" * 16)).symlink_to(elsewhere)
    monkeypatch.setenv("FILA_LAB_CACHE_GIB", "0.0000001")
    cached_features(config, pool, tmp_path)
    assert not (root / ("b" * 16)).exists()
    assert all((folder / "data.npy").exists() for folder in (root / "thesis", root / ("a" * 15), elsewhere, root / ("c" * 16)))


@pytest.mark.parametrize("file", ["records", "complete.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "missing"])
def test_damaged_features_are_computed_anew_with_one_warning(
    damage: str, file: str, cache_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny(fusion__name="concat")
    pool = open_data(config, cache_dir, ("test",))["seam"]
    right = {name: record.tobytes() for name, record in cached_features(config, pool, tmp_path).records.items()}
    folder = tmp_path / "features" / features_key(config, pool)
    path = folder / (f"{next(iter(pool.groups))}.npy" if file == "records" else file)
    content = path.read_bytes()
    middle = len(content) // 2
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        path.write_bytes(content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 200]) + content[middle + 200 :])
    else:
        path.write_bytes(content[:middle] if damage == "cut" else b"")
    for _ in range(2):
        again = cached_features(config, pool, tmp_path)
        assert {name: record.tobytes() for name, record in again.records.items()} == right
    assert [record.getMessage().count("features of the test pool") for record in caplog.records] == [1]


def test_a_cache_that_fills_is_the_machines_fault_and_enlarged_it_is_completed(
    cache_dir: Path, tmp_path: Path, disk: Callable[[str], Path]
) -> None:
    """A memory map would end the process by SIGBUS."""
    config, small = tiny(fusion__name="concat"), disk("64k")
    pool = open_data(config, cache_dir, ("val",))["val"]
    with pytest.raises(MachineError, match=r"features cannot be written \(No space left.*free space there or set FILA_LAB_CACHE"):
        cached_features(config, pool, small)
    assert [path.suffix for path in (small / "features").iterdir()] == [".lock"]
    subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
    filled, elsewhere = cached_features(config, pool, small), cached_features(config, pool, tmp_path)
    assert all(np.array_equal(filled.records[name], elsewhere.records[name]) for name in filled.records)


def test_what_was_used_longest_ago_makes_room_and_what_is_in_use_stays_readable(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(fusion__name="concat")
    pools = open_data(config, cache_dir, ("val", "test"))
    first = cached_features(config, pools["val"], tmp_path)
    right = {name: record.tobytes() for name, record in first.records.items()}
    monkeypatch.setenv("FILA_LAB_CACHE_GIB", "1e-6")
    cached_features(config, pools["seam"], tmp_path)
    assert not (tmp_path / "features" / features_key(config, pools["val"])).exists()
    assert {name: record.tobytes() for name, record in first.records.items()} == right
    monkeypatch.setenv("FILA_LAB_CACHE_GIB", "10G")
    with pytest.raises(MachineError, match="FILA_LAB_CACHE_GIB = '10G'"):
        cached_features(config, pools["val"], tmp_path)
