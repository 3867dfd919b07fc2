"""What a study will run: a deterministic list of cells, from the study file, a budget and overrides. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fila_lab.config import Budget, ConfigError, RunConfig, StudyConfig, config_hash
from fila_lab.config.checkpoints import check_checkpoints
from fila_lab.config.contrasts import check_contrasts
from fila_lab.config.files import default_cache
from fila_lab.config.metrics import check_margin, check_metric
from fila_lab.config.schemas import PLAN
from fila_lab.config.study import Phase
from fila_lab.config.suites import SEAM
from fila_lab.cost.closed.matching import Solution
from fila_lab.studies.arms import Overrides, budget_name, get_budget, resolve_arm
from fila_lab.studies.identity import cell_id, cell_ids, suites_of
from fila_lab.studies.rows import check_rows


@dataclass(frozen=True)
class CellSpec:
    """One unit of work: an arm with a seed (phase `main`) or with a tuning trial (phase `tuning`)."""

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
    """The cells of a study under a budget. `provisional`: the budget tunes and the winners are not known yet, so the main
    cells stand with the committed settings; their number is right, their ids will change. matches: how matched arms were solved;
    step_seconds: what `equalise: time` was resolved with."""

    study: StudyConfig
    study_hash: str
    budget: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    cells: tuple[CellSpec, ...]
    trials: int = 0
    provisional: bool = False
    overrides: dict[str, Any] = field(default_factory=dict)
    matches: dict[str, Solution] = field(default_factory=dict)
    step_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def tuning_cells(self) -> int:
        """How many tuning trials the budget asks for, all arms together."""
        return self.trials * len(self.arms)

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
    """16 hex digits of what was declared in advance. Winners stay out: they are a result, and stand in every cell's config; so do a
    `match`, `interactions`, `metric`, `by` and `factors` that are not there."""
    declared = study.model_dump(mode="json", exclude={"winners"} if study.factors else {"winners", "factors"})
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
) -> Plan:
    """Every cell of a study under a budget, arms in the order of the file, seeds within an arm.

    budget: its name; None takes `small`, or the only one there is. `winners` (arm -> tuned overrides) are those this run has just found;
    None takes the committed ones. `step_seconds` (arm -> seconds) are those measured for `equalise: time`; None takes the study's own.

    Raises:
        ConfigError: anything that cannot work.
    """
    budget = budget_name(study, budget)
    chosen = get_budget(study, budget)
    check_contrasts(study)
    arms = tuple(arm for arm in study.arms if chosen.arms is None or arm in chosen.arms)
    _check_budget(study, budget, chosen, overrides or {})
    if chosen.tune:
        _check_space(study, budget, arms, overrides or {}, step_seconds)
    found = study.winners if winners is None else winners
    cells, matches = [], {}
    for arm in arms:
        first, solution = resolve_arm(study, budget, arm, chosen.seeds[0], overrides, found.get(arm, {}), step_seconds)
        try:
            check_checkpoints(first)
            check_rows(first)
        except ConfigError as error:
            raise ConfigError(f"study {study.name!r}, arm {arm!r}: {error}") from error
        if solution is not None:
            matches[arm] = solution
        for seed, name in cell_ids(first, chosen.seeds).items():
            cells.append(CellSpec(name, arm, seed, "main", None, first.model_copy(update={"seed": seed})))
    _check_distinct(cells)
    _check_metrics(study, cells, chosen.tune)
    return Plan(
        study=study,
        study_hash=study_hash(study),
        budget=budget,
        arms=arms,
        seeds=chosen.seeds,
        cells=tuple(cells),
        trials=study.tuning.trials if chosen.tune and study.tuning is not None else 0,
        provisional=chosen.tune and winners is None,
        overrides=dict(overrides or {}),
        matches=matches,
        step_seconds=dict(study.step_seconds if step_seconds is None else step_seconds),
    )


def tuning_cell(
    study: StudyConfig,
    budget: str,
    arm: str,
    trial: int,
    values: Overrides,
    overrides: Overrides | None = None,
    step_seconds: Mapping[str, float] | None = None,
) -> CellSpec:
    """The cell of one tuning trial: the arm with `values` (dotted path -> value from tuning.space) and tuning.run_seed."""
    if study.tuning is None:
        raise ConfigError(f"study {study.name!r}: there is no `tuning` section to take trials from; add one, or set tune: false")
    config, _ = resolve_arm(study, budget, arm, study.tuning.run_seed, overrides, values, step_seconds, tuning=True)
    return CellSpec(cell_id(config), arm, config.seed, "tuning", trial, config)


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
    if not budget.tune:
        return
    if study.tuning is None:
        raise ConfigError(f"{where}.tune is true, but the study has no `tuning` section; add one, or set tune: false")
    if study.tuning.run_seed in budget.seeds:
        raise ConfigError(f"tuning.run_seed = {study.tuning.run_seed} is also in {where}.seeds; tuned arms are evaluated on fresh seeds")
    for path, (low, high) in study.tuning.space.items():
        if not 0 < low < high:
            raise ConfigError(f"tuning.space.{path} = [{low:g}, {high:g}]: give 0 < low < high (the search is on a log scale)")
        if path in overrides:
            raise ConfigError(f"--set {path}={overrides[path]} fixes what budget {name!r} tunes; set tune: false, or leave it out")


def _check_space(
    study: StudyConfig, budget: str, arms: tuple[str, ...], overrides: Overrides, step_seconds: Mapping[str, float] | None
) -> None:
    """Refuse a range whose ends some arm cannot run with: trials would fail, hours later."""
    assert study.tuning is not None
    for path, (low, high) in study.tuning.space.items():
        for end in (low, high):
            for arm in arms:
                try:
                    resolve_arm(study, budget, arm, study.tuning.run_seed, overrides, {path: float(end)}, step_seconds, tuning=True)
                except ConfigError as error:
                    raise ConfigError(
                        f"tuning.space.{path} = [{low:g}, {high:g}]: {error}; the search draws any number between them, with a fraction: "
                        "name a field and ends that take them all, or compare the values as arms"
                    ) from error


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
    tasks: dict[str, dict[str, str]] = {}
    for path, (metric, arms) in asked.items():
        for arm in arms:
            try:
                check_metric(path, metric, runs[arm], further=_further(runs[arm], "test", tasks))
                if tunes and path == "metric":
                    check_metric(path, metric, runs[arm], validation=True, further=_further(runs[arm], "val", tasks))
            except ConfigError as error:
                raise ConfigError(f"{where}, arm {arm!r}: {error}") from None
    try:
        check_margin(study.margin, [metric for metric, _ in asked.values()])
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _further(config: RunConfig, split: str, known: dict[str, dict[str, str]]) -> dict[str, str]:
    """The tasks of a run that are not the seam suite's -> their scores; suites are opened once for all arms that share them."""
    if suites_of(config) == {SEAM}:
        return {}
    key = f"{split} {config_hash(config.data)} {config_hash(config.geometry)}"
    if key not in known:
        from fila_lab.data.opening import further_tasks

        rules = further_tasks(config.data, config.geometry, default_cache(), split)
        known[key] = {task: rule.score for task, rule in rules.items()}
    return known[key]
