"""Who is who: the id of a cell, the hash of its data, the hash of the code that computes it. Imports no torch."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection, Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fila_lab.config import FilaError, RunConfig, config_hash, require_weights
from fila_lab.config.files import default_cache
from fila_lab.config.hashing import file_sha256
from fila_lab.config.renamed import SCHEMA
from fila_lab.config.run import NO_MATTER
from fila_lab.config.seam_identity import seam_identity
from fila_lab.config.stage_runs import Stage, naming, seen_by, stages_of
from fila_lab.config.suites import SEAM

PACKAGE = Path(__file__).parents[1]
OTHER_SCORES = tuple(
    f"evaluation/scores/{name}.py" for name in ("annotators", "letters", "mathvista", "numbers", "ocr", "similarity", "yes_no")
)
"""Scores that the seam suite's cells do not use."""
SHAPING = (
    "config/run.py",
    "config/geometry.py",
    "config/towers.py",
    "config/fusion.py",
    "config/projector.py",
    "config/language.py",
    "config/train.py",
    "config/runtime.py",
    "config/stages.py",
    "config/stage_runs.py",
    "config/data.py",
    "config/fusion_options.py",
    "config/fusion_points.py",
    "config/canvas_rules.py",
    "config/counts.py",
    "config/seam_pages.py",
    "config/seam_words.py",
    "config/strategies.py",
    "config/tiling.py",
    "config/vocabulary.py",
    "config/windows.py",
    "config/suites.py",
    "config/seam_identity.py",
    "config/benchmarks",
    "imaging",
    "modeling",
    "data",
    "training",
    "evaluation",
)
"""Files and rooms whose source can change a cell's result."""
COMPUTING = ("torch", "timm", "open_clip_torch", "transformers", "lightning", "numpy")
"""Packages whose version may change the last bit of what is trained."""
NOT_SHAPING = (
    "data/seam/card.py",
    "data/seam/export.py",
    "data/seam/gallery.py",
    "data/seam/preview.py",
    "data/seam/symbolic.py",
    "data/vlmevalkit.py",
    "evaluation/alignment.py",
    "evaluation/positions.py",
    "training/drawing.py",
    "training/evaluate.py",
    "training/injection.py",
    "training/predict.py",
    "training/probe.py",
)
"""Tools in those rooms that no cell calls (pretrained towers enter a cell's id by the hash of their weights)."""
BENCHMARKS = "benchmarks"
WINGS = {
    SEAM: ("data/seam",),
    "llava": ("data/llava", "data/image_files.py"),
    "entity_grid": (
        "data/entity_grid",
        "data/seam/content.py",
        "data/seam/plates.py",
        "data/seam/render.py",
        "evaluation/aggregates",
    ),
    BENCHMARKS: ("data/benchmarks", "config/benchmarks", "evaluation/aggregates", *OTHER_SCORES),
}
"""Files and folders that only cells on a suite can run; benchmarks share theirs."""


def cell_id(config: RunConfig) -> str:
    """16 hex digits over everything that can change the result: schema, every field, data, and the bytes of weights files.

    The preset's name stays out, and so do the paths of weights and data files: their contents stand for them. Raises FilaError when one is
    missing.
    """
    return cell_ids(config, [config.seed])[config.seed]


def cell_ids(config: RunConfig, seeds: Iterable[int]) -> dict[int, str]:
    """Seed -> `cell_id` of the run with this seed in place of its own; data are looked at once, weights once a tower pair."""
    fields: dict[str, Any] = config.model_dump(mode="json", exclude=NO_MATTER)
    del fields["preset"]
    data, stages = fields["data"], fields["train"].get("stages", ())
    own = [suite for stage in stages for suite in stage.get("data", ())]
    for suite in (*data["train"], *(data["validate"] or ()), *data["evaluate"].values(), *own):
        for path in ("path", "images", "definition"):
            del suite[path]
    content = {"schema": SCHEMA, "data": data_hash(config)}
    named: dict[int | None, dict[str, Any]] = {}
    ids = {}
    for seed in seeds:
        run = config.with_seed(seed)
        if run.pair not in named:
            named[run.pair] = {room: {**fields[room], "weights": weights} for room, weights in _weights_named(run).items()}
        ids[seed] = config_hash({**content, "run": {**fields, **named[run.pair], "seed": seed}})
    return ids


def _weights_named(config: RunConfig) -> dict[str, str]:
    """Room -> what stands for its weights: their hash, where they are local files, else what the run says."""
    said = {room: str(getattr(config, room).weights) for room in ("vit", "convnext", "language")}
    return said | {room: f"sha256:{digest}" for room, digest in weights_hashes(config).items()}


def weights_hashes(config: RunConfig) -> dict[str, str]:
    """Room of the config (`vit`, `convnext`, `language`) -> sha256 of its weights, where they are local files."""
    hashes = {}
    for name in ("vit", "convnext"):
        if (spec := getattr(config, name).weights) != "random" and (files := _tower_files(name, spec)):
            hashes[name] = known_sha256(files[0]) if len(files) == 1 else _together(files)
    if (path := require_weights("language.weights", config.language.weights)) is not None:
        hashes["language"] = known_sha256(path)
    folder = Path(config.language.weights)
    if config.language.weights != "random" and folder.is_dir():
        hashes["language"] = _together(path for path in sorted(folder.glob("*")) if path.is_file())
    return hashes


