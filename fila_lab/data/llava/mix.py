"""Which files a data set is made of, and which of their rows: one file, several, a folder, or LLaVA-NeXT's YAML mix."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fila_lab.config.base import ConfigError, FilaError, did_you_mean
from fila_lab.config.yaml_files import read_yaml
from fila_lab.data.llava.options import LlavaOptions, as_list
from fila_lab.data.streams import stream
from fila_lab.data.suite import SPLITS

_STRATEGY = re.compile(r"(first|end|random):([0-9]+(?:\.[0-9]+)?)(%?)")
_SHARD = re.compile(r"(train|val|validation|test)-[0-9]+-of-[0-9]+\.parquet")
_NAMES = {"train": "train", "val": "val", "validation": "val", "test": "test"}
"""What a split is called in names of files."""
NO_NAME = re.compile(r"[^\w.-]+")
"""What a task's name has an underscore for."""
_KEYS = ("json_path", "sampling_strategy", "images")


@dataclass(frozen=True)
class Source:
    """A file of rows: the split they are of, where its images lie, and which rows are taken."""

    path: Path
    split: str
    images: tuple[Path, ...]
    strategy: str = "all"


def sources_of(options: LlavaOptions) -> tuple[Source, ...]:
    """The files that `path` stands for, in order.

    Raises:
        FilaError: one is missing, a folder holds none, or a mix has a mistake.
    """
    roots = tuple(Path(os.path.abspath(folder)) for folder in as_list(options.images or ()))
    for root in roots:
        if not root.is_dir():
            raise ConfigError(f"images = {root} is no folder; give the folder that image paths are relative to")
    found: list[Source] = []
    for name in as_list(options.path):
        path = Path(os.path.abspath(name))
        if path.is_dir():
            found += [Source(file, options.split or split, roots or (path,)) for split, file in _in_folder(path, options.split)]
        elif path.suffix in (".yaml", ".yml"):
            found += _in_mix(path, options, roots)
        else:
            found.append(Source(path, _split(path, options), roots or (path.parent,)))
    return tuple(found)


def _split(path: Path, options: LlavaOptions) -> str:
    return options.split or _split_in_name(path) or "train"


def _split_in_name(path: Path) -> str | None:
    shard = _SHARD.fullmatch(path.name)
    return _NAMES.get(shard[1] if shard else path.stem)


def _in_folder(folder: Path, split: str | None) -> list[tuple[str, Path]]:
    """(split, file) of a folder's files, also of the folder data in it; where a split is named, its own alone."""
    found = []
    for path in sorted([*folder.iterdir(), *(folder / "data").glob("*")]):
        own = _split_in_name(path)
        rows = path.suffix in (".json", ".jsonl") or _SHARD.fullmatch(path.name)  # test.parquet of an export is a table of something else
        if own is not None and rows and path.is_file() and split in (None, own):
            found.append((own, path))
    if not found:
        raise FilaError(
            f"{folder} holds no {split or 'train'}.json, .jsonl or {split or 'train'}-00000-of-00001.parquet; give the path of a file"
        )
    return sorted(found, key=lambda pair: (SPLITS.index(pair[0]), pair[1]))


def _in_mix(path: Path, options: LlavaOptions, roots: tuple[Path, ...]) -> list[Source]:
    content = read_yaml(path)
    datasets = content.get("datasets")
    if unknown := [key for key in content if key != "datasets"]:
        raise ConfigError(f"{path}: {unknown[0]} is unknown{did_you_mean(str(unknown[0]), ['datasets'])}; a mix has the key datasets alone")
    if not isinstance(datasets, list) or not datasets:
        raise ConfigError(f"{path}: datasets is to be a list of {{json_path, sampling_strategy}}; give at least one")
    found = []
    for number, entry in enumerate(datasets):
        where = f"{path}: datasets.{number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("json_path"), str) or not entry["json_path"]:
            raise ConfigError(f"{where} has no json_path; give the path of its file")
        if unknown := [key for key in entry if key not in _KEYS]:
            known = ", ".join(_KEYS)
            raise ConfigError(f"{where}.{unknown[0]} is unknown{did_you_mean(str(unknown[0]), _KEYS)}; an entry has {known}")
        file = Path(os.path.abspath(path.parent / entry["json_path"]))
        strategy = entry.get("sampling_strategy", "all")
        _parse(strategy, f"{where}.sampling_strategy")
        own = entry.get("images")
        if own is not None and not (isinstance(own, str) and (path.parent / own).is_dir()):
            raise ConfigError(f"{where}.images = {own!r} is no folder; give the folder that its image paths are relative to")
        images = (Path(os.path.abspath(path.parent / own)),) if own is not None else roots or (file.parent,)
        found.append(Source(file, options.split or "train", images, strategy))
    return found


def _parse(strategy: Any, where: str) -> tuple[str, Fraction, bool]:
    """(which rows, how many, whether that is per cent)."""
    if strategy == "all":
        return "all", Fraction(0), False
    match = _STRATEGY.fullmatch(strategy) if isinstance(strategy, str) else None
    if match is None:
        known = "all, or first, end or random with a number of rows or per cent (random:10%)"
        raise ConfigError(f"{where} = {strategy!r} is unknown; choose {known}")
    kind, number, percent = match[1], Fraction(match[2]), bool(match[3])
    if not number or (percent and number > 100) or (not percent and "." in match[2]):
        raise ConfigError(f"{where} = {strategy!r}: {match[2]}{match[3]} of the rows cannot be taken; give a whole number, or up to 100%")
    return kind, number, percent


def sampled(source: Source, total: int, seed: int) -> np.ndarray:
    """Numbers of the rows that a strategy takes of `total`, ascending. As in LLaVA-NeXT, per cent are rounded up, more rows than there are
    is all of them, and rows count before any is set aside; random is by the seed and the file's name."""
    kind, number, percent = _parse(source.strategy, str(source.path))
    if kind == "all":
        return np.arange(total)
    count = min(total, math.ceil(number * total / 100) if percent else int(number))
    if kind == "random":
        return np.sort(stream(seed, "llava", source.path.name, total).permutation(total)[:count])
    return np.arange(count) if kind == "first" else np.arange(total - count, total)


def file_tasks(sources: Sequence[Source]) -> list[str]:
    """A task's name for each file: its stem, or its folder's name where the file is named by its split; with the folder above where two
    would be the same."""
    named: dict[str, list[Path]] = {}
    for source in sources:
        own = named.setdefault(_called(source.path), [])
        if _home(source.path) not in own:
            own.append(_home(source.path))
    found = []
    for source in sources:
        name, homes = _called(source.path), named[_called(source.path)]
        place = homes.index(_home(source.path))
        if len(homes) > 1:
            name = f"{NO_NAME.sub('_', _home(source.path).parent.name)}-{name}"
            same = [home for home in homes[:place] if home.parent.name == homes[place].parent.name]
            name += f"-{len(same) + 1}" if same else ""
        found.append(name)
    return found


def _home(path: Path) -> Path:
    """The file, or, where it is named by its split, the folder that is the data set."""
    if not _split_in_name(path):
        return path
    return path.parent.parent if path.parent.name == "data" else path.parent


def _called(path: Path) -> str:
    home = _home(path)
    return NO_NAME.sub("_", home.name if home != path else home.stem) or "llava"
