"""Files in LLaVA's format as a suite: conversations about images, and text-only ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import ClassVar

import numpy as np

from fila_lab.config.base import ConfigError, FilaError
from fila_lab.config.hashing import canonical_json
from fila_lab.data.llava.images import Images
from fila_lab.data.llava.index import Index, open_index
from fila_lab.data.llava.mix import NO_NAME, Source, file_tasks, sampled, sources_of
from fila_lab.data.llava.options import LlavaOptions
from fila_lab.data.suite import SPLITS, Heading, ImageFile, Item, Opening, SetAside, Suite, TaskRule, Turn, register_suite

_SPREAD = 0x9E3779B97F4A7C15
"""An odd number of 64 bits: seeds take different parts of the range of hashes."""
_TOLD = 3
"""Rows or paths that a message shows."""


@register_suite("llava")
def open_llava(opening: Opening) -> LlavaSuite:
    """The suite of some files. FilaError where they cannot be read, or none of their rows can be used."""
    options = LlavaOptions.of(opening.options)
    sources = sources_of(options)
    indexes = [open_index(source.path, opening.cache_dir, opening.progress) for source in sources]
    return LlavaSuite(options, sources, indexes, opening)


class LlavaSuite(Suite):
    """Rows of files, in the files' order. A row is an item: all its turns about its one image.

    Image ids are hashes of the images' contents, item ids the rows' own; an id that was there before has the row's place behind it.
    """

    name: ClassVar[str] = "llava"

    def __init__(self, options: LlavaOptions, sources: Sequence[Source], indexes: Sequence[Index], opening: Opening) -> None:
        self._sources, self._indexes = tuple(sources), tuple(indexes)
        taken = [sampled(source, index.total, options.seed) for source, index in zip(sources, indexes, strict=True)]
        chosen = [_among(index.rows["number"], numbers, index.total) for index, numbers in zip(indexes, taken, strict=True)]
        self._images = Images(self._sources, self._indexes, chosen, opening)
        self._file = np.repeat(np.arange(len(chosen), dtype=np.int32), [len(own) for own in chosen])
        self._place = np.concatenate(chosen).astype(np.int32)
        self._image = self._column("image") + np.where(self._column("image") < 0, 0, self._images.starts[self._file])
        self._digest = self._column("digest")
        first = np.unique(self._column("id"), return_index=True)[1]
        self._again = np.ones(len(self._file), bool)
        self._again[first] = False
        self._name_tasks(options.task)
        wrong = self._images.wrong(options.max_pixels)
        fine = (self._image < 0) | ~wrong[self._image]
        self._max_pixels = options.max_pixels
        self._refuse_lost_images()
        refused = [_among(index.refused, numbers, index.total) for index, numbers in zip(indexes, taken, strict=True)]
        self._refuse_nothing(refused, fine)
        self._rows = self._by_split(options, fine)
        self._aside = {split: self._set_aside(split, refused, fine) for split in self._rows}

    def _column(self, name: str) -> np.ndarray:
        """A column of all chosen rows, [N, ...]."""
        parts = [index.rows[name][self._place[self._file == number]] for number, index in enumerate(self._indexes)]
        return np.concatenate(parts)

    def _name_tasks(self, task: str) -> None:
        names = file_tasks(self._sources)
        known: dict[str, int] = {}
        self._task = np.empty(len(self._file), np.int32)
        source = self._column("source")
        for number, index in enumerate(self._indexes):
            own = self._file == number
            if task == "data_source":
                called = [NO_NAME.sub("_", name) or names[number] for name in index.sources]
                codes = np.array([known.setdefault(name, len(known)) for name in called], np.int32)
                self._task[own] = codes[source[own]] if len(codes) else 0
            else:
                self._task[own] = known.setdefault(names[number] if task == "file" else NO_NAME.sub("_", task), len(known))
        self._tasks = list(known)
        self._has_sources = any(index.sources != [""] for index in self._indexes if len(index))

    def _by_split(self, options: LlavaOptions, fine: np.ndarray) -> dict[str, np.ndarray]:
        """Split -> the rows in use."""
        splits = np.array([SPLITS.index(source.split) for source in self._sources])[self._file]
        there = {source.split for source in self._sources}
        if options.validate_share:
            if "val" in there or "train" not in there:
                why = "there is a val split already" if "val" in there else "there is no train split"
                raise ConfigError(f"suite llava: validate_share={options.validate_share}, but {why}; set it to 0")
            own = np.where(self._image[:, None] < 0, self._digest, self._images.digest[self._image])
            drawn = np.ascontiguousarray(own[:, :8]).view("<u8")[:, 0] + np.uint64(options.seed * _SPREAD % 2**64)
            splits[(splits == 0) & (drawn < np.uint64(int(options.validate_share * 2**64)))] = 1
            there.add("val")
        rows: dict[str, np.ndarray] = {
            split: np.flatnonzero(fine & (splits == number))[: options.limit] for number, split in enumerate(SPLITS) if split in there
        }
        if options.validate_share and not (len(rows["val"]) and len(rows["train"])):
            raise ConfigError(
                f"suite llava: validate_share={options.validate_share} leaves train or val without a row; choose another share"
            )
        return rows

    def _set_aside(self, split: str, refused: Sequence[np.ndarray], fine: np.ndarray) -> _Asides:
        files = [number for number, source in enumerate(self._sources) if source.split == split]
        rows = np.flatnonzero(~fine & np.isin(self._file, files))
        return _Asides(self, [(number, refused[number]) for number in files], rows)

    def _refuse_lost_images(self) -> None:
        """FilaError where none of a file's images is where it is looked for."""
        for number, source in enumerate(self._sources):
            if lost := self._images.all_missing(number):
                folders, shown = " or ".join(map(str, source.images)), ", ".join(map(repr, lost[:_TOLD]))
                raise FilaError(
                    f"images = {folders} holds none of the {len(lost)} images of {source.path}, e.g. {shown}; "
                    "give the folder that these paths are relative to"
                )

    def _refuse_nothing(self, refused: Sequence[np.ndarray], fine: np.ndarray) -> None:
        """FilaError where no row can be used."""
        if fine.any():
            return
        aside = _Asides(self, list(enumerate(refused)), np.arange(len(fine)))
        files = ", ".join(str(source.path) for source in self._sources[:_TOLD])
        if not len(aside):
            raise FilaError(f"{files}: there are no rows; give a file with some")
        told = [f"none of {len(aside)} rows can be used", *(one.message for one in aside[:_TOLD])]
        raise FilaError(f"{files}: " + "\n".join(told))

    def tasks(self) -> Mapping[str, TaskRule]:
        return {name: TaskRule() for name in self._tasks}

    def splits(self) -> Sequence[str]:
        return tuple(self._rows)

    def _of(self, split: str) -> np.ndarray:
        if split not in self._rows:
            raise FilaError(f"suite llava: there is no split {split!r}, only {', '.join(self._rows)}; name its file, or set split")
        return self._rows[split]

    def length(self, split: str) -> int:
        return len(self._of(split))

    def heading(self, split: str, index: int) -> Heading:
        row = self._of(split)[index]
        image = self._image[row]
        return Heading(self._tasks[self._task[row]], None if image < 0 else self._images.size(image))

    def items(self, split: str, index: int) -> tuple[Item, ...]:
        row = int(self._of(split)[index])
        own = self._indexes[self._file[row]]
        said = own.conversation(int(self._place[row]))
        name = said.id or f"row-{own.rows['number'][self._place[row]] + 1}"
        if self._again[row]:
            name = f"{name}#{row}"
        number = int(self._image[row])
        image = None if number < 0 else ImageFile(self._images.name(number), partial(self._images.read, number))
        known = {"image": image.name if image else "", "turns": len(said.texts) // 2}
        if self._has_sources:
            known["data_source"] = said.source
        turns = tuple(Turn(question, (answer,)) for question, answer in zip(said.texts[::2], said.texts[1::2], strict=True))
        image_id = self._images.digest[number].tobytes().hex() if image else name
        return (Item(name, self._tasks[self._task[row]], image_id, turns, image, known=known),)

    def identity(self, split: str) -> str:
        rows = self._of(split)
        state = {"suite": self.name, "tasks": self._tasks, "sources": self._has_sources, "rows": len(rows)}
        digest = sha256(canonical_json(state).encode())
        image = self._image[rows]
        again = np.where(self._again[rows], rows, -1).astype("<i8")
        seen = np.where(image[:, None] < 0, np.uint8(0), self._images.digest[image])
        for column in (self._task[rows].astype("<i4"), again, self._digest[rows], image < 0, seen):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()[:32]

    def set_aside(self, split: str) -> Sequence[SetAside]:
        self._of(split)
        return self._aside[split]

    def _badly_seen(self, row: int) -> SetAside:
        """Why a row whose image cannot be shown is not used."""
        index, place = self._indexes[self._file[row]], int(self._place[row])
        name, number = index.conversation(place).id, int(index.rows["number"][place]) + 1
        problem = self._images.problem(int(self._image[row]), self._max_pixels)
        shown = f" (id {name!r})" if name else ""
        return SetAside(name or f"row {number}", problem.reason, f"{index.path.name}, row {number}{shown}: {problem.message}")


class _Asides(Sequence[SetAside]):
    """Rows that are not used, told when they are asked for: there may be very many."""

    def __init__(self, suite: LlavaSuite, refused: Sequence[tuple[int, np.ndarray]], rows: np.ndarray) -> None:
        self._suite, self._refused, self._rows = suite, refused, rows
        self._starts = np.cumsum([0, *(len(places) for _, places in refused)])

    def __len__(self) -> int:
        return int(self._starts[-1]) + len(self._rows)

    def __getitem__(self, number):  # type: ignore[no-untyped-def]
        if isinstance(number, slice):
            return [self[place] for place in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        number %= len(self)
        if number >= self._starts[-1]:
            return self._suite._badly_seen(int(self._rows[number - self._starts[-1]]))
        part = int(np.searchsorted(self._starts, number, side="right")) - 1
        file, places = self._refused[part]
        return self._suite._indexes[file].aside(int(places[number - self._starts[part]]))


def _among(numbers: np.ndarray, taken: np.ndarray, total: int) -> np.ndarray:
    """Places of the numbers that are among those taken; both ascend."""
    if len(taken) == total:
        return np.arange(len(numbers))
    return np.flatnonzero(np.isin(numbers, taken))
