"""Whether arms were trained alike, and cells as they were planned: read from what the cells recorded, not from what was declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from pydantic import ValidationError

from fila_lab.analysis.check import Check, listed
from fila_lab.analysis.folder import Cell, StudyFolder
from fila_lab.config.base import FilaError
from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import known_cost
from fila_lab.cost.closed.pages import page_training_flops

PLANNED = "every cell ran as planned"
TRAINING = "equal training"
TUNING = "equal tuning"
BY_ROWS = "as many as its rows give"
"""Steps of a run whose training stages count epochs."""
UNTRAINED = ("data.test_triplets", "train.eval_batch_size", "train.log_every", "train.validate_every")
"""Fields of `train` and `data` that change nothing of what a model learns."""


def planned_check(folder: StudyFolder) -> Check:
    """Each finished cell's recorded configuration is the plan's, its seed its own, and its curve ends at its last step."""
    trouble: dict[str, list[str]] = {}
    blank = []
    for cell in _done(folder):
        where, recorded = f"{cell.arm} seed {cell.seed}", _config(cell)
        own = trouble.setdefault(cell.arm, [])
        # Rooms that say the same are one object (StudyFolder.open): of the others, and of what is no room, each field is looked at.
        unlike = {name for name, room in recorded.items() if room is not cell.config.get(name)}
        ran, planned = (flat({name: room for name, room in side.items() if name in unlike}) for side in (recorded, cell.config))
        for path, value in planned.items():
            if path in ran and ran[path] != value:
                own.append(f"{where}: {path} is {ran[path]!r}, planned {value!r}")
        if recorded.get("seed", cell.seed) != cell.seed:
            own.append(f"{where}: it ran with seed {recorded['seed']!r}")
        train = recorded.get("train")
        steps, last = planned_steps(train) if isinstance(train, Mapping) else None, last_step(cell)
        if steps == BY_ROWS and last is not None:
            continue
        if last is None or steps is None:
            blank.append(where)
        elif last != steps:
            own.append(f"{where}: its curve ends at step {last}, not {steps}")
    said = [text for own in trouble.values() for text in own]
    if said:
        more = f"; and {len(said) - 3} more" if len(said) > 3 else ""
        return Check(PLANNED, False, "; ".join(said[:3]) + more, frozenset(arm for arm, own in trouble.items() if own))
    if blank:
        return Check(PLANNED, None, f"{len(blank)} cells recorded no learning curve, so their steps are not known ({listed(blank)})")
    return Check(PLANNED, True, f"{sum(1 for _ in _done(folder))} cells: configurations, seeds, and curves up to the last step")


def training_check(folder: StudyFolder) -> Check:
    """Arms differ in nothing of training or training data but what the study declares: overrides, tuned values, what is equalised."""
    trained = _first_configs(folder)
    if not trained:
        return Check(TRAINING, None, "no finished cell recorded its configuration")
    study = folder.study
    spent = {} if study.equalise == "steps" else _spent(folder, trained)
    keys: dict[str, tuple[Any, ...]] = {}
    watched = sorted({path for config in trained.values() for path in config if _trains(path)})
    for arm, config in trained.items():
        own = declared(folder, arm)
        free = own | ({"train.steps"} if study.equalise != "steps" else set())
        keys[arm] = (*((path, str(config.get(path))) for path in watched if not _within(path, free)), ("spent", spent.get(arm)))
    groups = _alike(keys)
    steps = _spans({arm: planned_steps(_train_of(config)) for arm, config in trained.items()})
    if len(groups) > 1:
        paths = sorted({path for path in watched if len({dict(key).get(path, "") for key in keys.values()}) > 1})
        what = ", ".join(f"{path} ({_spans({arm: config.get(path) for arm, config in trained.items()})})" for path in paths)
        return Check(TRAINING, False, f"arms differ, undeclared, in {what or 'what was equalised: ' + _spans(spent)}", apart=tuple(groups))
    told = f"steps {steps}"
    if study.equalise != "steps":
        told += f", equal {study.equalise}" + ("" if spent else " (not checked: no costs in closed form for these configurations)")
    if differing := _declared_differences(folder, trained):
        told += f"; declared: {differing}"
    return Check(TRAINING, True, told)


def tuning_check(folder: StudyFolder, trials: pd.DataFrame) -> Check:
    """All arms run with tuned values, or none: an arm whose trials all failed would stand untuned beside tuned ones.

    trials: of `load_tuning`.
    """
    study = folder.study
    budget = study.budgets.get(folder.budget)
    searched = bool(budget and budget.tune)
    always = {path for path, one in study.tuning.dimensions.items() if not one.condition} if study.tuning else set()
    paths = always if study.tuning else {path for values in study.winners.values() for path in values}
    if not paths:
        return Check(TUNING, True, "nothing was searched")
    if searched and trials.empty:
        return Check(TUNING, None, "the search's trials are not in this folder")
    valued = trials[trials["value"].notna()].groupby("arm").size() if searched else pd.Series(dtype=int)
    settled = {arm for arm in folder.arms if paths <= declared_set(folder, arm) | set(study.winners.get(arm, {}))}
    tuned = {arm for arm in folder.arms if valued.get(arm, 0)} if searched else settled
    left = [arm for arm in folder.arms if arm not in tuned and not (searched and paths <= declared_set(folder, arm))]
    if tuned and left:
        counts = trials["arm"].value_counts() if searched else pd.Series(dtype=int)
        why = [
            f"{arm} (none of its {counts.get(arm, 0)} trials has a value)" if searched else f"{arm} (no committed winner)" for arm in left
        ]
        return Check(TUNING, False, f"compared untuned beside tuned arms: {', '.join(why)}", frozenset(left))
    if not searched:
        return Check(TUNING, True, f"values of {', '.join(sorted(paths))} are committed for {'every arm' if tuned else 'no arm'}")
    return Check(TUNING, True, f"{_spans({arm: int(valued.get(arm, 0)) for arm in folder.arms})} trials with a value")


def crossing_contrasts(folder: StudyFolder) -> list[str]:
    """Declared contrasts whose arms were trained differently by declaration, with what differs."""
    trained, found = _first_configs(folder), []
    tuned = set(folder.study.tuning.space) if folder.study.tuning else set()
    tuned |= {path for values in folder.study.winners.values() for path in values} | {"train.learning_rate"}
    free = tuned | ({"train.steps"} if folder.study.equalise != "steps" else set())
    for family in folder.study.families.values():
        for arms in family.comparisons:
            if not set(arms) <= set(trained):
                continue
            paths = sorted({path for arm in arms for path in trained[arm] if _trains(path) and not _within(path, free)})
            off = [path for path in paths if len({str(trained[arm].get(path)) for arm in arms}) > 1]
            if off:
                differences = [_spans({arm: trained[arm].get(path) for arm in arms}, path) for path in off]
                found.append(f"{' − '.join(arms)} ({', '.join(differences)})")
    return list(dict.fromkeys(found))


def declared(folder: StudyFolder, arm: str) -> set[str]:
    """Dotted paths an arm may differ in: its own overrides and what was searched for it."""
    study = folder.study
    tuned = set(study.tuning.space) if study.tuning else set()
    return declared_set(folder, arm) | tuned | set(study.winners.get(arm, {}))


def declared_set(folder: StudyFolder, arm: str) -> set[str]:
    """Dotted paths of an arm's own overrides."""
    chosen = folder.study.arms[arm].set
    return set(chosen) | set(flat(chosen))


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted paths, training stages by their names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, list) and value and all(isinstance(each, Mapping) and "trains" in each for each in value):
            value = {str(each.get("name")): {key: inner for key, inner in each.items() if key != "name"} for each in value}
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _done(folder: StudyFolder) -> Iterator[Cell]:
    return (cell for cell in folder.main if cell.done)


