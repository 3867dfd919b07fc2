"""What a study will run: a deterministic list of cells, from the study file, a budget and overrides. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fila_lab.config import Budget, ConfigError, RunConfig, StudyConfig, Sweep, Tuning, config_hash
from fila_lab.config.checkpoints import check_checkpoints
from fila_lab.config.contrasts import check_contrasts
from fila_lab.config.metrics import check_margin, check_metric
from fila_lab.config.schemas import PLAN
from fila_lab.config.space import Parameters
from fila_lab.config.space_points import space_size
from fila_lab.config.stage_patterns import check_patterns
from fila_lab.config.study import FRONT, Phase
from fila_lab.cost.closed.matching import Solution
from fila_lab.studies.arms import Overrides, budget_name, get_budget, resolve_arm
from fila_lab.studies.identity import cell_ids
from fila_lab.studies.rows import check_rows, further_scores
from fila_lab.studies.searches.checks import check_search
from fila_lab.studies.searches.trials import with_trials


@dataclass(frozen=True)
class CellSpec:
    """One unit of work: an arm with a seed (phase `main`), or a search's trial with a seed (phase `tuning`, `sweep`)."""

    id: str
    arm: str
    seed: int
    phase: Phase
    trial: int | None
    config: RunConfig

    def to_dict(self) -> dict[str, Any]:
        """As `plan.json` keeps it."""
        return {
            "id": self.id,
            "arm": self.arm,
            "seed": self.seed,
            "phase": self.phase,
            "trial": self.trial,
            "config": self.config.model_dump(mode="json"),
        }


