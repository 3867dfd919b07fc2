"""An arm of a study as a run: layers of overrides, a matched width, and its share of the training budget. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fila_lab.config import Budget, ConfigError, RunConfig, StudyConfig, check_run, did_you_mean, resolve_run
from fila_lab.cost.closed.matching import Solution, amount, dial, require_known_cost, solve
from fila_lab.cost.closed.pages import page_training_flops

Overrides = Mapping[str, Any]


def budget_name(study: StudyConfig, name: str | None) -> str:
    """The budget that is meant: the one named, else `small`, else the only one of the study.

    Raises:
        ConfigError: it has several, and none is called small.
    """
    if name is not None:
        return name
    if "small" in study.budgets or len(study.budgets) == 1:
        return "small" if "small" in study.budgets else next(iter(study.budgets))
    names = ", ".join(study.budgets) or "none: the study has no budgets"
    raise ConfigError(f"--budget is missing, and study {study.name!r} has none called small; choose {names}")


def get_budget(study: StudyConfig, name: str) -> Budget:
    """A named budget of the study; ConfigError with the known names when there is none."""
    if name not in study.budgets:
        raise ConfigError(
            f"--budget {name!r} is unknown in study {study.name!r}{did_you_mean(name, study.budgets)}; choose {', '.join(study.budgets)}"
        )
    return study.budgets[name]


def baseline(study: StudyConfig) -> str:
    """The arm others are measured against: the first with role baseline, else the first arm."""
    return next((name for name, arm in study.arms.items() if arm.role == "baseline"), next(iter(study.arms)))


def resolve_arm(
    study: StudyConfig,
    budget: str,
    arm: str,
    seed: int,
    overrides: Overrides | None = None,
    tuned: Overrides | None = None,
    step_seconds: Mapping[str, float] | None = None,
    of_search: Overrides | None = None,
) -> tuple[RunConfig, Solution | None]:
    """One arm's run with a seed, and how its width was matched where it is.

    Later layers win: preset, study.set, budget.set, of_search (the `set` of the search whose trial it is), arm.set, tuned, overrides; then
    `match`, then `equalise`. step_seconds: arm -> measured seconds a step, for `equalise: time`; None takes the study's own.
    Raises ConfigError naming study and arm.
    """
    below: list[Overrides] = [study.set, get_budget(study, budget).set, of_search or {}]
    above: list[Overrides] = [tuned or {}, overrides or {}, {"seed": seed}]
    try:
        for layer in (*below, study.arms[arm].set, *above[:2]):
            if "seed" in layer:
                raise ConfigError(f"seed = {layer['seed']!r} is overridden by each cell's own; list seeds in budgets.{budget}.seeds")
        config, solution = _matched(study, arm, below, above)
        if study.equalise == "steps" or arm == baseline(study):
            return config, solution
        reference, _ = _matched(study, baseline(study), below, above)
        if reference.train.stages is not None or config.train.stages is not None:
            raise ConfigError(
                f"equalise = {study.equalise!r} sets train.steps, but training stages have steps of their own; use equalise: steps, and "
                "give each arm's stages the steps it is to have"
            )
        return _equalised(study, arm, config, reference, step_seconds), solution
    except ConfigError as error:
        raise ConfigError(f"study {study.name!r}, arm {arm!r}: {error}") from error


def _matched(study: StudyConfig, arm: str, below: list[Overrides], above: list[Overrides]) -> tuple[RunConfig, Solution | None]:
    """The arm's layers resolved, and its `match` solved. A target arm stands under the same overrides, without its own tuned values:
    those are about optimisation, and do not change what a page costs."""
    declared = study.arms[arm]
    config = resolve_run(study.preset, *below, declared.set, *above)
    match = declared.match
    if match is None:
        return config, None
    path = dial(config)
    for where, layer in (("set", declared.set), ("--set or tuned", {key: value for values in above for key, value in values.items()})):
        if _names(layer, path):
            raise ConfigError(f"match.{match.quantity} solves {path}, but {where} fixes it; leave out one of them")
    if isinstance(match.target, str):
        wanted = amount(resolve_run(study.preset, *below, study.arms[match.target].set, *above), match.quantity)
        target = match.target
    else:
        wanted, target = match.target, f"{match.target:g}"
    config, solution = solve(config, match.quantity, wanted, target, match.tolerance)
    check_run(config)
    return config, solution


def _names(layer: Overrides, path: str) -> bool:
    """Whether overrides set a path, dotted or nested."""
    room, _, field = path.partition(".")
    inner = layer.get(room)
    return path in layer or (isinstance(inner, Mapping) and field in inner)


def _equalised(
    study: StudyConfig, arm: str, config: RunConfig, reference: RunConfig, step_seconds: Mapping[str, float] | None
) -> RunConfig:
    """The steps that cost what the baseline's steps cost, in training FLOPs (nothing cached) or measured seconds."""
    if study.equalise == "flops":
        for run in (reference, config):
            require_known_cost(run)
        ratio = page_training_flops(reference) / page_training_flops(config)
    else:
        seconds, first = study.step_seconds if step_seconds is None else step_seconds, baseline(study)
        missing = [f"step_seconds.{name}" for name in (first, arm) if seconds.get(name, 0) <= 0]
        if missing:
            raise ConfigError(
                f"equalise = 'time' needs {' and '.join(missing)}, seconds a step, and no result folder holds timed cells of every arm; "
                "run the study with equalise: steps first, or give step_seconds, or use equalise: flops"
            )
        ratio = seconds[first] / seconds[arm]
    steps = max(1, round(config.train.steps * ratio))
    return config.model_copy(update={"train": config.train.model_copy(update={"steps": steps})})
