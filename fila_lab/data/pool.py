"""A split's items, materialised once: memory-mapped arrays by canvas, a table of what is asked, and a content hash.

A pool lives in `<cache_dir>/pools/<key>/`; the key hashes everything its bytes depend on. It is a sealed folder (`fila_lab.data.sealed`):
built under a temporary name, renamed when complete, and looked at before it is believed. Seeds draw their items from the pool, they never
make new ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fila_lab.config.base import FilaError
from fila_lab.config.data import DataConfig
from fila_lab.config.faults import cannot_write
from fila_lab.config.run import GeometryConfig
from fila_lab.data.parallel import Progress
from fila_lab.data.pool_build import ARRAYS, fill, held_arrays, page_geometry
from fila_lab.data.sealed import Files, digests, look, opened, seal
from fila_lab.data.streams import stream
from fila_lab.data.suite import as_split
from fila_lab.imaging import Geometry

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 3
MARK = "pool.json"
_PACKAGES = ("pillow", "numpy", "pycountry", "scikit-image", "scikit-learn", "matplotlib", "statsmodels")


@dataclass(frozen=True)
class Group:
    """The items of one canvas (width, height), as read-only memory maps: N items of n tiles."""

    folder: Path
    canvas: tuple[int, int]
    geometry: Geometry

    def _open(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{canvas_name(self.canvas)}_{name}.npy", mmap_mode="r")

    @cached_property
    def tiles(self) -> np.ndarray:
        """uint8 [N, n, T, T, 3]"""
        return self._open("tiles")

    @cached_property
    def overview(self) -> np.ndarray:
        """uint8 [N, T, T, 3]"""
        return self._open("overview")

    @cached_property
    def detail(self) -> np.ndarray:
        """uint8 [N, Hd, Wd, 3]; only where the geometry `has_detail`"""
        return self._open("detail")

    @cached_property
    def glyphs(self) -> np.ndarray:
        """float32 [N, G, 6], padded glyph records (`fila_lab.data.seam.truth`)"""
        return self._open("glyphs")

    @cached_property
    def counts(self) -> np.ndarray:
        """int32 [N], valid records of each item"""
        return self._open("counts")

    def __len__(self) -> int:
        return len(self.counts)


class Pool:
    """An opened pool whose files have the sizes that were written; `build_pool` looks at their contents too.

    `meta` has a row an item: item_id, index, split, task, place, question, answer, image_id, cut_fraction, axis, addressing, length,
    distractors, evidence, canvas ("84x84", width x height) and row (its place in that canvas' group).
    """

    def __init__(self, folder: Path, geometry: GeometryConfig, patch_px: int) -> None:
        self.folder = folder
        card = look(folder, MARK, contents=False)
        self.key: str = card["key"]
        self.split: str = card["split"]
        self.content_hash: str = card["content_hash"]
        self._arrays = held_arrays(geometry)
        self.groups: dict[str, Group] = {}
        for name in card["groups"]:
            width, height = (int(side) for side in name.split("x"))
            self.groups[name] = Group(folder, (width, height), page_geometry((width, height), geometry, patch_px))

    @cached_property
    def meta(self) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(self.folder / "meta.parquet")

    def hold(self) -> Pool:
        """Open every map and the table now: what is open stays readable when the folder is replaced or removed. Returns itself."""
        for group in self.groups.values():
            for name in self._arrays:
                getattr(group, name)
        _ = self.meta
        return self

    def __len__(self) -> int:
        return len(self.meta)

    @cached_property
    def _rows(self) -> tuple[np.ndarray, np.ndarray]:
        return self.meta["canvas"].to_numpy(dtype=object), self.meta["row"].to_numpy()

    def locate(self, items: Sequence[int] | np.ndarray) -> tuple[Group, np.ndarray]:
        """The group of some rows of `meta` that share a canvas, and their rows in it. ValueError where they do not share one."""
        canvases, rows = self._rows
        names = set(canvases[np.asarray(items)])
        if len(names) != 1:
            raise ValueError(f"items of one canvas are needed, got {sorted(names)}")
        return self.groups[names.pop()], rows[np.asarray(items)]


def canvas_name(canvas: tuple[int, int]) -> str:
    """`84x42` for a canvas of width 84 and height 42."""
    return f"{canvas[0]}x{canvas[1]}"


def build_pool(
    data: DataConfig, geometry: GeometryConfig, split: str, cache_dir: Path, workers: int = 1, progress: Progress | None = None
) -> Pool:
    """The pool of a split, built with `workers` processes if it is not there.

    It holds `train_pool` or `val_pool` items, or `test_triplets` items at three places each. Safe to call from several processes at once:
    one builds, the others wait. One that is damaged is built anew, with a warning.

    Raises:
        MachineError: the folder cannot be written, the disk is full.
        FilaError: nothing is selected.
    """
    as_split(split)
    key = pool_key(data, geometry, split)

    def read(folder: Path) -> Pool:
        look(folder, MARK, contents=True)
        return Pool(folder, geometry, 32 * data.seam.page_scale).hold()

    def make(folder: Path) -> None:
        groups = fill(folder, data, geometry, split, workers, progress)
        files = digests(folder)
        card = {"schema": SCHEMA, "key": key, "split": split, "groups": groups, "content_hash": _content_hash(folder, files)}
        seal(folder, MARK, card, files)

    try:
        return opened(Path(cache_dir) / "pools" / key, f"the {split} pool", read, make, make_room=lambda: None)
    except OSError as error:
        raise cannot_write(error, f"cache_dir={cache_dir}: the {split} pool", "choose another cache folder") from error


def _content_hash(folder: Path, files: Files) -> str:
    """Over the arrays and what is asked; the parquet file's bytes depend on its library."""
    digest = hashlib.sha256()
    for name, (_, sha256) in files.items():
        if name.endswith(".npy"):
            digest.update(name.encode() + bytes.fromhex(sha256))
    digest.update((folder / "meta.jsonl").read_bytes())
    return digest.hexdigest()


def pool_key(data: DataConfig, geometry: GeometryConfig, split: str) -> str:
    """16 hex digits over all that the bytes of a pool depend on; how many items a seed draws is not among it."""
    size = {"train": "train_pool", "val": "val_pool", "test": "test_triplets"}[as_split(split)]
    state = [SCHEMA, split, getattr(data, size), data.seam.model_dump(mode="json"), geometry.model_dump(mode="json"), code_state()]
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]


