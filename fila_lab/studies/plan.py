"""What a study will run: a deterministic list of cells, from the study file, a budget and overrides. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fila_lab.config import Budget, ConfigError, RunConfig, StudyConfig, config_hash, did_you_mean, resolve_run
from fila_lab.config.costs import training_flops
from fila_lab.studies.identity import cell_id

Phase = Literal["main", "tuning"]
Overrides = Mapping[str, Any]


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
    cells stand with the committed settings; their number is right, their ids will change."""

    study: StudyConfig
    study_hash: str
    budget: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    cells: tuple[CellSpec, ...]
    trials: int = 0
    provisional: bool = False
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def tuning_cells(self) -> int:
        """How many tuning trials the budget asks for, all arms together."""
        return self.trials * len(self.arms)

    @property
    def families(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """The contrasts both of whose arms this budget runs, by family."""
        return {
            name: kept
            for name, family in self.study.families.items()
            if (kept := tuple(pair for pair in family.contrasts if pair[0] in self.arms and pair[1] in self.arms))
        }

    def to_dict(self) -> dict[str, Any]:
        """As `plan.json` keeps it."""
        return {
            "study": self.study.model_dump(mode="json"),
            "study_hash": self.study_hash,
            "budget": self.budget,
            "overrides": dict(self.overrides),
            "cells": [cell.to_dict() for cell in self.cells],
        }


def study_hash(study: StudyConfig) -> str:
    """16 hex digits of what was declared in advance. Winners stay out: they are a result, and stand in every cell's config."""
    return config_hash(study.model_dump(mode="json", exclude={"winners"}))


def get_budget(study: StudyConfig, name: str) -> Budget:
    """A named budget of the study; ConfigError with the known names when there is none."""
    if name not in study.budgets:
        raise ConfigError(
            f"--budget {name!r} is unknown in study {study.name!r}{did_you_mean(name, study.budgets)}; choose {', '.join(study.budgets)}"
        )
    return study.budgets[name]


def make_plan(
    study: StudyConfig, budget: str = "small", overrides: Overrides | None = None, winners: Mapping[str, Overrides] | None = None
) -> Plan:
    """Every cell of a study under a budget, arms in the order of the file, seeds within an arm.

    `winners` (arm -> tuned overrides) are those this run has just found; None takes the committed ones. Later layers win:
    preset, study.set, budget.set, arm.set, winners, overrides. Raises ConfigError for anything that cannot work.
    """
    chosen = get_budget(study, budget)
    arms = tuple(arm for arm in study.arms if chosen.arms is None or arm in chosen.arms)
    _check_budget(study, budget, chosen, overrides or {})
    found = study.winners if winners is None else winners
    cells = []
    for arm in arms:
        first = resolve_arm(study, budget, arm, chosen.seeds[0], overrides, found.get(arm, {}))
        for seed in chosen.seeds:
            config = first.model_copy(update={"seed": seed})
            cells.append(CellSpec(cell_id(config), arm, seed, "main", None, config))
    _check_distinct(cells)
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
    )


def resolve_arm(
    study: StudyConfig,
    budget: str,
    arm: str,
    seed: int,
    overrides: Overrides | None = None,
    tuned: Overrides | None = None,
    tuning: bool = False,
) -> RunConfig:
    """One arm's run with a seed: layers as in `make_plan`; `tuning` adds tuning.set above budget.set."""
    chosen = get_budget(study, budget)
    layers: list[Overrides] = [study.set, chosen.set]
    if tuning and study.tuning is not None:
        layers.append(study.tuning.set)
    after: list[Overrides] = [tuned or {}, overrides or {}, {"seed": seed}]
    try:
        config = resolve_run(study.preset, *layers, study.arms[arm].set, *after)
        return _equalised(study, arm, config, resolve_run(study.preset, *layers, study.arms[baseline(study)].set, *after))
    except ConfigError as error:
        raise ConfigError(f"study {study.name!r}, arm {arm!r}: {error}") from error


def tuning_cell(study: StudyConfig, budget: str, arm: str, trial: int, values: Overrides, overrides: Overrides | None = None) -> CellSpec:
    """The cell of one tuning trial: the arm with `values` (dotted path -> value from tuning.space) and tuning.run_seed."""
    if study.tuning is None:
        raise ConfigError(f"study {study.name!r}: there is no `tuning` section to take trials from; add one, or set tune: false")
    config = resolve_arm(study, budget, arm, study.tuning.run_seed, overrides, values, tuning=True)
    return CellSpec(cell_id(config), arm, config.seed, "tuning", trial, config)


def baseline(study: StudyConfig) -> str:
    """The arm others are measured against: the first with role baseline, else the first arm."""
    return next((name for name, arm in study.arms.items() if arm.role == "baseline"), next(iter(study.arms)))


def _equalised(study: StudyConfig, arm: str, config: RunConfig, reference: RunConfig) -> RunConfig:
    """Equal optimiser steps, or the steps that cost what the baseline's steps cost (in training FLOPs, or measured seconds)."""
    first = baseline(study)
    if study.equalise == "steps" or arm == first:
        return config
    if study.equalise == "flops":
        ratio = training_flops(reference) / training_flops(config)
    else:
        for name in (first, arm):
            if study.step_seconds.get(name, 0) <= 0:
                raise ConfigError(f"equalise = 'time' needs step_seconds.{name}, measured seconds a step; add it, or use steps or flops")
        ratio = study.step_seconds[first] / study.step_seconds[arm]
    steps = max(1, round(config.train.steps * ratio))
    return config.model_copy(update={"train": config.train.model_copy(update={"steps": steps})})


def _check_budget(study: StudyConfig, name: str, budget: Budget, overrides: Overrides) -> None:
    where = f"study {study.name!r}, budgets.{name}"
    if len(set(budget.seeds)) != len(budget.seeds):
        raise ConfigError(f"{where}.seeds = {list(budget.seeds)}: a seed appears twice; use different seeds")
    if "seed" in overrides:
        raise ConfigError(f"--set seed={overrides['seed']} would give every cell one seed; edit {where}.seeds instead")
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


def _check_distinct(cells: list[CellSpec]) -> None:
    seen: dict[str, CellSpec] = {}
    for cell in cells:
        other = seen.setdefault(cell.id, cell)
        if other is not cell:
            raise ConfigError(f"arms {other.arm!r} and {cell.arm!r} resolve to the same run; make them differ, or remove one")