def _config(cell: Cell) -> dict[str, Any]:
    recorded = (cell.result or {}).get("config")
    return recorded if isinstance(recorded, dict) else {}


def _first_configs(folder: StudyFolder) -> dict[str, dict[str, Any]]:
    """Arm -> its first finished cell's recorded configuration, flattened."""
    found: dict[str, dict[str, Any]] = {}
    for cell in _done(folder):
        if config := flat(_config(cell)):
            found.setdefault(cell.arm, config)
    return found


def _train_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a flattened configuration what `planned_steps` reads."""
    heads = [path.removesuffix(".trains") for path in config if path.startswith("train.stages.") and path.endswith(".trains")]
    stages = [{name: config.get(f"{head}.{name}") for name in ("steps", "epochs")} for head in heads]
    return {"steps": config.get("train.steps"), "stages": stages}


def planned_steps(train: Mapping[str, Any]) -> Any:
    """Steps of a recorded `train`, of all its stages together."""
    stages = train.get("stages")
    if not stages:
        return train.get("steps")
    if any(stage.get("epochs") is not None for stage in stages):
        return BY_ROWS
    return sum(stage.get("steps") or train.get("steps") for stage in stages)


def last_step(cell: Cell) -> int | None:
    curve = (cell.result or {}).get("curve")
    steps = [point.get("step") for point in curve if isinstance(point, Mapping)] if isinstance(curve, list) else []
    known = [step for step in steps if isinstance(step, int)]
    return max(known) if known else None


def _trains(path: str) -> bool:
    return path.startswith(("train.", "data.")) and path not in UNTRAINED


def _within(path: str, chosen: set[str]) -> bool:
    """Whether a path, or what it is part of, is among the chosen."""
    parts = path.split(".")
    return any(".".join(parts[:i]) in chosen for i in range(1, len(parts) + 1))


def _spent(folder: StudyFolder, trained: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Arm -> "equal" where its steps spend what the baseline's do, to the nearest step; else how far off. Empty where it is not known."""
    unit: dict[str, float] = {}
    for cell in _done(folder):
        if cell.arm in unit:
            continue
        if folder.study.equalise == "time":
            unit[cell.arm] = folder.step_seconds.get(cell.arm, float("nan"))
        else:
            try:
                config = RunConfig.model_validate(_config(cell))
                unit[cell.arm] = page_training_flops(config) if known_cost(config.fusion) else float("nan")
            except (ValidationError, FilaError, ValueError):
                return {}
    base = folder.baseline if folder.baseline in unit else next(iter(unit))
    whole = unit[base] * trained[base].get("train.steps", float("nan"))
    shares = {arm: value * trained[arm].get("train.steps", float("nan")) / whole for arm, value in unit.items()}
    if any(share != share for share in shares.values()):
        return {}
    # Steps are whole: what an arm spends is right to half a step of its own.
    return {arm: "equal" if abs(share - 1) * whole <= 0.51 * unit[arm] else f"{share:.2f} times" for arm, share in shares.items()}


