"""What the files of a benchmark say: its splits, their questions, and what is wrong with other rows. Images are not looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fila_lab.config.base import FilaError
from fila_lab.config.benchmark import Benchmark, LayoutConfig
from fila_lab.config.hashing import file_sha256
from fila_lab.data.benchmarks.expressions import value
from fila_lab.data.benchmarks.layouts import Source, beside, find, rows_of
from fila_lab.data.benchmarks.rows import BadRow, Question, name_of, placing_fields, read_question
from fila_lab.data.benchmarks.tables import read_rows
from fila_lab.data.suite import SPLITS, SetAside

Read = tuple[tuple[Question, ...], tuple[SetAside, ...]]


class BenchmarkFiles:
    """A benchmark's files at a path.

    Args:
        name: what the benchmark is called.
        benchmark: how it is asked, and its layouts.
        path: a file or folder.
        split: what files are that do not say it.

    Raises:
        FilaError: the path holds nothing of this benchmark.
    """

    def __init__(self, name: str, benchmark: Benchmark, path: Path, split: str | None = None) -> None:
        self.name, self.benchmark, self.path = name, benchmark, path
        self._found = find(name, benchmark, path, split)
        self._read: dict[str, Read] = {}

    @property
    def layout(self) -> LayoutConfig:
        """The layout that was found."""
        return self._found.layout

    @property
    def root(self) -> Path:
        """The folder that was given, or that the file lies in."""
        return self._found.root

    def splits(self) -> Sequence[str]:
        """The splits that are there, of `SPLITS`."""
        own: Mapping[str, Any] = self._found.files
        if self.layout.split_ids is not None:
            own = self._split_ids(self._any_sources()[0])
        return [split for split in SPLITS if split in own]

    def known(self, split: str) -> str:
        """`split`, which is there. FilaError where it is not."""
        if split not in self.splits():
            raise FilaError(f"{self.name}: {self.path} has no split {split!r}; it has {', '.join(self.splits())}")
        return split

    def questions(self, split: str) -> Read:
        """All questions of a split, and the rows that are none."""
        if split not in self._read:
            self._read[split] = self._parsed(self.known(split))
        return self._read[split]

    def digests(self, split: str) -> list[Any]:
        """sha256 of each file that a split comes from, with what its path says."""
        sources = self._sources(self.known(split))
        return [[file_sha256(path), source.named] for source in sources for path in (source.path, *self._further(source))]

    def _any_sources(self) -> tuple[Source, ...]:
        return next(iter(self._found.files.values()))

    def _sources(self, split: str) -> tuple[Source, ...]:
        return self._any_sources() if self.layout.split_ids is not None else self._found.files[split]

    def _further(self, source: Source) -> list[Path]:
        """The files that complete a source."""
        files = beside(source, self.layout.join.file, self.root) if self.layout.join else []
        return [*files, self._ids_file(source)] if self.layout.split_ids else files

    def _ids_file(self, source: Source) -> Path:
        name = str(self.layout.split_ids)
        if not (files := beside(source, name, self.root)):
            raise FilaError(f"{name} does not lie beside {source.path}, and it says which rows each split has; put it there")
        return files[0]

    def _split_ids(self, source: Source) -> dict[str, set[str]]:
        content = read_rows(self._ids_file(source))[0]
        own = {split: value(content, words) for split, words in self.layout.splits.items()}
        return {split: set(map(str, ids)) for split, ids in own.items() if isinstance(ids, list)}

    def _parsed(self, split: str) -> Read:
        questions: list[Question] = []
        asides: list[SetAside] = []
        number, placing = 0, placing_fields(self.layout)
        for source in self._sources(split):
            chosen = self._split_ids(source).get(split, set()) if self.layout.split_ids else None
            for raw in self._joined(source):
                if not self._is_ours(raw) or (chosen is not None and str(raw.get("_key")) not in chosen):
                    continue
                if chosen is not None:
                    raw["_split"] = split
                name = name_of(self.layout, raw, number)
                number += 1
                try:
                    questions.append(read_question(self.benchmark, self.layout, raw, name, placing))
                except BadRow as error:
                    asides.append(aside(name, source.path, error.reason, str(error)))
        kept = self._kept(_numbered(questions) if self.layout.shared_ids else questions, asides)
        if not kept:
            said = asides[0].message if asides else "no row is of this benchmark"
            raise FilaError(f"{self.name}: none of the {number} rows of {self.path} can be used ({said}); give its files")
        return tuple(kept), tuple(asides)

    def _kept(self, questions: Sequence[Question], asides: list[SetAside]) -> list[Question]:
        """The questions with an id of their own, and with an answer where any has one."""
        kept: dict[str, Question] = {}
        answered = any(question.answers for question in questions)
        for question in questions:
            if question.id in kept:
                asides.append(aside(question.id, self.path, "duplicate id", "its id has stood there before; each question has its own"))
            elif answered and not question.answers:
                asides.append(aside(question.id, self.path, "empty answer", "it has no answer, and others have"))
            else:
                kept[question.id] = question
        return list(kept.values())

    def _is_ours(self, raw: Mapping[str, Any]) -> bool:
        for field, wanted in self.layout.where.items():
            found = str(value(raw, field))
            if found != wanted if isinstance(wanted, str) else found not in wanted:
                return False
        return True

    def _joined(self, source: Source) -> list[dict[str, Any]]:
        """The rows of a file, completed by those of the other files that go with it where they are there."""
        rows, join = rows_of(self.layout, source, self._found.fields), self.layout.join
        if join is None:
            return rows
        own, other = next(iter(join.match.items()))
        needed = {*self._found.fields, other}
        further = [row for path in beside(source, join.file, self.root) for row in read_rows(path, join.rows, (), needed)]
        by_key = {str(row.get(other)): row for row in further}
        return [{**by_key.get(str(row.get(own)), {}), **row} for row in rows]


def aside(row: str, path: Path, reason: str, what: str) -> SetAside:
    """What is said of a row that is not used."""
    return SetAside(row, reason, f"{path.name}, row {row}: {what}")


def _numbered(questions: Sequence[Question]) -> list[Question]:
    """Rows of one id, told apart by their place."""
    seen: dict[str, int] = {}
    numbered = []
    for question in questions:
        seen[question.id] = seen.get(question.id, 0) + 1
        numbered.append(question.renamed(f"{question.id}/{seen[question.id]}"))
    return numbered
