"""The JSON file beside weights in several files that says in which of them a tensor lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fila_lab.config.base import ConfigError
from fila_lab.config.json_files import read_mapping


def indexed_files(what: str, index: Path) -> tuple[Path, ...]:
    """The files that an index names, sorted.

    Args:
        what: what messages begin with.

    Raises:
        ConfigError: an index that cannot be read or names no file, files that are not there, or files outside the index's folder.
    """
    shards = read_mapping(what, index, "save or fetch the weights again").get("weight_map")
    named = sorted({str(name) for name in shards.values()}) if isinstance(shards, Mapping) else []
    if outside := next((name for name in named if Path(name).is_absolute() or ".." in Path(name).parts), None):
        raise ConfigError(f"{what} has an index ({index.name}) that names {outside!r}, outside its folder; save or fetch the weights again")
    missing = [name for name in named if not (index.parent / name).is_file()]
    if missing or not named:
        lacking = f"lacks {len(missing)} of the {len(named)} files that {index.name} names, e.g. {missing[0]}" if missing else ""
        raise ConfigError(f"{what} {lacking or f'has an index ({index.name}) that names no file'}; save or fetch the weights again")
    return tuple(index.parent / name for name in named)
