"""What two arms, or two cells, have not in common. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fila_lab.config import ConfigError, RunConfig, StudyConfig, did_you_mean, load_study
from fila_lab.config.fusion_points import resolve_fusion_points
from fila_lab.config.strategies import known_cost
from fila_lab.cost.closed.matching import amount
from fila_lab.cost.closed.memory import memory_bytes
from fila_lab.cost.closed.pages import page_training_flops
from fila_lab.studies.agreement import differences, differing_predictions
from fila_lab.studies.arms import budget_name, get_budget, resolve_arm
from fila_lab.studies.cell_names import StoredCell, cell_of_path, find_cell
from fila_lab.studies.folder import read_plan
from fila_lab.studies.reproduce import manifest_differences
from fila_lab.studies.store import ResultStore

COSTS: dict[str, Callable[[RunConfig], float]] = {
    "parameters": lambda config: amount(config, "parameters"),
    "FLOPs a page": lambda config: amount(config, "flops"),
    "training FLOPs a page": page_training_flops,
    "memory": memory_bytes,
}
ABSENT = object()


@dataclass(frozen=True)
class Side:
    """One of two: an arm with a seed, and its result where it is a cell that has one."""

    name: str
    config: RunConfig
    matched: str = ""
    """How its width was solved; empty where it was not."""
    cell: StoredCell | None = None


@dataclass(frozen=True)
class Differences:
    """What two sides have not in common; a pair is (one, other), None where it has no such thing."""

    fields: dict[str, tuple[Any, Any]]
    fusion_points: list[tuple[str, str, str]] | None
    """(point, on in one, on in the other) of all points of both; None where they fuse at the same."""
    costs: dict[str, tuple[float | None, float | None]]
    matches: tuple[str, ...]
    records: list[str] | None
    """What is recorded unlike beside their results; None where not both have one."""
    results: list[str] | None


def side(word: str, study: str | None, budget: str | None, place: Callable[[str], Path]) -> Side:
    """What a word means: `ARM`, `ARM:SEED` or an id in `study`; `STUDY:` before one of those; or the path `cells/<id>`.

    place: study or result folder by its name -> path.

    Raises:
        ConfigError: it means nothing.
    """
    if (folder := cell_of_path(Path(word))) is not None:
        return _of_cell(find_cell(*folder), word)
    first, colon, rest = word.partition(":")
    if study is not None and (not colon or rest.isdecimal() or first in _arms(place(study))):
        return _in(place(study), word, budget, word)
    if not colon:
        raise ConfigError(f"{word!r} is of which study? give --study STUDY, or write STUDY:{word}")
    return _in(place(first), rest, budget, word)


def between(one: Side, other: Side) -> Differences:
    """All that differs."""
    pair = (one, other)
    if one.name == other.name:
        pair = (replace(one, name=f"{one.name} (1)"), replace(other, name=f"{other.name} (2)"))
    flat = [dict(_flat(each.config.model_dump(mode="json", context={"whole": True}, exclude={"preset"}))) for each in pair]
    fields = {
        path: (flat[0].get(path), flat[1].get(path))
        for path in dict.fromkeys([*flat[0], *flat[1]])
        if flat[0].get(path, ABSENT) != flat[1].get(path, ABSENT)
    }
    points = [_points(each.config) for each in pair]
    rows = [
        (f"{stage} -> {layer}", *("on" if (stage, layer) in on else "" for on in points))
        for stage, layer in sorted({*points[0], *points[1]})
    ]
    costs = {name: (_cost(one.config, count), _cost(other.config, count)) for name, count in COSTS.items()}
    matches = tuple(f"{each.name}: {each.matched}" for each in pair if each.matched)
    records, results = _recorded(one.cell, other.cell) if one.cell is not None and other.cell is not None else (None, None)
    return Differences(fields, None if points[0] == points[1] else [(a, b, c) for a, b, c in rows], costs, matches, records, results)


def _recorded(one: StoredCell, other: StoredCell) -> tuple[list[str], list[str]]:
    found = [str(difference) for difference in differences(one.result, other.result)]
    predictions = differing_predictions(*(ResultStore(cell.root).predictions(cell.id) for cell in (one, other)))
    return manifest_differences(one.manifest, other.manifest), found + ([str(predictions)] if predictions is not None else [])


def _arms(place: Path) -> list[str]:
    if place.is_dir():
        plan = read_plan(place)
        return list(dict.fromkeys(cell["arm"] for cell in plan["cells"])) if plan is not None else []
    return list(load_study(place).arms)


def _in(place: Path, item: str, budget: str | None, word: str) -> Side:
    if not place.is_dir():
        return _of_study(load_study(place), item, budget, word)
    plan = read_plan(place)
    if plan is None:
        raise ConfigError(f"{place} holds no plan.json, so it is no result folder; give a study file, or the --out of a run")
    cells = [cell for cell in plan["cells"] if cell["phase"] == "main" and cell["arm"] == item]
    arms = list(dict.fromkeys(cell["arm"] for cell in plan["cells"] if cell["phase"] == "main"))
    if not cells and ":" not in item and not any(item and cell["id"].startswith(item) for cell in plan["cells"]):
        choice = f"choose {', '.join(arms)}, one of these with :SEED, or a cell's id"
        raise ConfigError(f"{word!r}: {place} has no arm and no cell {item!r}{did_you_mean(item, arms)}; {choice}")
    if not cells:
        return _of_cell(find_cell(place, item), word)
    return Side(word, RunConfig.model_validate(cells[0]["config"]), _told((plan.get("matches") or {}).get(item)))


def _of_cell(cell: StoredCell, word: str) -> Side:
    plan = read_plan(cell.root) or {}
    return Side(word, cell.config, _told((plan.get("matches") or {}).get(cell.arm)), cell)


def _of_study(study: StudyConfig, item: str, budget: str | None, word: str) -> Side:
    arm, colon, seed = item.rpartition(":")
    if item in study.arms:
        arm, seed = item, ""
    if arm not in study.arms or (colon and seed and not seed.isdecimal()):
        name = arm or item
        raise ConfigError(
            f"{word!r}: study {study.name!r} has no arm {name!r}{did_you_mean(name, study.arms)}; choose {', '.join(study.arms)}"
        )
    chosen = budget_name(study, budget)
    number = int(seed) if seed else get_budget(study, chosen).seeds[0]
    config, solution = resolve_arm(study, chosen, arm, number, tuned=study.winners.get(arm, {}))
    return Side(word, config, "" if solution is None else _told(solution.to_dict()))


def _told(solution: Mapping[str, Any] | None) -> str:
    if not solution:
        return ""
    reached = f"{solution['off_part']:+.2%} of the part solved for"
    return f"{solution['path']} = {solution['value']} for the {solution['quantity']} of {solution['target']}, {reached}"


def _points(config: RunConfig) -> set[tuple[int, int]]:
    if config.fusion.name == "none":
        return set()
    return set(resolve_fusion_points(config.fusion.depth, config.vit.layers, config.vit.feature_layer))


def _cost(config: RunConfig, count: Callable[[RunConfig], float]) -> float | None:
    return float(count(config)) if known_cost(config.fusion) else None


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
