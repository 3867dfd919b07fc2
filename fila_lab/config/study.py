"""What a study is: question, arms, contrasts, seeds, budgets, metric and margin, declared before the first cell runs."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from fila_lab.config.base import Flag, Number, Positive, Seed, Strict, did_you_mean, without_usual
from fila_lab.config.grid import Factors, Grid, check_factors, expand
from fila_lab.config.names import folder_name
from fila_lab.config.search import Sweep, Tuning
from fila_lab.config.subgroups import check_by

Quantity = Literal["parameters", "flops"]
"""What arms are matched in."""
Phase = Literal["main", "tuning", "sweep"]
"""Whether a cell is an arm with a seed, or a search's trial: of `tuning`, or of the sweep."""
FRONT: Literal["front"] = "front"
"""Role of the arms that a sweep finds."""


class Match(Strict):
    """What an arm is made equal in, of the whole model: its hidden width (without a fusion: the ViT's scale) is solved for it."""

    parameters: Number | str | None = Field(default=None, description="an arm's name, or a number")
    flops: Number | str | None = Field(default=None, description="an arm's name, or a number; FLOPs of reading one page and its question")
    tolerance: Number = Field(default=0.05, gt=0, description="greatest deviation, relative to what the solved field has to fill")

    @model_validator(mode="after")
    def _check(self) -> Match:
        if (self.parameters is None) == (self.flops is None):
            given = "neither is given" if self.flops is None else "both are given"
            raise ValueError(f"parameters, match.flops: {given}; give one of them")
        if not isinstance(self.target, str) and not 0 < self.target < math.inf:
            raise ValueError(f"{self.quantity} = {self.target}: give a positive number, or an arm's name")
        return self

    @property
    def quantity(self) -> Quantity:
        return "flops" if self.parameters is None else "parameters"

    @property
    def target(self) -> float | str:
        target = self.flops if self.parameters is None else self.parameters
        assert target is not None
        return target


class Arm(Strict):
    """One configuration under comparison: the overrides it makes to the study's base run, as dotted paths; `match` solves one more.

    role `capacity`: a second baseline, with a fusion's parameters and nothing to look at (fusion.control blank); contrasts against it are
    free of what parameters alone gain.
    """

    label: str | None = Field(default=None, description="what tables call it; null: its name")
    role: Literal["baseline", "fusion", "control", "rival", "capacity", "front"] = Field(
        default="fusion",
        description="baseline: what the study's gains are over, one arm has it; capacity: the second baseline, parameters alone; control, "
        "rival: told apart in reports",
    )
    set: dict[str, Any] = Field(default={}, description="overrides of the study's run: dotted path -> value")
    match: Match | None = Field(default=None, description="what the arm is made equal in; null: it is taken as it is")


