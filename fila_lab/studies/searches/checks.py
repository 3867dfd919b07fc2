"""What a search cannot be, told before anything is computed. Imports no torch and no Optuna."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fila_lab.config import ConfigError, RunConfig, StudyConfig, Sweep, Tuning
from fila_lab.config.checkpoints import check_checkpoints
from fila_lab.config.loading import check_value
from fila_lab.config.metrics import check_metric
from fila_lab.config.overrides import flat_overrides
from fila_lab.config.pruners import pruner_arguments
from fila_lab.config.search import COUNTED
from fila_lab.config.space import Choices, Parameters, Space, choice_text, is_pair
from fila_lab.config.space_points import check_fields, combinations, examples, grid_size
from fila_lab.config.stage_patterns import check_patterns
from fila_lab.config.strategies import known_cost
from fila_lab.studies.arms import Overrides, resolve_arm
from fila_lab.studies.rows import check_rows, further_scores
from fila_lab.studies.searches.trials import sweep_run, swept_arm, trial_name, tuning_run

TRIES = 128
"""Combinations that are tried before a value is taken for impossible."""
GRID = 1_000_000
"""The most combinations of a grid, all of which are looked through before the first is run."""
LOOKED_AT = 4096
"""So many combinations are listed, to draw from them; of more, each field's value is drawn."""


def check_search(
    study: StudyConfig, budget: str, arms: tuple[str, ...], overrides: Overrides, step_seconds: Mapping[str, float] | None
) -> None:
    """Refuse a budget's search that cannot work.

    Raises:
        ConfigError: the field, its value, and a remedy.
    """
    chosen, where = study.budgets[budget], f"study {study.name!r}, budgets.{budget}"
    if chosen.tune and chosen.sweep:
        raise ConfigError(f"{where}: tune and sweep are both true, and a budget has one search; give each a budget of its own")
    for verb, section in (("tune", "tuning"), ("sweep", "sweep")):
        if getattr(chosen, verb) and getattr(study, section) is None:
            raise ConfigError(f"{where}.{verb} is true, but the study has no `{section}` section; add one, or set {verb}: false")
    search = study.search(budget)
    if search is None:
        if chosen.trials is not None:
            raise ConfigError(f"{where}.trials = {chosen.trials}, but the budget searches nothing; set tune or sweep, or leave trials out")
        return
    section = "tuning" if isinstance(search, Tuning) else "sweep"
    _check_seeds(search, section, where, chosen.seeds)
    _check_fixed(search, budget, overrides)
    if search.sampler_name == "grid" and (size := grid_size(search.dimensions, search.trials)) > GRID:
        remedy = "give ranges a larger step, or list values; ask for fewer trials; or choose random"
        raise ConfigError(f"{section}.sampler = 'grid': {size:,} combinations are more than {GRID:,}; {remedy}")
    if isinstance(search, Tuning):
        _check_tuning(study, budget, search, arms, overrides, step_seconds)
    else:
        _check_sweep(study, budget, search, overrides, step_seconds)


def _check_seeds(search: Tuning | Sweep, section: str, where: str, seeds: tuple[int, ...]) -> None:
    if both := sorted(set(search.seeds) & set(seeds)):
        several = isinstance(search, Sweep) or search.run_seeds is not None
        field = f"{section}.run_seeds = {list(search.seeds)}" if several else f"tuning.run_seed = {search.seeds[0]}"
        what = "tuned arms are" if section == "tuning" else "the front is"
        raise ConfigError(f"{field}: {both[0]} is also in {where}.seeds; {what} evaluated on fresh seeds")
    if not isinstance(search, Sweep) or search.confirm is None:
        return
    wanted = search.confirm.seeds
    if isinstance(wanted, int) and wanted > len(seeds):
        raise ConfigError(f"sweep.confirm.seeds = {wanted}, but {where}.seeds has {len(seeds)}; list more seeds there, or confirm on fewer")
    if not isinstance(wanted, int) and (other := [seed for seed in wanted if seed not in seeds]):
        raise ConfigError(f"sweep.confirm.seeds = {list(wanted)}: {other[0]} is not in {where}.seeds; add it there, or leave it out")


