"""Which of a benchmark's layouts lies at a path: by the names of its files, then by the fields in them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fila_lab.config.base import FilaError
from fila_lab.config.benchmark import Benchmark, Expression, LayoutConfig
from fila_lab.data.benchmarks.expressions import is_there, names, roots, value
from fila_lab.data.benchmarks.tables import KINDS, Rows, read_rows

DEPTH = 4
"""Folders below the one that is given in which files are looked for."""
_PART = re.compile(r"\{(\w+)\}|\*")
_SHOWN = 12


@dataclass(frozen=True)
class Source:
    """A file of a split: `named`, what its path says in the places that a pattern names; `base`: the folder that the pattern begins in."""

    path: Path
    base: Path
    named: dict[str, str]


@dataclass(frozen=True)
class Found:
    """A benchmark at a path: its layout, the files of each split, the fields that are read, and the folder that was given."""

    layout: LayoutConfig
    files: dict[str, tuple[Source, ...]]
    fields: frozenset[str]
    root: Path


def find(name: str, benchmark: Benchmark, path: Path, split: str | None = None) -> Found:
    """The layout that lies at a file or folder. `split`: what files that do not say it are.

    Raises:
        FilaError: there is nothing, or nothing of this benchmark; with what was looked for.
    """
    if not path.exists():
        raise FilaError(f"path = {path}: no such file or folder; give where {name} lies")
    root = path if path.is_dir() else path.parent
    listed = list(_listing(path))
    reasons = []
    for layout in benchmark.layouts:
        files = _matching(layout, root, listed, split or benchmark.split)
        fields = _fields(benchmark, layout)
        reason = _misfit(layout, files, fields, benchmark.split)
        if not reason:
            return Found(layout, files, fields, root)
        reasons.append(f"{layout.name} ({' or '.join(_patterns(layout.file))}): {reason}")
    loose = [Source(file, root, {}) for file in listed if file.parent == root and file.suffix.lower() in KINDS[:5]]
    own = {split or benchmark.split: tuple(loose)}
    if loose and len({source.path.suffix for source in loose}) == 1 and (len(loose) == 1 or loose[0].path.suffix == ".parquet"):
        for number, layout in enumerate(benchmark.layouts):
            fields = _fields(benchmark, layout)
            reason = _misfit(layout, own, fields, benchmark.split)
            if not reason:
                return Found(layout, own, fields, root)
            if path.is_file():
                reasons[number] = f"{layout.name}: {reason}"
    raise FilaError(f"path = {path} is not {name} as it is known; " + "; ".join(reasons))


def rows_of(layout: LayoutConfig, source: Source, fields: Collection[str]) -> Rows:
    """The rows of a file, with what its path says of them."""
    read = read_rows(source.path, layout.rows, layout.columns, fields)
    return [{**row, **source.named, "_base": str(source.base), "_row": number} for number, row in enumerate(read)]


def beside(source: Source, pattern: str, root: Path) -> list[Path]:
    """The files of a pattern that belong to a source: of the same split, beside it or else anywhere in the folder that was given."""
    word = source.named.get("_split")
    regex = _regex(pattern, [word] if word else [])
    for folder in (source.base, root):
        if files := [file for file in _listing(folder) if regex.search(file.absolute().as_posix())]:
            return files
    return []


def _patterns(expression: Expression) -> tuple[str, ...]:
    return (expression,) if isinstance(expression, str) else expression


def _fields(benchmark: Benchmark, layout: LayoutConfig) -> frozenset[str]:
    """All fields that are read of a row."""
    own = layout.fields
    options = (own.options,) if isinstance(own.options, str) else own.options or ()
    expressions: list[Expression | None] = [own.question, own.answers, own.image, own.id, own.image_id, *options, *layout.known.values()]
    templates = [text for text in (*layout.images, benchmark.before) if "{" in text]
    return frozenset(roots([*expressions, *layout.where, *templates, *(layout.join.match if layout.join else ())]))


def _listing(path: Path) -> Iterator[Path]:
    """The file, or the files of a folder down to DEPTH, in the order of names."""
    if path.is_file():
        yield path
        return
    top = str(path).rstrip(os.sep)
    for folder, below, files in os.walk(top, followlinks=True):
        below.sort()
        if folder.count(os.sep) - top.count(os.sep) >= DEPTH:
            below.clear()
        for file in sorted(files):
            if file.lower().endswith(KINDS):
                yield Path(folder, file)


def _matching(layout: LayoutConfig, root: Path, listed: Sequence[Path], default: str) -> dict[str, tuple[Source, ...]]:
    """The files of each split: those of the first pattern that has any of it.

    Raises:
        FilaError: several files would do, and they do not say what sets them apart.
    """
    words = {word: split for split, expression in layout.splits.items() for word in _patterns(expression)}
    found: dict[tuple[str, ...], list[Source]] = {}
    for pattern in _patterns(layout.file):
        fitting: dict[tuple[str, ...], list[Source]] = {}
        regex = _regex(pattern, list(words))
        for file in listed:
            match = regex.search(file.absolute().as_posix())
            if match is None:
                continue
            named = {key: text for key, text in match.groupdict().items() if text is not None}
            if any(text not in _patterns(layout.where[key]) for key, text in named.items() if key in layout.where):
                continue
            word = named.pop("split", None)
            split = words[word.lower()] if word else default
            base = Path(file.absolute().as_posix()[: match.start()] or "/")
            source = Source(file, base, {**named, **({"_split": word} if word else {})})
            fitting.setdefault((split, *named.values()), []).append(source)
        for key, sources in fitting.items():
            if key not in found and len(sources) > 1 and sources[0].path.suffix != ".parquet":
                raise FilaError(f"{sources[0].path} and {sources[1].path} are both {key[0]}; give the path of one of them")
            found.setdefault(key, sources)
    splits = dict.fromkeys(key[0] for key in found)
    every = {split: [source for key, sources in found.items() if key[0] == split for source in sources] for split in splits}
    return {split: tuple(sorted(sources, key=lambda source: source.path)) for split, sources in every.items()}


def _regex(pattern: str, words: Sequence[str]) -> re.Pattern[str]:
    """A pattern of the end of a path: `{split}` is one of the words, the same wherever it stands."""
    text: list[str] = []
    at, seen = 0, set()
    for part in _PART.finditer(pattern):
        text.append(re.escape(pattern[at : part.start()]))
        at, name = part.end(), part[1]
        if name is None:
            text.append("[^/]*")
        elif name in seen:
            text.append(f"(?P={name})")
        else:
            text.append(f"(?P<{name}>{'|'.join(map(re.escape, words)) if name == 'split' else '[^/]+?'})")
            seen.add(name)
    return re.compile(rf"(?<=/){''.join(text)}{re.escape(pattern[at:])}$", re.IGNORECASE)


def _misfit(layout: LayoutConfig, files: dict[str, tuple[Source, ...]], fields: Collection[str], split: str) -> str:
    """Why the files are not of this layout; empty where they are, judged by the first row of one of them."""
    if not files:
        return "no such file"
    source = files.get(split, next(iter(files.values())))[0]
    try:
        first = rows_of(layout, source, fields)[0]
    except FilaError as error:
        return str(error)
    own = layout.fields
    needed: list[Expression | None] = [own.question, own.id, *layout.where]
    needed += [own.options] if isinstance(own.options, str) else [(own.options or (None,))[0]]
    needed += [] if layout.join or layout.text_only else [own.image]
    missing = [expression for expression in needed if not is_there(first, expression)]
    if not missing:
        named = value(first, own.id)
        apt = own.id is None or isinstance(named, str | int | float)  # in another layout the field of that name holds the image itself
        return "" if apt else f"{source.path.name} has under {', '.join(names(own.id))} no text or number that could name a row"
    lacks = ", ".join(names(missing[0]))
    has = [name for name in first if not name.startswith("_")]
    more = ", ..." if len(has) > _SHOWN else ""
    return f"{source.path.name} has no field {lacks} (it has {', '.join(has[:_SHOWN])}{more})"