class Family(Strict):
    """Comparisons judged together: Holm's correction runs over one family.

    A pair (A, B) asks for the contrast A - B, four arms (A, B, C, D) for the interaction (A - B) - (C - D).
    """

    contrasts: tuple[tuple[str, str], ...] = Field(default=(), description="pairs of arms [A, B]: A - B")
    interactions: tuple[tuple[str, str, str, str], ...] = Field(default=(), description="four arms [A, B, C, D]: (A - B) - (C - D)")
    metric: str | None = Field(default=None, description="what this family is judged by; null is the study's primary metric")
    by: tuple[str, ...] = Field(default=(), description="columns that split every contrast: place, task, length, ...")

    @field_validator("by", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """One column stands for a list of one, null for none."""
        return () if value is None else (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> Family:
        if not self.comparisons:
            raise ValueError("contrasts and interactions are both empty; give at least one pair [A, B] or four arms [A, B, C, D]")
        for arms in self.interactions:
            if len(set(arms)) < 4:
                raise ValueError(f"interactions: {list(arms)} repeats an arm; (A - B) - (C - D) takes the four arms of a 2x2")
        return self

    @property
    def comparisons(self) -> tuple[tuple[str, ...], ...]:
        """Contrasts, then interactions: two or four arms each."""
        return (*self.contrasts, *self.interactions)


class Budget(Strict):
    """How much to run. `set` overrides run fields for all arms; `tune` false reuses the committed winners; `sweep` runs the sweep first."""

    seeds: tuple[Seed, ...] = Field(min_length=1, description="every arm runs with each of them")
    arms: tuple[str, ...] | None = Field(default=None, description="subset of arms; null is all")
    set: dict[str, Any] = Field(default={}, description="overrides of the run, for every arm of this budget")
    tune: Flag = Field(default=False, description="whether the study's tuning runs first; false: its committed winners are used")
    workers: Positive = Field(default=2, description="cells at a time, unless --workers says otherwise")
    sweep: Flag = Field(default=False, description="whether the study's sweep runs first")
    trials: Positive | None = Field(default=None, description="trials of its search; null: the search's own")

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_usual(Budget, dump(self), ("sweep", "trials"))


class StudyConfig(Strict):
    """A study file."""

    name: str = Field(description="of the study and its result folders; the file's name where it is left out")
    question: str = Field(description="what it asks, in a sentence")
    preset: str = Field(default="mini", description="what its runs are made from: the name of a preset, or a YAML file")
    set: dict[str, Any] = Field(default={}, description="overrides of the preset for every arm")
    arms: dict[str, Arm] = Field(min_length=1, description="what is compared: name -> arm")
    families: dict[str, Family] = Field(
        default={}, description="contrasts judged together, by name; may be left out where there is a sweep"
    )
    metric: str = Field(default="exact/reading", description="primary metric, mean over the three places")
    margin: Number = Field(gt=0, description="smallest effect of interest, in the metric's units (accuracy: share)")
    equalise: Literal["steps", "flops", "time"] = Field(default="steps", description="what arms get equally; the baseline sets how much")
    step_seconds: dict[str, Number] = Field(default={}, description="arm -> measured seconds a step, for `equalise: time`")
    budgets: dict[str, Budget] = Field(description="how much to run: name -> budget; `small` is what verbs take without --budget")
    tuning: Tuning | None = Field(default=None, description="a search that every arm gets alike; null: none")
    sweep: Sweep | None = Field(default=None, description="a search over any fields; null: none")
    winners: dict[str, dict[str, Any]] = Field(default={}, description="arm -> tuned overrides, committed")
    grid: Grid | None = Field(default=None, exclude=True, description="crossed factors; they expand into `arms` and `factors`")
    factors: Factors = Field(default={}, description="arm -> factor -> level, of arms that are crossed; a grid fills it")

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, content: Any) -> Any:
        return expand(content)

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_usual(StudyConfig, dump(self), ("sweep",))

    @model_validator(mode="after")
    def _check(self) -> StudyConfig:
        if self.sweep is None and "families" not in self.model_fields_set:
            raise ValueError("families is missing; add it")
        if self.sweep is not None and self.sweep.arm is not None:
            self._known("sweep.arm", self.sweep.arm)
        for field, names in (("name", (self.name,)), ("budgets: a name", self.budgets)):
            for name in names:
                try:
                    folder_name(name)
                except ValueError as error:
                    raise ValueError(f"{field} {error}") from None
        for family, declared in self.families.items():
            for arms in declared.comparisons:
                for arm in arms:
                    self._known(f"families.{family}.{'contrasts' if len(arms) == 2 else 'interactions'}", arm)
            check_by(f"families.{family}.by", declared.by, declared.metric or self.metric)
        for name, budget in self.budgets.items():
            for arm in budget.arms or ():
                self._known(f"budgets.{name}.arms", arm)
        for arm in self.winners:
            self._known("winners", arm)
        for name in self.arms:
            if not name.strip() or not any(character.isprintable() for character in name.strip()):
                raise ValueError(f"arms: {name!r} is a blank name, which no table could show; give the arm a name")
            self._check_match(name)
        check_factors(self.factors, self.arms)
        return self

    @property
    def own_metrics(self) -> bool:
        """Whether some family of contrasts is judged by a metric of its own."""
        return any(family.metric for family in self.families.values())

    def search(self, budget: str) -> Tuning | Sweep | None:
        """What a budget searches before its main cells, with the budget's number of trials."""
        chosen = self.budgets[budget]
        declared: Tuning | Sweep | None = self.tuning if chosen.tune else self.sweep if chosen.sweep else None
        if declared is None or chosen.trials is None:
            return declared
        return declared.model_copy(update={"trials": chosen.trials})

    def _check_match(self, name: str) -> None:
        match = self.arms[name].match
        if match is None or not isinstance(match.target, str):
            return
        field, target = f"arms.{name}.match.{match.quantity}", match.target
        self._known(field, target)
        if self.arms[target].match is not None:
            itself = "itself" if target == name else "an arm that is matched too"
            raise ValueError(f"{field} = {target!r} is {itself}; match an arm without `match`, or a number")

    def _known(self, field: str, arm: str) -> None:
        if arm not in self.arms:
            raise ValueError(f"{field}: unknown arm {arm!r}{did_you_mean(arm, self.arms)}; arms are {', '.join(self.arms)}")
