"""The cells of a study as a frame: a row a cell, finished or not, with what was changed for it as columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fila_lab.analysis.folder import Cell, StudyFolder
from fila_lab.analysis.training_checks import flat, last_step, planned_steps
from fila_lab.config.cell_checks import check_numbers
from fila_lab.config.space import choice_text

CORE = ("arm", "seed", "pair", "role", "label", "id", "status")
AFTER = ("steps", "learning_rate", "seconds")
PENDING, DAMAGED = "missing", "damaged"
STEPS, RATE = "train.steps", "train.learning_rate"
TOLD = frozenset({"seed", STEPS, RATE})
"""Fields of a run that have columns of their own."""


def cell_frame(folder: StudyFolder) -> pd.DataFrame:
    """A row a main cell in the plan's order; columns as `StudyFrames.cells` says them."""
    configs = [flat((cell.result or {}).get("config") or cell.config) for cell in folder.main]
    paths = changed_paths([cell.arm for cell in folder.main], configs)
    names = factor_names(folder, paths)
    rows = []
    for cell, config in zip(folder.main, configs, strict=True):
        levels = folder.study.factors.get(cell.arm, {})
        row = _core(folder, cell) | {column: levels.get(factor) for factor, column in names.items()}
        row |= {path: _plain(config.get(path)) for path in paths}
        row |= {"steps": _steps(cell), "learning_rate": config.get(RATE), "seconds": _numbers(cell, "timing").get("total")}
        rows.append(row | {folder.study.metric: _numbers(cell, "metrics").get(folder.study.metric)})
    frame = pd.DataFrame(rows, columns=[*CORE, *names.values(), *paths, *AFTER, folder.study.metric])
    measured = ("learning_rate", "seconds", folder.study.metric)
    return frame.astype({"steps": "Int64", **dict.fromkeys(measured, float)})


def changed_paths(arms: list[str], configs: list[dict[str, Any]]) -> list[str]:
    """Dotted paths at which arms differ and the cells of one arm agree: what a seed changes by itself is no setting of an arm."""
    known = dict.fromkeys(path for config in configs for path in config if path not in TOLD)
    found = []
    for path in known:
        said: dict[str, set[str]] = {}
        for arm, config in zip(arms, configs, strict=True):
            said.setdefault(arm, set()).add(repr(config.get(path)))
        if all(len(own) == 1 for own in said.values()) and len(set().union(*said.values())) > 1:
            found.append(path)
    return found


def factor_names(folder: StudyFolder, paths: list[str]) -> dict[str, str]:
    """Factor -> its column: its own name, with `factor.` before it where another column is called so. One named by the field that it sets
    has that field's column."""
    factors = dict.fromkeys(factor for arm in folder.arms for factor in folder.study.factors.get(arm, {}) if factor not in paths)
    taken = {*CORE, *AFTER, folder.study.metric}
    return {factor: f"factor.{factor}" if factor in taken else factor for factor in factors}


def pair_of(folder: StudyFolder, seeds: pd.Series) -> pd.Series:
    """The number of the tower pair of each seed; 0 where there is one pair."""
    return seeds % folder.tower_pairs if folder.tower_pairs else seeds * 0


def _core(folder: StudyFolder, cell: Cell) -> dict[str, Any]:
    status = cell.result["status"] if cell.result is not None else DAMAGED if cell.problem else PENDING
    pair = cell.seed % folder.tower_pairs if folder.tower_pairs else 0
    role = folder.study.arms[cell.arm].role
    return dict(zip(CORE, (cell.arm, cell.seed, pair, role, folder.label(cell.arm), cell.id, status), strict=True))


def _steps(cell: Cell) -> int | None:
    """The steps a finished cell took, of another those it is planned to take; None where these follow from how many rows there are."""
    if cell.done and (trained := last_step(cell)) is not None:
        return trained
    train = cell.config.get("train")
    planned = planned_steps(train) if isinstance(train, Mapping) else None
    return planned if isinstance(planned, int) else None


def _numbers(cell: Cell, part: str) -> dict[str, float]:
    return check_numbers(cell.result.get(part), part) if cell.done and cell.result is not None else {}


def _plain(value: Any) -> Any:
    """As a cell of a frame: lists and the like as JSON."""
    return value if value is None or isinstance(value, str | int | float) else choice_text(value)
