"""Training stages as a run declares them: what trains, at which rates, on what, how long; and the parts of a model that can train."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from fila_lab.config.base import Number, Positive, Strict, did_you_mean, without_usual
from fila_lab.config.suites import Suites

Part = Literal["vit", "convnext", "fusion", "projector", "language"]
PARTS: tuple[Part, ...] = get_args(Part)
"""What can train; `projector` with the row separator and the handoff."""
PREFIXES: dict[Part, tuple[str, ...]] = {
    "vit": ("encoder.vit.",),
    "convnext": ("encoder.convnext.",),
    "fusion": ("encoder.fusions.",),
    "projector": ("projector.", "separator.", "handoff."),
    "language": ("language.",),
}
"""How the names of a part's parameters begin."""
TOWERS: dict[Part, bool] = {"vit": False, "convnext": False, "language": True}
"""The parts with a field `trainable`, and its usual value."""

Schedule = Literal["cosine", "linear", "constant"]
"""The learning rate after the warm-up: down to zero along half a cosine or a line, or as it is."""
Rate = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)]
Warmup = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, lt=1)]
_WILDCARDS = "[*?"
"""What begins a wildcard of fnmatch."""


class StageConfig(Strict):
    """One training stage. What is null is the run's own: `train.learning_rate`, `data.train`, ..., `language.template`.

    `trains` names parts, or parameters by patterns of fnmatch (`encoder.vit.trunk.transformer.resblocks.2?.*`); what it does not name is
    frozen in the stage.
    """

    name: str = Field(description="by which curves and checkpoints know it: letters, digits, `_`, `.`, `-`")
    trains: tuple[str, ...] = Field(min_length=1, description="parts (vit, convnext, fusion, projector, language) or patterns")
    learning_rate: Rate | dict[str, Rate] | None = Field(default=None, description="a rate, or one for each entry of trains")
    data: Suites | None = Field(default=None, description="what is trained on, as data.train")
    steps: Positive | None = Field(default=None, description="optimiser steps; or give epochs")
    epochs: Number | None = Field(default=None, gt=0, description="passes over the rows of the stage; or give steps")
    batch_size: Positive | None = Field(default=None, description="rows of one forward pass")
    accumulate: Positive | None = Field(default=None, description="forward passes a step")
    schedule: Schedule | None = Field(default=None, description="the learning rate after the warm-up")
    warmup: Warmup | None = Field(default=None, description="share of the stage's steps")
    weight_decay: Number | None = Field(default=None, ge=0, description="of matrices: norms and biases have none")
    template: str | None = Field(default=None, description="how turns are put into words for training; validation is asked as the run says")
    max_tokens: Positive | None = Field(default=None, description="longest sequence of image and text that is trained on")

    @model_validator(mode="after")
    def _check(self) -> StageConfig:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", self.name):
            raise ValueError(f"name = {self.name!r} is no name of a stage; give up to 40 letters, digits, `_`, `.` and `-`")
        if self.steps is not None and self.epochs is not None:
            raise ValueError(f"steps = {self.steps} beside epochs = {self.epochs:g}: one of them would be lost; give one of the two")
        for number, entry in enumerate(self.trains):
            if is_pattern(entry):
                continue
            if entry not in PARTS:
                raise ValueError(
                    f"trains[{number}] = {entry!r} is no part{did_you_mean(entry, PARTS)}; choose {', '.join(PARTS)}, or a pattern of "
                    "parameter names, e.g. encoder.vit.trunk.transformer.resblocks.*"
                )
        for number, entry in enumerate(self.trains):
            if (other := next((one for one in self.trains[:number] if _overlap(one, entry)), None)) is not None:
                raise ValueError(f"trains: {entry!r} names parameters that {other!r} names too; name each of them once")
        if isinstance(self.learning_rate, dict):
            _check_rates(self.learning_rate, self.trains)
        return self

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What a stage says; what it leaves to the run stays out, so that a further field changes no record."""
        return without_usual(type(self), dump(self), [name for name in type(self).model_fields if name not in ("name", "trains")])

    def rate(self, entry: str, usual: float) -> float:
        """The learning rate of an entry of `trains`."""
        if isinstance(self.learning_rate, dict):
            return self.learning_rate[entry]
        return usual if self.learning_rate is None else self.learning_rate


def is_pattern(entry: str) -> bool:
    """Whether an entry of `trains` is a pattern over parameter names; a part's name has neither dot nor wildcard."""
    return any(sign in entry for sign in (".", *_WILDCARDS))


def may_train(entry: str, part: Part) -> bool:
    """Whether an entry of `trains` names parameters of a part, as far as names are known without the model."""
    if not is_pattern(entry):
        return entry == part
    head = _head(entry)
    return any(prefix.startswith(head) or head.startswith(prefix) for prefix in PREFIXES[part])


def part_trains(stages: Collection[StageConfig], part: Part) -> bool:
    """Whether a part may train in any of these stages."""
    return any(may_train(entry, part) for stage in stages for entry in stage.trains)


def with_trainable(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """A run's content whose towers' `trainable` is what its stages come to: whether any of them trains the tower. Content without stages,
    or with such as cannot be read, as it is: the fields tell that.

    Raises:
        ValueError: a tower's `trainable` has not its usual value, and the stages say otherwise.
    """
    stages = _declared(content)
    if stages is None:
        return content
    found = dict(content)
    for part, usual in TOWERS.items():
        tower = content.get(part, {} if part == "language" else None)
        said = tower.get("trainable", usual) if isinstance(tower, Mapping) else getattr(tower, "trainable", None)
        trains = part_trains(stages, part)
        if not isinstance(said, bool) or said == trains:
            continue
        if said != usual:
            what = "no stage of train.stages trains it; name it in trains of one" if said else "train.stages trains it; take it out there"
            raise ValueError(f"{part}.trainable = {str(said).lower()}, but {what}, or leave {part}.trainable out: the stages say it")
        found[part] = {**tower, "trainable": trains} if isinstance(tower, Mapping) else tower.model_copy(update={"trainable": trains})
    return found


def _declared(content: Mapping[str, Any]) -> tuple[StageConfig, ...] | None:
    """The stages of a run's content."""
    train = content.get("train")
    stages = train.get("stages") if isinstance(train, Mapping) else getattr(train, "stages", None)
    try:
        return None if not stages else tuple(StageConfig.model_validate(stage) for stage in stages)
    except (ValidationError, TypeError):
        return None


def _head(pattern: str) -> str:
    """A pattern up to its first wildcard."""
    return pattern[: min((at for sign in _WILDCARDS if (at := pattern.find(sign)) >= 0), default=len(pattern))]


def _overlap(one: str, other: str) -> bool:
    """Whether two entries surely name the same parameters: they are equal, or one is a pattern within the other's part."""
    if one == other:
        return True
    pairs = ((one, other), (other, one))
    return any(part in PREFIXES and is_pattern(entry) and _head(entry).startswith(PREFIXES[part]) for part, entry in pairs)


def _check_rates(rates: dict[str, float], trains: tuple[str, ...]) -> None:
    for name in rates:
        if name not in trains:
            raise ValueError(
                f"learning_rate: {name!r} does not train in this stage{did_you_mean(name, trains)}; name entries of trains: "
                f"{', '.join(trains)}"
            )
    if missing := [entry for entry in trains if entry not in rates]:
        raise ValueError(
            f"learning_rate says nothing of {', '.join(map(repr, missing))}; give a rate for every entry of trains, or one for all"
        )