def _check_fixed(search: Tuning | Sweep, budget: str, overrides: Overrides) -> None:
    """Refuse overrides of the command line, and of the search itself, that fix what is searched."""
    verb = "tunes" if isinstance(search, Tuning) else "sweeps"
    for path, value in flat_overrides(overrides, RunConfig).items():
        if any(_within(path, searched) or _within(searched, path) for searched in search.space):
            remedy = f"set {verb[:-1]}: false, or leave it out"
            raise ConfigError(f"--set {path}={value} fixes what budget {budget!r} {verb}; {remedy}")
    section = "tuning" if isinstance(search, Tuning) else "sweep"
    for path in flat_overrides(search.set, RunConfig, f"{section}.set"):
        if path in search.space:
            raise ConfigError(f"{section}.set.{path} stands in {section}.space too; leave one of them out")


def _check_tuning(
    study: StudyConfig, budget: str, tuning: Tuning, arms: tuple[str, ...], overrides: Overrides, step_seconds: Mapping[str, float] | None
) -> None:
    """Refuse a range whose ends, or a choice whose values, some arm cannot run with: trials would fail, hours later."""
    check_fields(tuning.dimensions, "tuning.space")
    for path, values in examples(tuning.dimensions).items():
        pair = is_pair(tuning.space[path])
        shown = f"[{values[0]:g}, {values[1]:g}]" if pair else choice_text(tuning.space[path])
        for value in values:
            for arm in arms:
                try:
                    tuning_run(study, budget, arm, {**_under(tuning.dimensions, path), path: value}, overrides, step_seconds)
                except ConfigError as error:
                    remedy = "give a value that every arm can run with, or compare the values as arms"
                    if pair:
                        remedy = (
                            "the search draws any number between them, with a fraction: name a field and ends that take them all, "
                            "give {low: ..., high: ...} or a list of three values or more, or compare the values as arms"
                        )
                    raise ConfigError(f"tuning.space.{path} = {shown}: {error}; {remedy}") from error


def _under(space: Space, path: str) -> Parameters:
    """The first values under which a field is searched."""
    found: Parameters = {}
    for other, values in space[path].condition.items():
        found |= {**_under(space, other), other: values[0]}
    return found


def _check_sweep(study: StudyConfig, budget: str, sweep: Sweep, overrides: Overrides, step_seconds: Mapping[str, float] | None) -> None:
    _check_arms(study, budget, sweep)
    base, _ = resolve_arm(study, budget, swept_arm(study, sweep), sweep.seeds[0], overrides, {}, step_seconds, sweep.set)
    check_fields(sweep.dimensions, "sweep.space")
    for path, values in examples(sweep.dimensions).items():
        for value in values:
            check_value(base, path, value, f"sweep.space.{path} = {choice_text(sweep.space[path])}")

    def attempt(parameters: Parameters) -> RunConfig:
        run = sweep_run(study, budget, sweep, 0, parameters, overrides, step_seconds)
        check_possible(run)
        return run

    for run in (base, *_possible_runs(sweep.dimensions, attempt)):
        _check_objectives(sweep, run)
        if sweep.pruned:
            if run.train.stages is not None:
                raise ConfigError(
                    f"sweep.pruner = {sweep.pruner.name!r} compares trials at the steps of one fit, and train.stages are several; set "
                    "pruner: none"
                )
            try:
                pruner_arguments(sweep.pruner, run.train.steps, run.train.validate_every)
            except ConfigError as error:
                raise ConfigError(f"sweep.{error} in sweep.set, or set pruner: none") from None


def check_possible(run: RunConfig) -> None:
    """Refuse a run whose checkpoints, patterns of parameters or rows do not fit it.

    Raises:
        ConfigError: what does not fit.
    """
    check_checkpoints(run)
    check_patterns(run)
    check_rows(run)


def _check_arms(study: StudyConfig, budget: str, sweep: Sweep) -> None:
    for arm in study.arms:
        if arm.removeprefix("trial-").isdigit() and arm == trial_name(int(arm.removeprefix("trial-"))):
            raise ConfigError(f"study {study.name!r}, arms.{arm}: a sweep names the front's points so; give the arm another name")
    if study.equalise == "time":
        raise ConfigError(
            "equalise = 'time' needs the seconds a step takes, and trials of a sweep were never timed; use equalise: steps or flops"
        )
    if study.equalise == "flops" and any(_within(path, "train.steps") for path in sweep.space):
        raise ConfigError(
            "sweep.space.train.steps: equalise = 'flops' sets the steps of every arm; use equalise: steps, or leave the field out"
        )
    match = study.arms[swept_arm(study, sweep)].match
    dials = ("fusion.hidden", "geometry.vit_scale")
    if match is not None and (dial := next((path for path in sweep.space if path in dials), None)):
        arm = swept_arm(study, sweep)
        raise ConfigError(f"sweep.space.{dial}: match.{match.quantity} of arm {arm!r} solves it; sweep another arm, or leave the field out")