def _tower_files(room: str, spec: str) -> tuple[Path, ...]:
    from fila_lab.config.tower_sources import local_files  # only where there are weights: a plan answers at once

    return local_files(room, spec)


def _together(files: Iterable[Path]) -> str:
    """sha256 over the names and hashes of files."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {known_sha256(path)}\n".encode())
    return digest.hexdigest()


def stage_ids(config: RunConfig, seeds: Iterable[int], code: str) -> dict[int, tuple[str, ...]]:
    """Seed -> for each training stage but the last 16 hex digits over all that decides what the run has trained when it ends: what the
    stages up to there can see of the run (`config.stage_runs.seen_by`), data, weights, `code`, and the versions of the libraries that
    compute. Data and weights, the same for all seeds, are looked at once.

    Raises:
        FilaError: weights or data are missing.
    """
    *stages, _ = stages_of(config)
    if not stages:
        return dict.fromkeys(seeds, ())
    trained = [_trained_on(stage) for stage in stages]
    validated, hashes = identities(config, "val"), weights_hashes(config)
    versions = {name: version(name) for name in COMPUTING}

    def named(stage: Stage, seed: int) -> str:
        seen = seen_by(config, stage.number) | {"seed": seed}
        for name, digest in hashes.items():
            seen[name]["weights"] = f"sha256:{digest}"
        data = [validated, *trained[: stage.number + 1]]
        return config_hash({"schema": SCHEMA, "code": code, "versions": versions, "data": data, "run": seen})

    return {seed: tuple(named(stage, seed) for stage in stages) for seed in seeds}


def changed_weights(expected: str, config: RunConfig) -> str:
    """Why a cell's id no longer follows from its configuration: weights files are what can change while it runs. Empty where it does."""
    try:
        if cell_id(config) == expected:
            return ""
    except (FilaError, OSError) as error:
        return f"{error}; put the file back, then give the same command again"
    return "a weights file of this cell was changed while it ran; put the former file back, or plan the study anew with the same command"


def data_hash(config: RunConfig) -> str:
    """16 hex digits over the identities of all its suites; how many of their items a seed draws, and how towers see them (`vit_scale`,
    `tiling`), stay out."""
    found: dict[str, Any] = {split: identities(config, split) for split in ("train", "val", "test")}
    if own := [_trained_on(stage) for stage in stages_of(config) if stage.run.data is not config.data]:
        found["stages"] = own
    return config_hash(found)


def identities(config: RunConfig, split: str) -> list[dict[str, Any]]:
    """Each suite behind a run's `train`, `val` or `test` rows: its items, and how they are asked and judged."""
    data, geometry = config.data, config.geometry
    suites = {"train": data.train, "val": data.validate or data.train, "test": tuple(data.evaluate.values())}[split]
    if all(suite.suite == SEAM for suite in suites):  # known without opening it
        return [{"suite": SEAM, "items": seam_identity(data, geometry, split)} for _ in suites]
    from fila_lab.data.opening import sources

    found = []
    for source in sources(data, geometry, default_cache(), split):
        rules = {task: asdict(rule) for task, rule in source.suite.tasks().items()}
        found.append({"suite": source.config.suite, "items": source.suite.identity(source.split), "rules": rules})
    return found


def _trained_on(stage: Stage) -> list[dict[str, Any]]:
    with naming(stage):
        return identities(stage.run, "train")


def suites_of(config: RunConfig) -> frozenset[str]:
    """The names of a run's suites."""
    return frozenset(suite.suite for stage in stages_of(config) for suite in (*config.data.suites, *stage.run.data.train))


def code_hash(suites: Collection[str] = (SEAM,)) -> str:
    """16 hex digits over the source files that shape results of cells on these suites; recorded with each result, so that mixed code is
    noticed."""
    digest = hashlib.sha256()
    for path in shaping_files(suites):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def shaping_files(suites: Collection[str] = (SEAM,)) -> list[Path]:
    """The files behind `code_hash`, in a fixed order: of the wings of suites only those that are used."""
    files, skipped = _files(SHAPING), _files(NOT_SHAPING)
    used, unused = set[Path](), set[Path]()
    for suite, wing in WINGS.items():
        if suite in suites or (suite == BENCHMARKS and set(suites) - set(WINGS)):
            used |= _files(wing) - skipped
        else:
            unused |= _files(wing)
    return sorted(files - skipped - (unused - used))


def _files(names: Iterable[str]) -> set[Path]:
    found: set[Path] = set()
    for name in names:
        path = PACKAGE / name
        found.update([*path.rglob("*.py"), *path.rglob("*.yaml")] if path.is_dir() else [path])
    return found


def known_sha256(path: Path) -> str:
    """`file_sha256`; read once for as long as size and time of change stay."""
    state = path.stat()
    return _sha256(str(path.resolve()), state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _sha256(path: str, size: int, changed: int) -> str:
    return file_sha256(Path(path))
