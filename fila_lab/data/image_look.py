"""Looking at many image files: size in px, content, and what is wrong with them.

Every file is read once, for its header and the hash of its content, and again when its size or its times change. What was found is kept in
the cache, so that a data set of a million images is listed in seconds the next time; an interrupted look goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL

from fila_lab.config.base import MachineError
from fila_lab.config.faults import cannot_write, is_unmistakable, remedy
from fila_lab.config.json_files import read_json
from fila_lab.data.image_files import FACTS, ImageFiles, Problem, look_at_content
from fila_lab.data.parallel import Progress, in_chunks
from fila_lab.data.sealed import DamagedError, alone, digests, look, put, seal

SCHEMA = 1
MARK = "images.json"
CHUNK = 64
"""Images that a process looks at between two reports."""
KEPT_EVERY = 20_000
"""Images that are looked at between two points at which an interrupted look goes on."""
LARGEST = 1 << 30
"""Bytes of a file that is read; an image is never so large."""
_TICK = 0.05
"""Seconds between two times that a file system tells apart (the kernel's clock ticks every 10 ms at most)."""

_STATE = ("root", "bytes", "mtime", "ctime")


def look_at(roots: Sequence[Path], names: Sequence[str], cache_dir: Path, workers: int = 1, progress: Progress | None = None) -> ImageFiles:
    """The images of these names, each below the first of the folders that holds it.

    Raises:
        MachineError: a disk fails, or the cache cannot be written.
    """
    roots = [Path(os.path.abspath(root)) for root in roots]
    facts = _states(roots, names)
    _wait_for_a_tick(facts)
    key = hashlib.sha256("\0".join([str(SCHEMA), PIL.__version__, *map(str, roots)]).encode()).hexdigest()[:16]
    final = Path(cache_dir) / "images" / key
    problems = {n: Problem("missing image", _not_there(roots, names[n])) for n in np.flatnonzero(facts["root"] < 0).tolist()}
    try:
        left = _take(_Kept.of(final), names, facts, problems)
        if len(left):
            with alone(final):
                kept = _Kept.of(final)
                left = _take(kept, names, facts, problems)
                _look(final, kept, roots, names, left, facts, problems, workers, progress)
    except OSError as error:
        raise cannot_write(error, f"cache_dir={cache_dir}: what is known of the images", "choose another cache folder") from error
    return ImageFiles(roots, names, facts, problems)


def _states(roots: Sequence[Path], names: Sequence[str]) -> np.ndarray:
    """The files' states, as FACTS without the rest."""
    facts = np.zeros(len(names), FACTS)
    facts["root"] = -1
    folders = [f"{root}{os.sep}" for root in roots]
    states = []
    for number, name in enumerate(names):
        for root, folder in enumerate(folders):
            try:
                found = os.stat(folder + name)
            except (OSError, ValueError) as error:
                _unless_the_machine_fails(error)
                continue
            states.append((number, root, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
            break
    if states:
        columns = np.array(states, np.int64).T
        for field, column in zip(_STATE, columns[1:], strict=True):
            facts[field][columns[0]] = column
    return facts


def _unless_the_machine_fails(error: OSError | ValueError) -> None:
    if isinstance(error, OSError) and is_unmistakable(error):
        raise MachineError(f"{error}; {remedy(error.errno)}, then give the same command again", error.strerror or "") from error


def _wait_for_a_tick(facts: np.ndarray) -> None:
    """So that whatever is written to the files from now on changes their times."""
    if len(facts) and time.time_ns() - int(facts["ctime"].max()) < _TICK * 1e9:
        time.sleep(_TICK)


def _not_there(roots: Sequence[Path], name: str) -> str:
    where = " or ".join(map(str, roots[:3]))
    return f"image {name!r} does not exist in {where}; check the path, and the folder of images"


class _Kept:
    """What the cache holds of earlier looks."""

    def __init__(self, names: list[str], facts: np.ndarray, problems: dict[str, list[str]]) -> None:
        self.names, self.facts, self.problems = names, facts, problems

    @classmethod
    def of(cls, folder: Path) -> _Kept:
        """Nothing, where it is not there or not what was written: it is found again."""
        try:
            look(folder, MARK, contents=True)
            names = (folder / "names.txt").read_bytes().decode().split("\0")
            facts = np.load(folder / "facts.npy")
            problems = read_json(folder / "problems.json")
            return cls(names, facts, problems)
        except (DamagedError, OSError, ValueError):
            return cls([], np.zeros(0, FACTS), {})

    def write(self, final: Path) -> None:
        def make(folder: Path) -> None:
            (folder / "names.txt").write_bytes("\0".join(self.names).encode())
            np.save(folder / "facts.npy", self.facts)
            (folder / "problems.json").write_text(json.dumps(self.problems), encoding="utf-8")
            seal(folder, MARK, {"schema": SCHEMA}, digests(folder))

        put(final, make)

    def with_(self, names: Sequence[str], facts: np.ndarray, problems: dict[str, list[str]]) -> _Kept:
        """These too, in the place of those of the same name."""
        new = set(names)
        old = np.array([name not in new for name in self.names], bool)
        left = [name for name, stays in zip(self.names, old, strict=True) if stays]
        others = {name: problem for name, problem in self.problems.items() if name not in new}
        return _Kept([*left, *names], np.concatenate([self.facts[old], facts]), others | problems)


def _take(kept: _Kept, names: Sequence[str], facts: np.ndarray, problems: dict[int, Problem]) -> np.ndarray:
    """Fill in what is known of files that have not changed; the numbers of the others that are there."""
    place = {name: number for number, name in enumerate(kept.names)}
    at = np.fromiter((place.get(name, -1) for name in names), np.int64, len(names))
    there = facts["root"] >= 0
    same = there & (at >= 0)
    for field in _STATE:
        same[same] = kept.facts[field][at[same]] == facts[field][same]
    for field in ("width", "height", "digest"):
        facts[field][same] = kept.facts[field][at[same]]
    for number in np.flatnonzero(same & (facts["width"] == 0)).tolist():
        problems[number] = Problem(*kept.problems[names[number]])
    return np.flatnonzero(there & ~same)


def _look(
    final: Path,
    kept: _Kept,
    roots: Sequence[Path],
    names: Sequence[str],
    numbers: np.ndarray,
    facts: np.ndarray,
    problems: dict[int, Problem],
    workers: int,
    progress: Progress | None,
) -> None:
    """Look at the images of these numbers, and keep what is found; what an interruption leaves undone too."""
    what, done = "looking at images", 0
    fresh: list[int] = []

    def keep() -> None:
        nonlocal kept
        if not fresh:
            return
        found = {names[n]: [problems[n].reason, problems[n].message] for n in fresh if n in problems}
        kept = kept.with_([names[n] for n in fresh], facts[fresh], found)
        kept.write(final)
        fresh.clear()

    chunks = [
        [(n, f"{roots[facts['root'][n]]}{os.sep}{names[n]}", int(facts["bytes"][n])) for n in numbers[i : i + CHUNK].tolist()]
        for i in range(0, len(numbers), CHUNK)
    ]
    try:
        for results in in_chunks(_Looker, (), chunks, workers, "images"):
            for number, size, digest, problem in results:
                facts["width"][number], facts["height"][number] = size
                facts["digest"][number] = np.frombuffer(digest, np.uint8)
                if problem is not None:
                    problems[number] = problem
                fresh.append(number)
            done += len(results)
            if progress:
                progress(what, done, len(numbers))
            if len(fresh) >= KEPT_EVERY:
                keep()
    except BaseException:
        with suppress(OSError):
            keep()
        raise
    keep()


class _Looker:
    """Reads files: (number, path, bytes) -> (number, size in px, hash of the content, what is wrong)."""

    def __call__(self, chunk: Iterable[tuple[int, str, int]]) -> list[tuple[int, tuple[int, int], bytes, Problem | None]]:
        return [(number, *look_at_content(*_content(path, size))) for number, path, size in chunk]


def _content(path: str, size: int) -> tuple[bytes, str, Problem | None]:
    """A file's content, its name in messages, and why it could not be read."""
    name = f"image {path!r}"
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b"", name, Problem("damaged image", f"{name} is no file; give the path of an image")
        if size > LARGEST:
            return b"", name, Problem("image too large", f"{name} has {size / 2**30:.1f} GiB; scale it down")
        return Path(path).read_bytes(), name, None
    except OSError as error:
        _unless_the_machine_fails(error)
        return b"", name, Problem("damaged image", f"{name} may not be read ({error.strerror}); change its permissions")
