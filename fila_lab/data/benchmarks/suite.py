"""A benchmark as a suite: its questions with their images, none of which is opened before it is asked for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from fila_lab.config.base import FilaError, Positive, Strict
from fila_lab.config.benchmark import Benchmark, load_benchmark
from fila_lab.config.errors import config_error
from fila_lab.config.hashing import canonical_json
from fila_lab.config.suites import Split
from fila_lab.data.benchmarks.expressions import filled
from fila_lab.data.benchmarks.files import BenchmarkFiles, aside
from fila_lab.data.benchmarks.images import Content, InFile, InRow, PathError, below, image_file, is_base64, size_of
from fila_lab.data.benchmarks.rows import Question
from fila_lab.data.image_files import ImageFiles
from fila_lab.data.image_look import look_at
from fila_lab.data.suite import Heading, Item, Opening, SetAside, Suite, TaskRule, Turn

SCHEMA = 2
Look = Callable[[Sequence[Path], Sequence[str]], ImageFiles]
_NAMED = 3
"""Missing images that a message names."""
_UNNAMED = "none named"


class BenchmarkOptions(Strict):
    """What a benchmark is opened with: its entry in `data.evaluate`."""

    path: str = Field(min_length=1)
    images: str | None = Field(default=None, description="folder that image paths are relative to; null: the one the files lie in")
    split: Split | None = Field(default=None, description="null: the one the benchmark is evaluated on")
    limit: Positive | None = Field(default=None, description="only so many questions of a split, the first")
    definition: str | None = Field(default=None, description="a YAML file that defines a benchmark of one's own")
    ending: str | None = Field(default=None, description="what stands behind every question; null: as the definition has it")
    score: str | None = Field(default=None, description="another score, e.g. vqa_vlmevalkit")
    aggregate: str | None = Field(default=None, description="other figures, e.g. pope_lmms_eval")

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any]) -> BenchmarkOptions:
        """ConfigError where an option is unknown or has no such value."""
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            raise config_error(error, cls, source=name) from None


@dataclass(frozen=True)
class _Shown:
    """What a split's headings are: questions, and where the bytes of each one's image lie (None: a text-only row)."""

    questions: tuple[Question, ...]
    contents: tuple[Content | None, ...]
    asides: tuple[SetAside, ...]


class BenchmarkSuite(Suite):
    """A benchmark at a path.

    Args:
        name: what its task is called.
        benchmark: how it is asked and judged, and its layouts.
        options: where it lies.
        look: `look_at` with a cache, so that images are read once for their sizes and contents; without it sizes are read when asked for.

    Raises:
        FilaError: the path holds nothing of this benchmark.
    """

    def __init__(self, name: str, benchmark: Benchmark, options: BenchmarkOptions, look: Look | None = None) -> None:
        self.name, self.benchmark, self.options = name, benchmark, options  # type: ignore[misc]
        self._look = look
        self.files = BenchmarkFiles(name, benchmark, Path(options.path), options.split)
        self._with_images: dict[str, _Shown] = {}
        self._sizes: dict[Content, tuple[int, int]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_look": None}  # what other processes are given was looked at before

    @property
    def evaluated(self) -> str:
        """The split that is evaluated: the one asked for, else the benchmark's own, else the only one there.

        Raises:
            FilaError: it is not there.
        """
        there = self.splits()
        only = there[0] if len(there) == 1 else self.benchmark.split
        return self.files.known(self.options.split or (self.benchmark.split if self.benchmark.split in there else only))

    def tasks(self) -> Mapping[str, TaskRule]:
        rule = self.benchmark
        return {self.name: TaskRule(rule.score, rule.ending, rule.aggregate, rule.by)}

    def splits(self) -> Sequence[str]:
        return self.files.splits()

    def length(self, split: str) -> int:
        return len(self._shown(split).questions)

    def heading(self, split: str, index: int) -> Heading:
        """As in the contract.

        Raises:
            UnusableRow: the image's header cannot be read.
        """
        shown = self._shown(split)
        content = shown.contents[index]
        return Heading(self.name, None if content is None else self._size(content, shown.questions[index].id))

    def items(self, split: str, index: int) -> tuple[Item, ...]:
        shown = self._shown(split)
        one, content = shown.questions[index], shown.contents[index]
        image = None if content is None else image_file(content, one.id)
        return (Item(one.id, self.name, one.image_id, (Turn(one.question, one.answers),), image, known=one.known),)

    def set_aside(self, split: str) -> Sequence[SetAside]:
        return self._shown(split).asides

    def identity(self, split: str) -> str:
        """A hash of the definition, the files' contents, the names and contents of the image files that are shown, and `limit`."""
        root = self._images_root()
        shown = {content.path: content for content in self._shown(split).contents if isinstance(content, InFile)}
        parts = {
            "schema": SCHEMA,
            "definition": self.benchmark.model_dump(mode="json", exclude={"title", "score", "aggregate", "by"}),
            "layout": self.files.layout.name,
            "task": self.name,
            "split": split,
            "limit": self.options.limit,
            "files": self.files.digests(split),
            "images": [[os.path.relpath(path, root), shown[path].state()] for path in sorted(shown)],
        }
        return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:16]

    def shown(self, split: str) -> tuple[Question, ...]:
        """The questions of `items`: those whose images are there, the first `limit` of them."""
        return self._shown(split).questions

    def _images_root(self) -> Path:
        return Path(os.path.abspath(self.options.images or self.files.root))

    def _roots(self, question: Question) -> list[Path]:
        """Where image paths begin: the folder of images, or else the one that was given and the one that the layout begins in."""
        further = [] if self.options.images else [Path(question.places["_base"])]
        return list(dict.fromkeys([self._images_root(), *further]))

    def _shown(self, split: str) -> _Shown:
        if split not in self._with_images:
            self._with_images[split] = self._located(split)
        return self._with_images[split]

    def _located(self, split: str) -> _Shown:
        """The questions whose images are there, the first `limit` of them.

        Raises:
            FilaError: no image at all is there.
        """
        questions, unread = self.files.questions(split)
        by_id = {question.id: question.image for question in questions}
        asides, missing = list(unread), list[str]()
        shown: list[tuple[Question, Content | None]] = []
        for question in questions:
            if len(shown) == self.options.limit:
                break
            try:
                content = self._content(question, by_id)
            except PathError as error:
                asides.append(aside(question.id, self.files.path, "image path", str(error)))
            except _Missing as error:
                missing.append(error.path or _UNNAMED)
                what = f"image {error.path} does not exist" if error.path else "it has no image"
                asides.append(aside(question.id, self.files.path, "missing image", what))
            else:
                shown.append((self._sharing(question, content), content))
        if set(missing) == {_UNNAMED} and not shown:
            raise FilaError(
                f"{self.name}: no question names an image; say in fields.image of the definition where it stands, or set text_only: true"
            )
        if missing and not any(content for _, content in shown):
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            raise FilaError(
                f"{self.name}: images = {self._images_root()} does not hold the images: {', '.join(missing[:_NAMED])}{more} "
                "are not there; give the folder that they lie in"
            )
        if not shown:
            raise FilaError(f"{self.name}: none of the {len(questions)} questions can be shown ({asides[0].message}); mend the file")
        kept, contents = zip(*shown, strict=True)
        return _Shown(kept, self._looked_at(contents), tuple(asides))

    def _looked_at(self, contents: Sequence[Content | None]) -> tuple[Content | None, ...]:
        """The same, with what the files among them hold now; the sizes of those that can be shown are known from then on."""
        paths = list(dict.fromkeys(content.path for content in contents if isinstance(content, InFile)))
        if self._look is None or not paths:
            return tuple(contents)
        root = Path(os.path.commonpath([path.parent for path in paths]))
        files = self._look([root], [os.path.relpath(path, root) for path in paths])
        known: dict[Path, InFile] = {}
        for path, facts in zip(paths, files.facts, strict=True):
            known[path] = InFile(path, facts["digest"].tobytes() if facts["width"] else None)
            if facts["width"]:
                self._sizes[known[path]] = int(facts["width"]), int(facts["height"])
        return tuple(known[content.path] if isinstance(content, InFile) else content for content in contents)

    def _sharing(self, question: Question, content: Content | None) -> Question:
        """The question, with its image's path for the image's name where the rows give it none."""
        if self.files.layout.fields.image_id is None and isinstance(content, InFile):
            return replace(question, image_id=os.path.relpath(content.path, self._images_root()))
        return question

    def _content(self, question: Question, by_id: Mapping[str, Any]) -> Content | None:
        """Where the bytes of a question's image are; None for a question about text alone.

        Raises:
            PathError: its path leaves the folder of images.
            _Missing: there is no such file.
        """
        image = question.image
        if isinstance(image, str) and image.isdigit() and not isinstance(by_id.get(image, image), str):
            image = by_id[image]  # a table that holds an image once, and names the row elsewhere
        if image is None and not self.files.layout.text_only:
            raise _Missing("")
        if image is None or not isinstance(image, str):
            return image
        if is_base64(image):
            return InRow(image, question.id)
        fields = {**question.places, "image": image, "image_name": os.path.basename(image)}
        names = [name for template in self.files.layout.images if (name := filled(fields, template))] or [image]
        outside = []
        for root in self._roots(question):
            for name in names:
                try:
                    path = below(root, name)
                except PathError as error:
                    outside.append(error)
                    continue
                if path.is_file():
                    return InFile(path)
        if outside:
            raise outside[0]
        raise _Missing(repr(names[0]))

    def _size(self, content: Content, row: str) -> tuple[int, int]:
        if content not in self._sizes:
            self._sizes[content] = size_of(content, row)
        return self._sizes[content]


class _Missing(Exception):
    """An image that is not there. `path`: as a message shows it, empty where the row names none."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def open_benchmark(name: str, opening: Opening) -> BenchmarkSuite:
    """A shipped benchmark, or the one of `definition`, under a name.

    Raises:
        FilaError: it is unknown, or does not lie where the options say.
    """
    options = BenchmarkOptions.of(name, opening.options)
    rule = load_benchmark(options.definition or name)
    look = partial(look_at, cache_dir=opening.cache_dir, workers=opening.workers, progress=opening.progress)
    own = {key: value for key in ("ending", "score", "aggregate") if (value := getattr(options, key)) is not None}
    try:
        return BenchmarkSuite(name, Benchmark.model_validate(rule.model_dump() | own) if own else rule, options, look)
    except ValidationError as error:
        raise config_error(error, Benchmark, source=name) from None
