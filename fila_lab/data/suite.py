"""The contract between where items come from and everything else: one door for generated items, files and benchmarks. No torch here.

A suite knows its tasks, how many headings a split has, what each will be before its pixels are read, and its items. Pools, batches, scores
and frames know items only: which suite they came from is nowhere else a question. A suite from another package is found by the entry-point
group `fila_lab.suites`: a name, and a callable that takes an `Opening` and returns the suite.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import numpy as np
from PIL import Image

from fila_lab.config.base import FilaError, did_you_mean
from fila_lab.config.benchmark import benchmark_names
from fila_lab.config.suites import GENERATED, SPLITS, Split

if TYPE_CHECKING:
    from fila_lab.config.data import DataConfig
    from fila_lab.config.geometry import GeometryConfig
    from fila_lab.data.parallel import Progress
    from fila_lab.imaging import Geometry

GROUP = "fila_lab.suites"
BENCHMARKS = "fila_lab.data.benchmarks"


@dataclass(frozen=True)
class Turn:
    """A question and its accepted answers: one where items train, any number where they are scored, none where they are not known."""

    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Glyph:
    """A character, a panel's layout, a shape, or a bar's level on the page; box (x0, y0, x1, y1) of its ink in page px, half-open."""

    char: str
    colour: str
    role: str
    box: tuple[int, int, int, int]

    @property
    def key(self) -> bool:
        return self.role == "key"


@dataclass(frozen=True)
class Heading:
    """What is known of an index without its pixels.

    `size`: the image's (width, height) in px, None for a text-only row; `rows`: items it yields (three where it is a triplet, one
    otherwise), all of one image size; `bucket`: a suite's own name for headings that share an image size, where it has one.
    """

    task: str
    size: tuple[int, int] | None
    rows: int = 1
    bucket: str = ""


@dataclass(frozen=True)
class ImageFile:
    """An image that is read when it is asked for, so that items of files can be listed without their pixels.

    `name`: what messages call it; `read`: returns it, or raises `UnusableRow`.
    """

    name: str
    read: Callable[[], Image.Image]


@dataclass(frozen=True)
class Item:
    """One image with its turns.

    `image_id`: equal where items share pixels; `image` None is a text-only row; `place` "" says nothing about seams; `known`: further
    columns a frame carries on (cut_fraction, question_type, ...), plain values under names of the suite's own; `glyphs`: what stands where,
    None where it is not known, which refuses `oracle_map` and `truth_weight` by name.
    """

    item_id: str
    task: str
    image_id: str
    turns: tuple[Turn, ...]
    image: Image.Image | ImageFile | None
    place: str = ""
    known: Mapping[str, Any] = field(default_factory=dict)
    glyphs: tuple[Glyph, ...] | None = None

    def pixels(self) -> Image.Image | None:
        """The image, read now where it is a file. UnusableRow where it cannot be read."""
        return self.image.read() if isinstance(self.image, ImageFile) else self.image


@dataclass(frozen=True)
class TaskRule:
    """How a task is asked and judged: `score`, a name of `fila_lab.evaluation.SCORES`; `ending`: what stands behind every question;
    `aggregate`: how rows become the benchmark's own figures, a name of `fila_lab.evaluation.AGGREGATES`; `by`: known columns whose levels
    get figures of their own."""

    score: str = "exact"
    ending: str = ""
    aggregate: str = "mean"
    by: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetAside:
    """A row that is not used, and why: `reason` is a short kind (missing image, empty answer, ...), `message` the whole sentence."""

    row: str
    reason: str
    message: str


@dataclass(frozen=True)
class Opening:
    """What a suite is opened with: `options` are its entry in `data.train`, `data.validate` or `data.evaluate` without the name."""

    options: Mapping[str, Any]
    geometry: GeometryConfig
    cache_dir: Path
    data: DataConfig | None = None
    """The run's data settings, for suites that have a section there."""
    workers: int = 1
    """Processes that may help where opening takes long."""
    progress: Progress | None = None
    """Told how far it is."""


