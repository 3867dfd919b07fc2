"""The images of several files of rows under one number, wherever they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fila_lab.data.image_files import ImageFiles, Problem
from fila_lab.data.image_look import look_at
from fila_lab.data.llava.index import Index
from fila_lab.data.llava.mix import Source
from fila_lab.data.suite import Opening


class Images:
    """The images of several files by one number: those of file f are `starts[f]` and following."""

    def __init__(self, sources: Sequence[Source], indexes: Sequence[Index], chosen: Sequence[np.ndarray], opening: Opening) -> None:
        self._indexes = indexes
        self.starts = np.cumsum([0, *(len(index.images) for index in indexes)])[:-1].astype(np.int32)
        wanted: dict[tuple[Path, ...], dict[str, int]] = {}
        used = []
        for source, index, rows in zip(sources, indexes, chosen, strict=True):
            images = np.unique(index.rows["image"][rows])
            used.append(images[images >= 0])
            names = wanted.setdefault(source.images, {})
            for number in used[-1][index.stored[used[-1], 0] < 0]:
                names.setdefault(index.images[number], len(names))
        self._folders: list[ImageFiles] = []
        seen = {}
        for roots, names in wanted.items():
            seen[roots] = len(self._folders), names
            self._folders.append(look_at(roots, list(names), opening.cache_dir, opening.workers, opening.progress))
        facts, owners, withins = [], [], []
        self._missing = []
        for number, (source, index) in enumerate(zip(sources, indexes, strict=True)):
            own = index.facts.copy()
            folder, names = seen[source.images]
            owner, within = np.full(len(own), -1 - number), np.arange(len(own))
            lies = used[number][index.stored[used[number], 0] < 0]
            within[lies] = [names[index.images[image]] for image in lies]
            owner[lies] = folder
            own[lies] = self._folders[folder].facts[within[lies]]
            self._missing.append(lies if len(lies) and (own["root"][lies] < 0).all() else lies[:0])
            facts.append(own)
            owners.append(owner)
            withins.append(within)
        everything = np.concatenate(facts)
        self._width, self._height = everything["width"].copy(), everything["height"].copy()
        # The last one is nobody's: what the image of a text-only row, number -1, refers to.
        self.digest = np.concatenate([everything["digest"], np.zeros((1, 16), np.uint8)])
        self._owner_of, self._within_of = np.concatenate(owners), np.concatenate(withins)

    def size(self, number: int) -> tuple[int, int]:
        """(width, height) in px."""
        return int(self._width[number]), int(self._height[number])

    def name(self, number: int) -> str:
        """The path below its folder, or, where the data file holds the image, the hash of its content."""
        owner, within = int(self._owner_of[number]), int(self._within_of[number])
        return self._indexes[-1 - owner].images[within] if owner < 0 else self._folders[owner].names[within]

    def read(self, number: int) -> Image.Image:
        """As upright RGB."""
        owner, within = int(self._owner_of[number]), int(self._within_of[number])
        return self._indexes[-1 - owner].stored_image(within) if owner < 0 else self._folders[owner].read(within)

    def wrong(self, max_pixels: int) -> np.ndarray:
        """Of each image whether it cannot be shown [M + 1]."""
        area = self._width.astype(np.int64) * self._height
        return np.append((area == 0) | (area > max_pixels), False)

    def problem(self, number: int, max_pixels: int) -> Problem:
        """Why an image cannot be shown."""
        width, height = self.size(number)
        if width:
            too = f"image {self.name(number)!r} has {width} x {height} px, more than max_pixels={max_pixels}; scale it down"
            return Problem("image too large", too)
        owner, within = int(self._owner_of[number]), int(self._within_of[number])
        problems = self._indexes[-1 - owner].problems if owner < 0 else self._folders[owner].problems
        return problems[within]

    def all_missing(self, file: int) -> list[str]:
        """The paths of a file's images, where not one of them is there."""
        return [self._indexes[file].images[number] for number in self._missing[file]]
