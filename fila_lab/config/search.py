"""Searches that a study declares: `tuning`, one an arm by the study's metric, and `sweep`, over any fields, for any objectives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from fila_lab.config.base import Positive, Seed, Strict, did_you_mean, without_usual
from fila_lab.config.pruners import NoPruner, Pruner
from fila_lab.config.samplers import Named, check_sampler, name_of, sampler_arguments
from fila_lab.config.space import Dimension, Range, is_pair, parse_space

Direction = Literal["maximize", "minimize"]
COUNTED = ("flops", "parameters")
"""Costs with a closed form: FLOPs of a page and its question, and the model's parameters."""
MEASURED = {"latency": "latency_ms", "peak_memory": "peak_memory_mib"}
"""Costs that are measured -> their column in costs.json: milliseconds an image, MiB of training."""
COSTS = (*COUNTED, *MEASURED)


@dataclass(frozen=True)
class Objective:
    """What trials are compared in: a metric of validation items, or a cost."""

    name: str
    direction: Direction

    @property
    def kind(self) -> Literal["metric", "cost"]:
        return "cost" if self.name in COSTS else "metric"

    @property
    def measured(self) -> bool:
        """Whether it is a cost that must be measured."""
        return self.name in MEASURED

    def to_dict(self) -> dict[str, str]:
        """As `trials.json` keeps it."""
        return {**asdict(self), "kind": self.kind}


class SearchConfig(Strict):
    """What any search has: trials over a space, by a sampler, from a seed."""

    space: dict[str, Any] = Field(description="dotted path -> [a, b, c], {low, high, step | log}, or {if: ..., choices | low, high}")
    trials: Positive = Field(default=4, description="how many; a budget may say otherwise")
    sampler: Named = Field(default="tpe", description="a name (tpe, random, grid, nsga2, cmaes), or {name: ..., argument: value}")
    seed: Seed = Field(default=0, description="of the sampler")
    set: dict[str, Any] = Field(default={}, description="overrides of its trials")

    @cached_property
    def dimensions(self) -> dict[str, Dimension]:
        """The space, taken apart."""
        return parse_space(self.space)

    @property
    def conditional(self) -> bool:
        """Whether some field is searched under a condition."""
        return any(one.condition for one in self.dimensions.values())

    @property
    def sampler_name(self) -> str:
        return name_of(self.sampler)

    @property
    def sampler_arguments(self) -> dict[str, Any]:
        """Every argument of the sampler, as it is recorded."""
        return sampler_arguments(self.sampler, self.seed, self.trials, self.conditional)

    def _check_search(self) -> None:
        check_sampler("sampler", self.sampler)
        if self.sampler_name == "cmaes":
            for path, one in self.dimensions.items():
                if not isinstance(one, Range) or one.condition:
                    why = "a condition" if isinstance(one, Range) else "choices"
                    raise ValueError(f"sampler = 'cmaes' searches ranges alone, but space.{path} has {why}; choose tpe or nsga2")


class Tuning(SearchConfig):
    """One search, the same for every arm: trials, space, sampler and seed; value = the metric on validation items."""

    run_seed: Seed = Field(default=1000, description="seed of the tuning cells, apart from the study's seeds")
    run_seeds: tuple[Seed, ...] | None = Field(default=None, min_length=1, description="several of them: a trial's value is their mean")

    @field_validator("space")
    @classmethod
    def _ranges(cls, space: dict[str, Any]) -> dict[str, Any]:
        parse_space(space, pairs_are_ranges=True)
        return {path: [float(end) for end in one] if is_pair(one) else one for path, one in space.items()}

    @model_validator(mode="after")
    def _check(self) -> Tuning:
        if self.run_seeds is not None and "run_seed" in self.model_fields_set and self.run_seed != Tuning.model_fields["run_seed"].default:
            raise ValueError(f"run_seeds = {list(self.run_seeds)} stands beside run_seed = {self.run_seed}; give one of them")
        check_seeds("run_seeds", self.seeds)
        self._check_search()
        return self

    @property
    def batch(self) -> int:
        return 1

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.run_seeds or (self.run_seed,)

    @cached_property
    def dimensions(self) -> dict[str, Dimension]:
        return parse_space(self.space, pairs_are_ranges=True)

    @property
    def ranges(self) -> dict[str, Range]:
        """Of the fields that are searched over a range."""
        return {path: one for path, one in self.dimensions.items() if isinstance(one, Range)}

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_usual(Tuning, dump(self), ("run_seeds",))