class Oracle(Protocol):
    """What a suite that knows its glyphs can tell of the truth: for the control `oracle_map` and for train.truth_weight."""

    most: int
    """At most so many records an item."""

    def records(self, glyphs: Sequence[Glyph], scale: float) -> np.ndarray:
        """Glyphs whose boxes are in image px, `scale` canvas px each -> float32 [G, R]."""

    def maps(self, records: np.ndarray, counts: np.ndarray, geometry: Geometry, made_for: tuple[int, int]) -> list[np.ndarray]:
        """Records [B, G, R], padded, `counts` [B] of them valid, in px of the canvas `made_for` -> uint8 [B, C, h, w] of stages 1 to 4."""

    def tokens(self, records: np.ndarray, counts: np.ndarray, geometry: Geometry) -> np.ndarray:
        """The same -> what each visual token shows, uint8 [B, g*g + T, X]."""


class Suite(ABC):
    """Items by split and index. Everything depends on the options, the split and the index alone: not on process or order."""

    name: ClassVar[str]
    stored: ClassVar[bool] = False
    """Whether its items are drawn once into a cache, because drawing one takes longer than reading it."""
    oracle: Oracle | None = None

    @abstractmethod
    def tasks(self) -> Mapping[str, TaskRule]:
        """The tasks of its items, and how each is asked and judged."""

    @abstractmethod
    def splits(self) -> Sequence[str]:
        """The splits it has, of `SPLITS`."""

    @abstractmethod
    def length(self, split: str) -> int:
        """How many headings a split has. FilaError for a split that is not there, with those that are."""

    @abstractmethod
    def heading(self, split: str, index: int) -> Heading:
        """What an index will be, without reading pixels. UnusableRow where the image's header cannot be read: the row is set aside."""

    @abstractmethod
    def items(self, split: str, index: int) -> tuple[Item, ...]:
        """The items of an index, `heading(split, index).rows` of them; every item of one index shares one canvas.

        A suite of files gives `ImageFile`s and reads no pixels here: pools list items before they show them.
        """

    @abstractmethod
    def identity(self, split: str) -> str:
        """Equal if and only if the split's items are: the one source of every key that depends on data."""

    def code(self) -> Sequence[str]:
        """Hashes and versions of what draws the items: a cache of them is made anew when it changes."""
        return ()

    def set_aside(self, split: str) -> Sequence[SetAside]:
        """The rows that are not used, found without reading pixels."""
        return ()


def as_split(name: str) -> Split:
    """`name` checked to be one of `SPLITS`. FilaError for another."""
    if name not in SPLITS:
        raise FilaError(f"split={name!r} does not exist; choose one of {', '.join(SPLITS)}")
    return cast(Split, name)


class UnusableRow(FilaError):
    """A row whose pixels cannot be read."""

    def __init__(self, row: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.aside = SetAside(row, reason, message)


Opener = Callable[[Opening], Suite]
_OPENERS: dict[str, Opener] = {}


def register_suite(name: str) -> Callable[[Opener], Opener]:
    """Decorator: make a callable that takes an `Opening` and returns a suite available under `name`. FilaError where it is taken."""

    def add(opener: Opener) -> Opener:
        if _OPENERS.get(name, opener) is not opener:
            raise FilaError(f"suite {name!r} is registered twice; give one of them another name")
        _OPENERS[name] = opener
        return opener

    return add


def _wings() -> dict[str, str]:
    """Suite -> the module of this package that registers it when it is imported."""
    own = {name: f"fila_lab.data.{name}" for name in (*GENERATED, "llava")}
    return {**own, **dict.fromkeys(benchmark_names(), BENCHMARKS)}


def available_suites() -> tuple[str, ...]:
    """All names, sorted, those of installed packages included (which are not imported for it)."""
    return tuple(sorted({*_OPENERS, *_wings(), *(point.name for point in entry_points(group=GROUP))}))


def unknown_suite(field: str, name: str, known: Sequence[str], *others: str) -> FilaError:
    """What is said of a name that no suite has. others: what may stand there besides."""
    return FilaError(f"{field} {name!r} is unknown{did_you_mean(name, known)}; choose {', '.join((*known, *others))}")


def open_suite(name: str, opening: Opening) -> Suite:
    """A suite by name; a benchmark of the user's own under any, where the options name its `definition`.

    Raises:
        FilaError: there is none of this name, or it cannot be opened with these options.
    """
    if opening.options.get("definition") is not None:
        suite: Suite = import_module(BENCHMARKS).open_benchmark(name, opening)
        return suite
    if name not in _OPENERS and (wing := _wings().get(name)):
        import_module(wing)
    if name not in _OPENERS:
        for point in entry_points(group=GROUP, name=name):
            register_suite(name)(point.load())
    if name not in _OPENERS:
        raise unknown_suite("suite", name, available_suites())
    return _OPENERS[name](opening)