def _check_objectives(sweep: Sweep, run: RunConfig) -> None:
    for goal in sweep.goals:
        if goal.kind == "metric":
            check_metric("sweep.objectives", goal.name, run, validation=True, further=further_scores(run, "val"))
        elif goal.name in COUNTED and not known_cost(run.fusion):
            raise ConfigError(
                f"sweep.objectives = {goal.name!r}: no closed form counts fusion.name = {run.fusion.name!r}; take latency or peak_memory, "
                "which are measured, or leave that fusion out of the space"
            )


def _possible_runs(space: Space, attempt: Callable[[Parameters], RunConfig]) -> Iterator[RunConfig]:
    """For every choice, and both ends of every range, a run of some combination that has it.

    Raises:
        ConfigError: a value with which no combination can run, or a space of which none can.
    """
    known: dict[str, RunConfig | ConfigError] = {}

    def tried(parameters: Parameters) -> RunConfig | ConfigError:
        key = choice_text(parameters)
        if key not in known:
            try:
                known[key] = attempt(parameters)
            except ConfigError as error:
                known[key] = error
        return known[key]

    dead: list[tuple[str, Any, int, ConfigError]] = []
    for path, values in examples(space).items():
        for value in values:
            outcomes = [tried(parameters) for parameters in _one_after_another(space, path, value, tried)]
            last = outcomes[-1]
            if isinstance(last, RunConfig):
                yield last
            else:
                dead.append((path, value, len(outcomes), outcomes[0]))  # type: ignore[arg-type]
    if not dead:
        return
    path, value, count, reason = dead[0]
    if not any(isinstance(one, RunConfig) for one in known.values()):
        raise ConfigError(f"sweep.space: none of the {len(known)} combinations that were tried can run; the first fails so: {reason}")
    what = "combination" if isinstance(space[path], Choices) else "combination at this end of the range"
    raise ConfigError(
        f"sweep.space.{path}: with {choice_text(value)} no {what} can run ({count} were tried); the first fails so: {reason}; leave it "
        "out, or change what stands against it"
    )


def _one_after_another(space: Space, path: str, value: Any, tried: Callable[[Parameters], RunConfig | ConfigError]) -> Iterator[Parameters]:
    """Combinations that have a value, until one can run: the first of the space's order, then others in an order drawn once for all."""
    above = {other: (one,) for other, one in _under(space, path).items()}
    first = next(combinations(space, {**examples(space), **above, path: (value,)}))
    yield first
    if isinstance(tried(first), RunConfig):
        return
    every = {**examples(space), **_all_under(space, path), path: (value,)}
    for parameters in _some(space, every, first):
        yield parameters
        if isinstance(tried(parameters), RunConfig):
            return


def _some(space: Space, values: Mapping[str, Sequence[Any]], first: Parameters) -> Iterator[Parameters]:
    """Further combinations in a fixed order: of many, TRIES drawn over all of them, for the first thousands are alike in their first
    fields."""
    stream = random.Random(0)
    if math.prod(map(len, values.values())) <= LOOKED_AT:
        others = [one for one in combinations(space, values) if one != first]
        yield from stream.sample(others, min(TRIES - 1, len(others)))
        return
    for _ in range(TRIES - 1):
        yield next(combinations(space, {path: (stream.choice(each),) for path, each in values.items()}))


def _all_under(space: Space, path: str) -> dict[str, tuple[Any, ...]]:
    """All values of the fields above it under which a field is searched."""
    found: dict[str, tuple[Any, ...]] = {}
    for other, values in space[path].condition.items():
        for each, allowed in ({other: values} | _all_under(space, other)).items():
            both = tuple(value for value in found.get(each, allowed) if choice_text(value) in map(choice_text, allowed))
            found[each] = both or allowed
    return found


def _within(path: str, other: str) -> bool:
    return path == other or path.startswith(f"{other}.")