class Confirm(Strict):
    """On which seeds the front's points are run as arms: the first so many of the budget, or these of them."""

    seeds: Positive | tuple[Seed, ...] = Field(description="a number, or a list of seeds")

    def of(self, budget: tuple[int, ...]) -> tuple[int, ...]:
        """The seeds, given the budget's."""
        return budget[: self.seeds] if isinstance(self.seeds, int) else self.seeds


class Sweep(SearchConfig):
    """A search over any fields, laid over one arm; one objective finds the best trial, several a front."""

    arm: str | None = Field(default=None, description="whose overrides the trials are laid over; null: the baseline's")
    objectives: tuple[str, ...] | dict[str, Direction] = Field(
        description=f"metrics of validation items, and costs ({', '.join(COSTS)}); a mapping says maximize or minimize"
    )
    trials: Positive = Field(default=60, description="how many; a budget may say otherwise")
    batch: Positive = Field(default=4, description="trials asked together: what makes a search repeatable whatever the workers")
    pruner: Pruner = Field(default=NoPruner(), description="a name (none, median, hyperband, ...), or {name: ..., argument: value}")
    run_seeds: tuple[Seed, ...] = Field(default=(1000,), min_length=1, description="of a trial's cells, apart from the budgets' seeds")
    confirm: Confirm | None = Field(default=None, description="the front's points become arms on these seeds; null: they do not")

    @field_validator("space")
    @classmethod
    def _parsed(cls, space: dict[str, Any]) -> dict[str, Any]:
        parse_space(space)
        return space

    @model_validator(mode="after")
    def _check(self) -> Sweep:
        _check_objectives(self.objectives)
        check_seeds("run_seeds", self.run_seeds)
        if self.confirm is not None and isinstance(self.confirm.seeds, tuple):
            check_seeds("confirm.seeds", self.confirm.seeds)
        self._check_search()
        if len(self.goals) > 1 and self.sampler_name == "cmaes":
            raise ValueError(f"sampler = 'cmaes' follows one objective, and there are {len(self.goals)}; choose nsga2 or tpe")
        if self.pruned:
            self._check_pruner()
        return self

    def _check_pruner(self) -> None:
        names = ", ".join(goal.name for goal in self.goals)
        if len(self.goals) > 1:
            raise ValueError(
                f"pruner = {self.pruner.name!r} stops trials by one objective, and there are {len(self.goals)} ({names}); set pruner: none"
            )
        if self.goals[0].kind == "cost":
            raise ValueError(f"pruner = {self.pruner.name!r} looks at validations, and the objective {names} is a cost; set pruner: none")
        if self.goals[0].direction == "minimize":
            raise ValueError(f"pruner = {self.pruner.name!r} stops trials that validate badly, and {names} is minimized; set pruner: none")
        if len(self.run_seeds) > 1:
            raise ValueError(
                f"pruner = {self.pruner.name!r} looks at one cell's validations, and run_seeds = {list(self.run_seeds)} makes "
                f"{len(self.run_seeds)} cells a trial; give one seed, or set pruner: none"
            )

    @cached_property
    def goals(self) -> tuple[Objective, ...]:
        """The objectives with their directions: a metric is maximized and a cost minimized unless it is said."""
        given: Mapping[str, Direction | None] = self.objectives if isinstance(self.objectives, dict) else dict.fromkeys(self.objectives)
        return tuple(Objective(name, said or ("minimize" if name in COSTS else "maximize")) for name, said in given.items())

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.run_seeds

    @property
    def pruned(self) -> bool:
        """Whether trials may be stopped early."""
        return self.pruner.name != "none"

    @property
    def runs_cells(self) -> bool:
        """Whether some objective needs a trained model."""
        return any(goal.kind == "metric" for goal in self.goals)


def check_seeds(field: str, seeds: tuple[int, ...]) -> None:
    """ValueError where a seed stands twice, or there is none."""
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(
            f"{field} = {list(seeds)}: {'give at least one seed' if not seeds else 'a seed appears twice; use different seeds'}"
        )


def _check_objectives(objectives: tuple[str, ...] | dict[str, Direction]) -> None:
    names = list(objectives)
    if not names:
        raise ValueError(f"objectives is empty; give metrics such as exact/reading, and costs: {', '.join(COSTS)}")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"objectives: {name!r} stands there twice; name each once")
        if name not in COSTS and "/" not in name:
            remedy = f"give costs ({', '.join(COSTS)}), or metrics such as exact/reading"
            raise ValueError(f"objectives: nobody measures {name!r}{did_you_mean(name, COSTS)}; {remedy}")
        if isinstance(objectives, dict) and name in COSTS and objectives[name] == "maximize":
            raise ValueError(f"objectives.{name} = 'maximize': {name} is a cost, and less is better; give minimize")