def _declared_differences(folder: StudyFolder, trained: Mapping[str, Mapping[str, Any]]) -> str:
    own = {path for arm in trained for path in declared_set(folder, arm)}
    paths = sorted({path for config in trained.values() for path in config if _trains(path) and _within(path, own)})
    off = [path for path in paths if len({str(config.get(path)) for config in trained.values()}) > 1]
    return ", ".join(f"{path} ({_spans({arm: config.get(path) for arm, config in trained.items()})})" for path in off)


def _alike(keys: Mapping[str, Any]) -> list[frozenset[str]]:
    """Arms grouped by equal keys. A path that only some arms are free in counts as equal for them."""
    groups: list[tuple[dict[str, Any], set[str]]] = []
    for arm, key in keys.items():
        own = dict(key)
        for shared, arms in groups:
            if all(shared.get(path, value) == value for path, value in own.items()):
                shared |= own
                arms.add(arm)
                break
        else:
            groups.append((own, {arm}))
    return [frozenset(arms) for _, arms in groups]


def _spans(values: Mapping[str, Any], what: str = "") -> str:
    """`300` where all agree, else `300 (none, concat), 600 (late)`."""
    by_value: dict[str, list[str]] = {}
    for arm, value in values.items():
        by_value.setdefault(str(value), []).append(arm)
    head = f"{what} " if what else ""
    if len(by_value) == 1:
        return head + next(iter(by_value))
    return head + ", ".join(f"{value} ({listed(arms)})" for value, arms in by_value.items())
