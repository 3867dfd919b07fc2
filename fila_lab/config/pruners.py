"""Pruners, by which a search stops a trial early: their names, and their arguments with defaults of ours, because Optuna's change.

What judges a trial by itself alone (patience, say) is not here: a trial that has reached its best is no bad one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, model_validator

from fila_lab.config.base import ConfigError, Number, Positive, Strict, Whole, did_you_mean

Count = Annotated[Whole, Field(ge=0)]
Factor = Annotated[Whole, Field(ge=2)]


class NoPruner(Strict):
    """Every trial trains to its end."""

    name: Literal["none"] = "none"


class Ranked(Strict):
    """What pruners have that compare a trial with complete ones at the same step."""

    n_startup_trials: Count = Field(default=5, description="complete trials before any is stopped")
    n_warmup_steps: Count = Field(default=0, description="training steps before which none is stopped")
    interval_steps: Positive = Field(default=1, description="at most one decision in so many training steps")
    n_min_trials: Positive = Field(default=1, description="complete trials that must have been validated at the same step")


class MedianPruner(Ranked):
    """Stops a trial whose best validation so far is below the median of complete trials at the same step."""

    name: Literal["median"] = "median"


class PercentilePruner(Ranked):
    """As the median, with another share: the best `percentile` percent go on."""

    name: Literal["percentile"] = "percentile"
    percentile: Number = Field(default=25.0, ge=0, le=100, description="percent of the trials that go on")


class ThresholdPruner(Strict):
    """Stops a trial whose validation lies outside the limits."""

    name: Literal["threshold"] = "threshold"
    lower: Number | None = Field(default=None, description="validation below which a trial is stopped; null: none")
    upper: Number | None = Field(default=None, description="validation above which a trial is stopped; null: none")
    n_warmup_steps: Count = Field(default=0, description="training steps before which none is stopped")
    interval_steps: Positive = Field(default=1, description="at most one decision in so many training steps")

    @model_validator(mode="after")
    def _check(self) -> ThresholdPruner:
        if self.lower is None and self.upper is None:
            raise ValueError("lower, upper: neither is given; give `lower`, the validation below which a trial is stopped")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(f"lower = {self.lower} is above upper = {self.upper}; swap them")
        return self


class SuccessiveHalvingPruner(Strict):
    """At training steps that grow by `reduction_factor`, the best 1/`reduction_factor` of the trials seen there go on."""

    name: Literal["successive_halving"] = "successive_halving"
    min_resource: Positive | None = Field(default=None, description="training steps before the first decision; null: the first validation")
    reduction_factor: Factor = Field(default=3, description="one of so many trials goes on from a rung")
    min_early_stopping_rate: Count = Field(default=0, description="rungs that are left out at the beginning")
    bootstrap_count: Count = Field(default=0, description="trials that a rung needs before any passes it")


class HyperbandPruner(Strict):
    """Successive halvings with different first decisions, among which trials are shared out by their number."""

    name: Literal["hyperband"] = "hyperband"
    min_resource: Positive | None = Field(default=None, description="training steps before the first decision; null: the first validation")
    max_resource: Positive | None = Field(default=None, description="training steps of a whole trial; null: train.steps")
    reduction_factor: Factor = Field(default=3, description="one of so many trials goes on from a rung")
    bootstrap_count: Count = Field(default=0, description="trials that a rung needs before any passes it")


AnyPruner = NoPruner | MedianPruner | PercentilePruner | ThresholdPruner | SuccessiveHalvingPruner | HyperbandPruner
PRUNERS: dict[str, type[AnyPruner]] = {
    "none": NoPruner,
    "median": MedianPruner,
    "percentile": PercentilePruner,
    "threshold": ThresholdPruner,
    "successive_halving": SuccessiveHalvingPruner,
    "hyperband": HyperbandPruner,
}


def _named(value: Any) -> Any:
    """A name stands for the pruner with its defaults, null for `none`."""
    given = {"name": "none"} if value is None else {"name": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping):
        return given
    if (name := given.get("name")) not in PRUNERS:
        said = "a pruner without a name" if name is None else f"unknown pruner {name!r}{did_you_mean(str(name), PRUNERS)}"
        raise ValueError(f": {said}; pruners are {', '.join(PRUNERS)}")
    return given


Pruner = Annotated[AnyPruner, Discriminator("name"), BeforeValidator(_named)]
"""A field of a study file: `median`, or `{name: median, n_warmup_steps: 200}`."""


def pruner_arguments(pruner: AnyPruner, steps: int, validate_every: int) -> dict[str, Any]:
    """Every argument by its name, as it is recorded: what the file leaves to the run is taken from its steps.

    Raises:
        ConfigError: it could never stop a run of so many steps, which is validated every so many.
    """
    arguments = pruner.model_dump(exclude={"name"})
    if pruner.name == "none":
        return arguments
    if validate_every >= steps:
        raise ConfigError(
            f"pruner {pruner.name!r}: train.validate_every={validate_every} of train.steps={steps} validates at the end only, where there "
            "is nothing left to stop; lower train.validate_every"
        )
    runs = {"min_resource": validate_every, "max_resource": steps}
    arguments |= {name: runs[name] for name, value in arguments.items() if name in runs and value is None}
    for name in ("n_warmup_steps", "min_resource"):
        if (first := arguments.get(name, 0)) >= steps:
            raise ConfigError(f"pruner {pruner.name!r}: {name}={first}, but a trial has train.steps={steps}; give less than that")
    if "max_resource" in arguments and arguments["max_resource"] < arguments["min_resource"]:
        low, high = arguments["min_resource"], arguments["max_resource"]
        raise ConfigError(f"pruner {pruner.name!r}: max_resource={high} is less than min_resource={low}; swap them")
    return arguments
