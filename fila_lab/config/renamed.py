"""Names that have changed. Where users write, an old one is refused with the present one; where results were recorded, readers translate it
here and nowhere else, so that they see one form whatever wrote it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

SCHEMA = 2
"""Version of a cell's id, of result.json and of the configurations in it. 1: the keys below, and predictions with the old columns."""

_OF_THE_SUITE = (
    *("text_height", "code_length", "by_key", "codes_per_page", "clutter", "fonts", "photo_share", "page_aspect", "places", "cut_share"),
    *("evidence_apart", "page_scale"),
)
KEYS: dict[str, str] = {
    "data.families": "data.seam.tasks",
    **{f"data.{name}": f"data.seam.{name}" for name in _OF_THE_SUITE},
    "data.suite_seed": "data.seam.seed",
    "data.train_families": "data.train_tasks",
    "data.suite": "",
}
"""A run's fields by their old dotted paths, and the present ones; nothing where a field is gone."""
WORDS: dict[str, str] = {"family": "task"}
"""Columns of predictions, by their old names."""


def renamed_key(path: str) -> str | None:
    """What to say of a dotted path of a run that has another name by now; None for one that never was."""
    for old, new in KEYS.items():
        if path == old or path.startswith(f"{old}."):
            return f"{path} is now {new}{path.removeprefix(old)}" if new else f"{path} is gone; leave it out"
    return None


def renamed_word(word: str) -> str | None:
    """The same of a column."""
    return f"{word!r} is now {WORDS[word]!r}" if word in WORDS else None


def present_run(config: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration, nested, by the present names."""
    found = _copied(config)
    for old, new in KEYS.items():
        *above, last = old.split(".")
        room = _room(found, above)
        if room is None or last not in room:
            continue
        value = room.pop(last)
        if new:
            *above, last = new.split(".")
            room = found
            for part in above:
                room = room.setdefault(part, {})
            room[last] = value
    return found


def present_overrides(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded overrides, dotted or nested, by the present names; what is not concerned stays as it is."""
    found: dict[str, Any] = {}
    for path, value in overrides.items():
        found |= _present(str(path), value)
    return found


def present_path(path: str) -> str:
    """A recorded dotted path by its present name."""
    return next(iter(_present(path, None)), path)


def present_result(result: Any) -> Any:
    """The content of a result.json in the present form; what is no result of an earlier one, as it is."""
    if not isinstance(result, Mapping) or result.get("schema") != 1:
        return result
    config = result.get("config")
    return {**result, "schema": SCHEMA, "config": present_run(config) if isinstance(config, Mapping) else config}


def present_study(study: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded study by the present names."""
    found = dict(study)
    for name in ("arms", "budgets"):
        if isinstance(found.get(name), Mapping):
            found[name] = {key: _set(part) for key, part in found[name].items()}
    if isinstance(found.get("winners"), Mapping):
        found["winners"] = {arm: present_overrides(values) for arm, values in found["winners"].items()}
    if isinstance(found.get("tuning"), Mapping):
        tuning = _set(found["tuning"])
        found["tuning"] = {**tuning, "space": present_overrides(tuning.get("space") or {})}
    if isinstance(found.get("factors"), Mapping):
        found["factors"] = {arm: present_overrides(levels) for arm, levels in found["factors"].items()}
    return _set(found)


def present_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a plan.json by the present names."""
    cells = [{**cell, "config": present_run(cell.get("config") or {})} for cell in plan["cells"]]
    overrides = present_overrides(plan.get("overrides") or {})
    return {**plan, "study": present_study(plan["study"]), "overrides": overrides, "cells": cells}


def present_columns(columns: Iterable[Hashable]) -> dict[str, str]:
    """Old column -> present one, for those of a table of predictions that have another name by now."""
    here = list(columns)
    return {old: new for old, new in WORDS.items() if old in here and new not in here}


def _set(part: Any) -> Any:
    """A part of a study with its `set` by the present names."""
    return {**part, "set": present_overrides(part["set"])} if isinstance(part, Mapping) and isinstance(part.get("set"), Mapping) else part


def _present(path: str, value: Any) -> dict[str, Any]:
    """One override as the present ones it stands for. A mapping is opened as far as old names can lie in it, and if one does."""
    for old, new in KEYS.items():
        if path == old or path.startswith(f"{old}."):
            return {new + path.removeprefix(old): value} if new else {}
    if isinstance(value, Mapping) and any(old.startswith(f"{path}.") for old in KEYS):
        inner: dict[str, Any] = {}
        for key, below in value.items():
            inner |= _present(f"{path}.{key}", below)
        if inner != {f"{path}.{key}": below for key, below in value.items()}:
            return inner
    return {path: value}


def _room(config: dict[str, Any], above: Iterable[str]) -> dict[str, Any] | None:
    room: Any = config
    for part in above:
        room = room.get(part) if isinstance(room, dict) else None
    return room if isinstance(room, dict) else None


def _copied(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(below) if isinstance(below, Mapping) else below for key, below in value.items()}
