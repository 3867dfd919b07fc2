"""The seam suite behind the contract of suites: train and val items one a heading, test items as triplets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import numpy as np

from fila_lab.config.base import FilaError
from fila_lab.config.data import CENTRE, DataConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.seam_identity import seam_identity, seam_items
from fila_lab.data.parallel import Progress
from fila_lab.data.pool import canvas_name
from fila_lab.data.seam.suite import SeamItem, SeamSuite
from fila_lab.data.seam.tasks import get_task
from fila_lab.data.seam.truth import RECORD, records_of, token_truth, truth_maps
from fila_lab.data.stored_pool import StoredPool, stored_pool
from fila_lab.data.suite import SPLITS, Glyph, Heading, Item, Opening, Suite, TaskRule, Turn, register_suite
from fila_lab.imaging import Geometry

_PACKAGES = ("pillow", "numpy", "pycountry", "scikit-image", "scikit-learn", "matplotlib", "statsmodels")
_NOT_DRAWING = ("card.py", "preview.py", "symbolic.py", "opened.py")
"""Files of this wing that no page depends on."""


class Truth:
    """What the generator knows of its pages."""

    def __init__(self, most: int) -> None:
        self.most = most

    def records(self, glyphs: Sequence[Glyph], scale: float) -> np.ndarray:
        return records_of(glyphs, scale) if glyphs else np.zeros((0, RECORD), np.float32)

    def maps(self, records: np.ndarray, counts: np.ndarray, geometry: Geometry, made_for: tuple[int, int]) -> list[np.ndarray]:
        return truth_maps(records, counts, geometry, made_for)

    def tokens(self, records: np.ndarray, counts: np.ndarray, geometry: Geometry) -> np.ndarray:
        return token_truth(records, counts, geometry.canvas, geometry.tile, geometry.patch)


class Seam(Suite):
    """The seam suite with the sizes of a run's pools."""

    name = "seam"
    stored: ClassVar[bool] = True

    def __init__(self, data: DataConfig, geometry: GeometryConfig) -> None:
        self.data = data
        self.suite = SeamSuite(data.seam, geometry)
        blocks = data.seam.codes_per_page + data.seam.clutter
        self.oracle = Truth(blocks * max(get_task(name).most_marks for name, _ in self.suite.tasks) + 1)

    def tasks(self) -> Mapping[str, TaskRule]:
        return {name: TaskRule("exact") for name, _ in self.suite.tasks}

    def splits(self) -> Sequence[str]:
        return SPLITS

    def length(self, split: str) -> int:
        return seam_items(self.data, split)

    def heading(self, split: str, index: int) -> Heading:
        task, canvas, _ = self.suite.heading(split, index)
        x, y = self.suite.axes(canvas)
        return Heading(task, (x.length, y.length), len(self.data.seam.test_places) if split == "test" else 1, canvas_name(canvas))

    def items(self, split: str, index: int) -> tuple[Item, ...]:
        drawn = self.suite.placed(split, index) if split == "test" else (self.suite.item(split, index),)
        seam = self.data.seam
        return tuple(as_item(item, positions=bool(seam.further_places), heights=seam.below_share > 0) for item in drawn)

    def identity(self, split: str) -> str:
        return seam_identity(self.data, self.suite.geometry, split)

    def code(self) -> Sequence[str]:
        return code_state()


def as_item(item: SeamItem, positions: bool = False, heights: bool = False) -> Item:
    """An item of the generator as any suite's. positions: it says where on the canvas its target's centre lies (`CENTRE`), in px; heights:
    it says its `height_class`."""
    known = {name: getattr(item, name) for name in ("cut_fraction", "axis", "addressing", "length", "evidence")}
    if positions:
        known |= dict(zip(CENTRE, item.centre, strict=True))
    if heights:
        known["height_class"] = item.height_class
    return Item(
        item_id=item.item_id,
        task=item.task,
        image_id=item.image_id,
        turns=(Turn(item.question, (item.answer,)),),
        image=item.image,
        place=item.place,
        known=known | {"distractors": len(item.shown)},
        glyphs=item.glyphs,
    )


@cache
def code_state() -> list[str]:
    """The source files and package versions that the pixels and answers of items depend on."""
    from PIL import features

    import fila_lab.imaging

    here = Path(__file__).parent
    sources = [path for path in sorted(here.rglob("*.py")) if path.name not in _NOT_DRAWING]
    sources += [here.parent / "streams.py", *sorted(Path(fila_lab.imaging.__file__).parent.glob("*.py"))]
    sources += [here.parents[1] / "config" / f"{name}.py" for name in ("canvas_rules", "counts", "seam_pages", "seam_words", "tiling")]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources]
    return hashes + [f"{name} {version(name)}" for name in _PACKAGES] + [f"freetype {features.version('freetype2')}"]


def seam_pool(
    data: DataConfig, geometry: GeometryConfig, split: str, cache_dir: Path, workers: int = 1, progress: Progress | None = None
) -> StoredPool:
    """The suite's own pool of a split, as `stored_pool` draws it."""
    return stored_pool(Seam(data, geometry), split, geometry, cache_dir, workers, progress)


@register_suite("seam")
def open_seam(opening: Opening) -> Seam:
    """FilaError for options: its settings are `data.seam`, its sizes those of `data`."""
    if opening.options or opening.data is None:
        named = ", ".join(opening.options) or "nothing"
        raise FilaError(f"suite 'seam' takes no options ({named} given); its settings are data.seam, its sizes data.train_pool etc.")
    return Seam(opening.data, opening.geometry)
