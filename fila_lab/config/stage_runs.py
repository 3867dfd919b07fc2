"""Training stages as runs: what each of them is, in which order, and what the first of them can see of the run. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fila_lab.config.base import FilaError, MachineError
from fila_lab.config.hashing import config_hash
from fila_lab.config.language import LanguageConfig
from fila_lab.config.run import NO_MATTER, RunConfig
from fila_lab.config.stages import StageConfig, part_trains

ENDS = "stages"
"""Folder of the cache with the ends of stages that cells share."""
TOWERS = ("vit", "convnext")
_FILES = {"path": True, "images": True, "definition": True}
"""What names a suite's files; what they hold stands for them."""


@dataclass(frozen=True)
class Stage:
    """One training stage.

    run: the run as it is in this stage: data.train, train, how language.template and max_tokens have training rows asked, and `trainable`
    are the stage's; runtime.feature_cache says whether it reads a frozen ConvNeXt's maps from the cache; train.steps counts only where
    `epochs` is None. trains: entry of the stage's `trains` -> learning rate; empty for the one stage of a run without `train.stages`, where
    all that is trainable trains. first: steps of the stages before it.
    """

    number: int
    name: str
    run: RunConfig
    trains: Mapping[str, float] = field(default_factory=dict)
    epochs: float | None = None
    first: int = 0

    @property
    def field(self) -> str:
        """What messages call it."""
        return f"train.stages.{self.number}"

    @property
    def steps(self) -> int:
        """Its optimiser steps."""
        return self.run.train.steps

    def lasting(self, steps: int, first: int) -> Stage:
        """The same with so many steps, behind `first` others."""
        run = self.run.model_copy(update={"train": self.run.train.model_copy(update={"steps": steps})})
        return Stage(self.number, self.name, run, self.trains, self.epochs, first)


def stages_of(config: RunConfig) -> tuple[Stage, ...]:
    """The stages of a run in their order; of a run without `train.stages` the one that it is."""
    declared = config.train.stages
    if declared is None:
        return (Stage(0, "", config),)
    found: list[Stage] = []
    for number, stage in enumerate(declared):
        trains = {entry: stage.rate(entry, config.train.learning_rate) for entry in stage.trains}
        first = sum(earlier.steps for earlier in found)
        found.append(Stage(number, stage.name, _run(config, declared[: number + 1]), trains, stage.epochs, first))
    return tuple(found)


def total_steps(config: RunConfig) -> int | None:
    """Optimiser steps of all stages; None where a stage counts epochs, whose steps its rows decide."""
    stages = stages_of(config)
    return None if any(stage.epochs is not None for stage in stages) else sum(stage.steps for stage in stages)


@contextmanager
def naming(stage: Stage) -> Iterator[None]:
    """What is refused inside names the stage, where the run has several."""
    try:
        yield
    except FilaError as error:
        if not stage.name or isinstance(error, MachineError):
            raise
        raise type(error)(f"{stage.field} ({stage.name}): {error}") from error


def _run(config: RunConfig, declared: tuple[StageConfig, ...]) -> RunConfig:
    """The run in the last of these stages."""
    *before, stage = declared
    named = ("steps", "batch_size", "accumulate", "schedule", "warmup", "weight_decay")
    train: dict[str, Any] = {name: value for name in named if (value := getattr(stage, name)) is not None}
    changes: dict[str, Any] = {"train": config.train.model_copy(update=train | {"stages": None})}
    for tower in TOWERS:
        part = getattr(config, tower)
        changes[tower] = part.model_copy(update={"trainable": part_trains([stage], tower)})  # type: ignore[arg-type]
    asked = {name: value for name in ("template", "max_tokens") if (value := getattr(stage, name)) is not None}
    language: dict[str, Any] = {"trainable": part_trains([stage], "language"), **asked}
    changes["language"] = config.language.model_copy(update=language)
    if stage.data is not None:
        changes["data"] = config.data.model_copy(update={"train": stage.data})
    if part_trains(before, "convnext") or _drawn_by_the_seed(config, "convnext"):
        changes["runtime"] = config.runtime.model_copy(update={"feature_cache": False})
    return config.model_copy(update=changes)


def _drawn_by_the_seed(config: RunConfig, tower: str) -> bool:
    """Whether a tower that trains begins with random weights, of the run's seed: others than those of the frozen one that caches know."""
    part = getattr(config, tower)
    return bool(part.trainable and part.weights == "random")


def seen_by(config: RunConfig, last: int) -> dict[str, Any]:
    """All of a run that its stages up to number `last` can see, as JSON: what is equal here trains alike up to there, if data and weights
    hold the same. Tests, later stages and what they train are out; of a tower that trains later, only how it begins is in."""
    of_data = {*NO_MATTER["data"], "train", "evaluate", "test_triplets"}
    base = config.model_dump(mode="json", exclude={**NO_MATTER, "preset": True, "train": True, "data": of_data})
    for tower in TOWERS:
        base[tower]["trainable"] = _drawn_by_the_seed(config, tower)
    base["language"] |= {"trainable": None, "dtype": _held_in(config.language)}
    base["data"]["validate"] = [suite.model_dump(mode="json", exclude=_FILES) for suite in config.data.validate or config.data.train]
    return base | {"stages": [_seen(stage) for stage in stages_of(config)[: last + 1]]}


def stage_mark(config: RunConfig, stage: Stage) -> str:
    """16 hex digits by which a checkpoint of a stage is known; nothing for a run without stages, whose checkpoints tell all of the run."""
    return config_hash(seen_by(config, stage.number)) if config.train.stages is not None else ""


def _seen(stage: Stage) -> dict[str, Any]:
    out = {"steps", "learning_rate"} if stage.epochs is not None else {"learning_rate"}
    return {
        "name": stage.name,
        "trains": dict(stage.trains),
        "epochs": stage.epochs,
        "train": stage.run.train.model_dump(mode="json", exclude=out),
        "data": [suite.model_dump(mode="json", exclude=_FILES) for suite in stage.run.data.train],
        "template": stage.run.language.template,
        "max_tokens": stage.run.language.max_tokens,
        "feature_cache": stage.run.runtime.feature_cache,
    }


def _held_in(language: LanguageConfig) -> str:
    """The type of the language model's weights."""
    if language.dtype is not None:
        return language.dtype
    return "float32" if language.trainable or language.weights == "random" else "the checkpoint's"
