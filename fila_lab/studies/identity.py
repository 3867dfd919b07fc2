"""Who is who: the id of a cell, the hash of its data, the hash of the code that computes it. Imports no torch."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

from fila_lab.config import FilaError, RunConfig, config_hash, require_weights
from fila_lab.config.hashing import file_sha256
from fila_lab.config.renamed import SCHEMA

PACKAGE = Path(__file__).parents[1]
SHAPING = (
    "config/run.py",
    "config/data.py",
    "config/interactions.py",
    "config/canvas_rules.py",
    "config/strategies.py",
    "config/tiling.py",
    "imaging",
    "modeling",
    "data",
    "training",
    "evaluation",
)
"""Files and rooms whose source can change a cell's result."""
NOT_SHAPING = (
    "data/seam/card.py",
    "data/export.py",
    "data/seam/gallery.py",
    "data/seam/preview.py",
    "data/seam/symbolic.py",
    "evaluation/alignment.py",
    "evaluation/positions.py",
    "training/predict.py",
    "training/probe.py",
)
"""Tools in those rooms that no cell calls (pretrained towers enter a cell's id by the hash of their weights)."""


def cell_id(config: RunConfig) -> str:
    """16 hex digits over everything that can change the result: schema, every field, data, and the bytes of weights files.

    The preset's name stays out, and so do the paths of weights files: their sha256 stands for them. Raises ConfigError when
    a weights file is missing.
    """
    fields: dict[str, Any] = config.model_dump(mode="json")
    del fields["preset"]
    for name, digest in weights_hashes(config).items():
        fields[name]["weights"] = f"sha256:{digest}"
    return config_hash({"schema": SCHEMA, "run": fields, "data": data_hash(config)})


def weights_hashes(config: RunConfig) -> dict[str, str]:
    """Room of the config (`vit`, `convnext`, `language`) -> sha256 of its weights, where they are local files."""
    hashes = {}
    for name in ("vit", "convnext", "language"):
        spec = getattr(config, name).weights
        path = require_weights(f"{name}.weights", spec)
        if path is not None:
            hashes[name] = known_sha256(path)
    folder = Path(config.language.weights)
    if config.language.weights != "random" and folder.is_dir():
        digest = hashlib.sha256()
        for path in sorted(folder.glob("*")):
            if path.is_file():
                digest.update(f"{path.name} {known_sha256(path)}\n".encode())
        hashes["language"] = digest.hexdigest()
    return hashes


def changed_weights(expected: str, config: RunConfig) -> str:
    """Why a cell's id no longer follows from its configuration: weights files are what can change while it runs. Empty where it does."""
    try:
        if cell_id(config) == expected:
            return ""
    except (FilaError, OSError) as error:
        return f"{error}; put the file back, then give the same command again"
    return "a weights file of this cell was changed while it ran; put the former file back, or plan the study anew with the same command"


def data_hash(config: RunConfig) -> str:
    """16 hex digits over what shapes the items of the pools; how many of them a seed draws, and how towers see them
    (`vit_scale`, `tiling`), stay out."""
    data = config.data.model_dump(mode="json", exclude={"train_items", "train_tasks", "val_items"})
    geometry = config.geometry.model_dump(mode="json", include={"tile", "patch", "canvases", "canvas_rule"})
    return config_hash({"data": data, "geometry": geometry})


def code_hash() -> str:
    """16 hex digits over the source files that shape results; recorded with each result, so that mixed code is noticed."""
    digest = hashlib.sha256()
    for path in shaping_files():
        digest.update(f"{path.relative_to(PACKAGE).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def shaping_files() -> list[Path]:
    """The Python files behind `code_hash`, in a fixed order."""
    skipped = {PACKAGE / name for name in NOT_SHAPING}
    files: set[Path] = set()
    for name in SHAPING:
        path = PACKAGE / name
        files.update(path.rglob("*.py") if path.is_dir() else [path])
    return sorted(files - skipped)


def known_sha256(path: Path) -> str:
    """`file_sha256`; read once for as long as size and time of change stay."""
    state = path.stat()
    return _sha256(str(path.resolve()), state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _sha256(path: str, size: int, changed: int) -> str:
    return file_sha256(Path(path))
