"""Samplers of searches, by name with the arguments a study file may give. Torch-free and Optuna-free.

Every argument has its value here: defaults of Optuna change between versions, and a search would change with them.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationError

from fila_lab.config.base import Flag, Number, Positive, Strict, did_you_mean
from fila_lab.config.errors import config_error

Share = Annotated[Number, Field(ge=0, le=1)]


class RandomArguments(Strict):
    """Draws at random; and the grid, whose points are known."""


class TpeArguments(Strict):
    """Tree-structured Parzen estimator."""

    n_startup_trials: Positive | None = Field(default=None, description="random trials first; null: a third of the trials, at least 2")
    n_ei_candidates: Positive = Field(default=24, description="points of which the best is tried")
    multivariate: Flag = Field(default=True, description="fields are drawn together, not one by one")
    group: Flag | None = Field(
        default=None, description="fields of one condition are drawn together; null: where some field is searched under a condition"
    )
    constant_liar: Flag = Field(default=False, description="trials under way count as bad ones")


class NsgaArguments(Strict):
    """NSGA-II."""

    population_size: Annotated[int, Field(strict=True, ge=2, le=10000)] | None = Field(
        default=None, description="trials of a generation; null: a quarter of the trials, at least 4"
    )
    mutation_prob: Share | None = Field(default=None, description="of a field to be drawn anew; null: one over the number of fields")
    crossover_prob: Share = Field(default=0.9, description="of a child to have two parents")
    swapping_prob: Share = Field(default=0.5, description="of a field to come from the other parent")


class CmaArguments(Strict):
    """CMA-ES, of ranges alone."""

    n_startup_trials: Positive = Field(default=1, description="random trials first")
    sigma0: Annotated[Number, Field(gt=0)] | None = Field(default=None, description="first step size; null: a sixth of the smallest range")
    popsize: Positive | None = Field(default=None, description="trials of a generation; null: 4 + 3 ln(number of fields)")
    consider_pruned_trials: Flag = Field(default=False, description="pruned trials count by their last validation")
    use_separable_cma: Flag = Field(default=False, description="only the diagonal of the covariance is learned")
    with_margin: Flag = Field(default=False, description="keeps a chance for every whole number")
    lr_adapt: Flag = Field(default=False, description="its own learning rate adapts")


SAMPLERS: dict[str, type[Strict]] = {
    "tpe": TpeArguments,
    "random": RandomArguments,
    "grid": RandomArguments,
    "nsga2": NsgaArguments,
    "cmaes": CmaArguments,
}

Named = str | dict[str, Any]
"""A name, or `{name: ..., argument: ...}`."""


def name_of(named: Named) -> str:
    """The name alone."""
    return named if isinstance(named, str) else str(named["name"])


def options_of(named: Named) -> dict[str, Any]:
    """The arguments that are given."""
    return {} if isinstance(named, str) else {key: value for key, value in named.items() if key != "name"}


def check_sampler(field: str, named: Named) -> None:
    """Refuse an unknown sampler, and arguments it does not take.

    Raises:
        ValueError: field, value and remedy.
    """
    if isinstance(named, dict) and not isinstance(named.get("name"), str):
        raise ValueError(f"{field} = {named}: name is missing; give {{name: ..., argument: value}}")
    if (name := name_of(named)) not in SAMPLERS:
        raise ValueError(f"{field} = {name!r} is unknown{did_you_mean(name, SAMPLERS)}; choose {', '.join(SAMPLERS)}")
    model = SAMPLERS[name]
    options = options_of(named)
    if unknown := [key for key in options if key not in model.model_fields]:
        known = ", ".join(model.model_fields) or "none"
        raise ValueError(
            f"{field}.{unknown[0]}: {name} has no such argument{did_you_mean(unknown[0], model.model_fields)}; it takes {known}"
        )
    try:
        model.model_validate(options)
    except ValidationError as error:
        raise ValueError(f"{field}.{config_error(error, model)}") from None


def sampler_arguments(named: Named, seed: int, trials: int, conditional: bool) -> dict[str, Any]:
    """Every argument of a search's sampler, as it is recorded."""
    name = name_of(named)
    given = SAMPLERS[name].model_validate(options_of(named)).model_dump()
    if name == "tpe":
        given["n_startup_trials"] = given["n_startup_trials"] or max(2, trials // 3)
        given["group"] = conditional if given["group"] is None else given["group"]
    if name == "nsga2":
        given["population_size"] = given["population_size"] or max(4, trials // 4)
    return {"seed": seed, **given}