@dataclass(frozen=True)
class Plan:
    """The cells of a study under a budget. search: what it searches first. `provisional`: that has not ended, so that main cells of a
    budget that tunes stand with the committed settings (their number is right, their ids will change), and a front's are not there.
    matches: how matched arms were solved; step_seconds: what `equalise: time` was resolved with."""

    study: StudyConfig
    study_hash: str
    budget: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    cells: tuple[CellSpec, ...]
    search: Tuning | Sweep | None = None
    provisional: bool = False
    overrides: dict[str, Any] = field(default_factory=dict)
    matches: dict[str, Solution] = field(default_factory=dict)
    step_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def trials(self) -> int:
        """Of each search that the budget asks for; a grid may have fewer."""
        if self.search is None:
            return 0
        size = space_size(self.search.dimensions) if self.search.sampler_name == "grid" else math.inf
        return int(min(self.search.trials, size))

    @property
    def tuning_cells(self) -> int:
        """How many cells its tuning asks for, all arms together."""
        return self.trials * len(self.arms) * len(self.search.seeds) if isinstance(self.search, Tuning) else 0

    @property
    def sweep_cells(self) -> int:
        """How many cells its sweep asks for, if no two trials are alike."""
        return self.trials * len(self.search.seeds) if isinstance(self.search, Sweep) and self.search.runs_cells else 0

    @property
    def families(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """The comparisons (two arms, or four) all of whose arms this budget runs, by family."""
        return {
            name: kept
            for name, family in self.study.families.items()
            if (kept := tuple(arms for arms in family.comparisons if set(arms) <= set(self.arms)))
        }

    def head(self) -> dict[str, Any]:
        """As `plan.json` keeps it, cells apart."""
        return {
            "schema": PLAN,
            "study": self.study.model_dump(mode="json"),
            "study_hash": self.study_hash,
            "budget": self.budget,
            "overrides": dict(self.overrides),
            "matches": {arm: solution.to_dict() for arm, solution in self.matches.items()},
            "step_seconds": dict(self.step_seconds),
        }

    def to_dict(self) -> dict[str, Any]:
        """As `plan.json` keeps it."""
        return {**self.head(), "cells": [cell.to_dict() for cell in self.cells]}


def study_hash(study: StudyConfig) -> str:
    """16 hex digits of what was declared in advance. Winners and a front stay out: they are results, and stand in every cell's config; so
    do a `match`, `interactions`, `metric`, `by` and `factors` that are not there."""
    declared = study.model_dump(mode="json", exclude={"winners"} if study.factors else {"winners", "factors"})
    declared["arms"] = {name: arm for name, arm in declared["arms"].items() if arm["role"] != FRONT}
    for arm in declared["arms"].values():
        if arm["match"] is None:
            del arm["match"]
    for family in declared["families"].values():
        if not family["interactions"]:
            del family["interactions"]
        for absent in ("metric", "by"):
            if not family[absent]:
                del family[absent]
    return config_hash(declared)


def make_plan(
    study: StudyConfig,
    budget: str | None = None,
    overrides: Overrides | None = None,
    winners: Mapping[str, Overrides] | None = None,
    step_seconds: Mapping[str, float] | None = None,
    front: Mapping[str, Parameters] | None = None,
) -> Plan:
    """Every cell of a study under a budget, arms in the order of the file, then those of the front; seeds within an arm.

    budget: its name; None takes `small`, or the only one there is. `winners` (arm -> tuned overrides) are those this run has just found;
    None takes the committed ones. `step_seconds` (arm -> seconds) are those measured for `equalise: time`; None takes the study's own.
    front: arm -> what a sweep has chosen for it; None while that is not known.

    Raises:
        ConfigError: anything that cannot work.
    """
    budget = budget_name(study, budget)
    chosen = get_budget(study, budget)
    check_contrasts(study)
    arms = tuple(arm for arm in study.arms if chosen.arms is None or arm in chosen.arms)
    _check_budget(study, budget, chosen, overrides or {})
    check_search(study, budget, arms, overrides or {}, step_seconds)
    search = study.search(budget)
    declared, found = study, study.winners if winners is None else winners
    seeds = dict.fromkeys(arms, chosen.seeds)
    if isinstance(search, Sweep) and search.confirm is not None and front:
        study = with_trials(study, search, front)
        seeds |= dict.fromkeys(front, search.confirm.of(chosen.seeds))
    cells, matches = [], {}
    for arm in seeds:
        first, solution = resolve_arm(study, budget, arm, chosen.seeds[0], overrides, found.get(arm, {}), step_seconds)
        runs = {run.pair: run for run in map(first.with_seed, seeds[arm])}
        try:
            for run in runs.values():
                check_checkpoints(run)
                check_patterns(run)
            check_rows(first)
        except ConfigError as error:
            raise ConfigError(f"study {study.name!r}, arm {arm!r}: {error}") from error
        if study.arms[arm].role == "capacity" and first.fusion.control != "blank":
            raise ConfigError(
                f"study {study.name!r}, arms.{arm}.role = 'capacity' is a fusion's with nothing to look at, but its fusion.control is "
                f"{first.fusion.control!r}; set fusion.control=blank, or choose another role"
            )
        if solution is not None:
            matches[arm] = solution
        for seed, name in cell_ids(first, seeds[arm]).items():
            cells.append(CellSpec(name, arm, seed, "main", None, first.with_seed(seed)))
    _check_distinct(cells)
    _check_metrics(study, cells, chosen.tune)
    return Plan(
        study=study,
        study_hash=study_hash(declared),
        budget=budget,
        arms=tuple(seeds),
        seeds=chosen.seeds,
        cells=tuple(cells),
        search=search,
        provisional=(chosen.tune and winners is None) or (chosen.sweep and front is None),
        overrides=dict(overrides or {}),
        matches=matches,
        step_seconds=dict(study.step_seconds if step_seconds is None else step_seconds),
    )


def trial_cells(run: RunConfig, arm: str, phase: Phase, trial: int, seeds: Iterable[int]) -> tuple[CellSpec, ...]:
    """The cells of a search's trial: its run with each of the search's seeds."""
    named = cell_ids(run, seeds)
    return tuple(CellSpec(name, arm, seed, phase, trial, run.with_seed(seed)) for seed, name in named.items())


def _check_budget(study: StudyConfig, name: str, budget: Budget, overrides: Overrides) -> None:
    where = f"study {study.name!r}, budgets.{name}"
    if len(set(budget.seeds)) != len(budget.seeds):
        raise ConfigError(f"{where}.seeds = {list(budget.seeds)}: a seed appears twice; use different seeds")
    if "seed" in overrides:
        raise ConfigError(f"--set seed={overrides['seed']} would give every cell one seed; edit {where}.seeds instead")
    for arm in budget.arms or ():
        if budget.arms is not None and budget.arms.count(arm) > 1:
            raise ConfigError(f"{where}.arms: {arm!r} stands there twice; name each arm once")
    if budget.arms is not None and not budget.arms:
        raise ConfigError(f"{where}.arms is empty; list arms, or leave it out for all of them")
    for arm in study.arms:
        if study.arms[arm].role == FRONT:
            raise ConfigError(f"study {study.name!r}, arms.{arm}.role = {FRONT!r} is that of arms which a sweep finds; leave role out")


def _check_distinct(cells: list[CellSpec]) -> None:
    seen: dict[str, CellSpec] = {}
    for cell in cells:
        other = seen.setdefault(cell.id, cell)
        if other is not cell:
            raise ConfigError(f"arms {other.arm!r} and {cell.arm!r} resolve to the same run; make them differ, or remove one")


def _check_metrics(study: StudyConfig, cells: list[CellSpec], tunes: bool) -> None:
    """Refuse a metric that some arm it judges cannot give, and a margin in another unit: hours before a report would."""
    where = f"study {study.name!r}"
    runs = {cell.arm: cell.config for cell in cells}
    asked = {"metric": (study.metric, list(runs))}
    for name, family in study.families.items():
        if family.metric is not None:
            judged = [arm for arms in family.comparisons if set(arms) <= set(runs) for arm in arms]
            asked[f"families.{name}.metric"] = (family.metric, list(dict.fromkeys(judged)) or list(runs)[:1])
    for path, (metric, arms) in asked.items():
        for arm in arms:
            try:
                check_metric(path, metric, runs[arm], further=further_scores(runs[arm], "test"))
                if tunes and path == "metric":
                    check_metric(path, metric, runs[arm], validation=True, further=further_scores(runs[arm], "val"))
            except ConfigError as error:
                raise ConfigError(f"{where}, arm {arm!r}: {error}") from None
    try:
        check_margin(study.margin, [metric for metric, _ in asked.values()])
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