@cache
def code_state() -> list[str]:
    """The source files and package versions that the bytes of items depend on."""
    from PIL import features

    import fila_lab.imaging

    here = Path(__file__).parent
    sources = (
        [here / "pool_build.py", here / "streams.py"]
        + sorted((here / "seam").rglob("*.py"))
        + sorted(Path(fila_lab.imaging.__file__).parent.glob("*.py"))
        + [here.parent / "config" / f"{name}.py" for name in ("canvas_rules", "tiling")]
    )
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources]
    return hashes + [f"{name} {version(name)}" for name in _PACKAGES] + [f"freetype {features.version('freetype2')}"]


def draw_seed_items(pool: Pool, seed: int, n: int, name: str) -> np.ndarray:
    """The `n` rows of `pool.meta` that a seed draws, in random order, without repetition; depends on (seed, name) and the pool's size."""
    if not 0 < n <= len(pool):
        field = {"train": "data.train_items", "val": "data.val_items"}.get(pool.split, "items")
        raise FilaError(f"{field}={n}, but the {pool.split} pool has {len(pool)} items; choose 1 to {len(pool)}, or enlarge the pool")
    return stream(seed, name).permutation(len(pool))[:n]


__all__ = ["ARRAYS", "Group", "Pool", "build_pool", "canvas_name", "draw_seed_items", "pool_key"]
