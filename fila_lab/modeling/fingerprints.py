"""Fingerprints of what a run starts from, each computed once a process: parts are the same for all pools of a run and, unless a seed enters
them, for all cells. Files that change are looked at anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from torch import nn

from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import has_vit
from fila_lab.config.tower_sources import local_files
from fila_lab.config.weights import weights_file
from fila_lab.modeling.towers import build_convnext, build_vit
from fila_lab.modeling.weights import weights_sha256

_known: dict[str, str] = {}
"""Fingerprints by what the parts are built from."""


def tower_sha256(config: RunConfig, room: Literal["vit", "convnext"], tower: nn.Module | None = None) -> str:
    """`weights_sha256` of a run's ViT or ConvNeXt as it is built.

    Args:
        tower: the one that has just been built, where there is one.
    """
    part = config.vit if room == "vit" else config.convnext
    made = {
        "room": room,
        "part": part.model_dump(mode="json"),
        "grid": [config.geometry.tile, config.geometry.patch] if room == "vit" else None,
        "random": room == "convnext" and config.fusion.control == "random_weights",
        "seed": config.seed if part.trainable else 0,
        "files": _states(local_files(room, part.weights)),
    }
    return _once(made, lambda: tower or (build_vit(config) if room == "vit" else build_convnext(config)))


def language_sha256(config: RunConfig, loaded: nn.Module) -> str:
    """`weights_sha256` of a run's language model, or of the parts of its answers file, as they have just been loaded."""
    language, file = config.language, weights_file(config.language.weights)
    folder = Path(language.weights).expanduser()
    made = {
        "room": "language",
        "part": language.model_dump(mode="json"),
        "around": [config.projector.model_dump(mode="json"), config.vit.width, has_vit(config)],  # an answers file fills these too
        "seed": None if language.lora is None else config.seed,  # which adapters start from
        "files": _states([file] if file is not None else folder.glob("*") if folder.is_dir() else []),
    }
    return _once(made, lambda: loaded)


def _once(made: dict[str, Any], module: Callable[[], nn.Module]) -> str:
    key = json.dumps(made, sort_keys=True)
    if key not in _known:
        _known[key] = weights_sha256(module())
    return _known[key]


def _states(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Which files, and as they are: path, size and time of change."""
    return [(str(path), state.st_size, state.st_mtime_ns) for path in sorted(files) if (state := path.stat())]
