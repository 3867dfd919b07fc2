"""Names that have changed. Where users write, an old one is refused with the present one; where results were recorded, readers translate it
here and nowhere else, so that they see one form whatever wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial
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
_OLD = [(tuple(old.split(".")[:-1]), old.split(".")[-1]) for old in KEYS]
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


def present_run(config: Any) -> Any:
    """A recorded configuration, nested, by the present names; what is no mapping as it is."""
    if not isinstance(config, Mapping) or not any(last in (_room(config, above) or ()) for above, last in _OLD):
        return config
    found = _copied(config)
    for old, new in KEYS.items():
        *above, last = old.split(".")
        room = _room(found, above)
        if room is None or last not in room:
            continue
        value = room.pop(last)
        if new:
            *above, last = new.split(".")
            if (room := _room(found, above, make=True)) is not None:
                room[last] = value
    return found


def present_overrides(overrides: Any) -> Any:
    """Recorded overrides, dotted or nested, by the present names; what is not concerned stays as it is."""
    if not isinstance(overrides, Mapping):
        return overrides
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
    return {**_each(result, config=present_run), "schema": SCHEMA}


def present_study(study: Any) -> Any:
    """A recorded study by the present names."""
    by_name = {"arms": _with_set, "budgets": _with_set, "winners": present_overrides, "factors": present_overrides}
    searches = dict.fromkeys(("tuning", "sweep"), lambda part: _each(_with_set(part), space=present_overrides))
    return _each(_each(_with_set(study), **searches), **{name: partial(_values, make=make) for name, make in by_name.items()})


def present_plan(plan: Any) -> Any:
    """The content of a plan.json by the present names."""
    cells = partial(_values, make=lambda cell: _each(cell, config=present_run))
    return _each(plan, study=present_study, overrides=present_overrides, cells=cells)


def present_columns(columns: Iterable[Hashable]) -> dict[str, str]:
    """Old column -> present one, for those of a table of predictions that have another name by now."""
    here = list(columns)
    return {old: new for old, new in WORDS.items() if old in here and new not in here}


Make = Callable[[Any], Any]


def _each(content: Any, **makes: Make) -> Any:
    """A mapping with these of its values made anew, where they are there; anything else as it is."""
    if not isinstance(content, Mapping):
        return content
    return {key: makes[key](value) if key in makes else value for key, value in content.items()}


def _values(content: Any, make: Make) -> Any:
    """A mapping or a list with every value made anew; anything else as it is."""
    if isinstance(content, list):
        return [make(value) for value in content]
    return {key: make(value) for key, value in content.items()} if isinstance(content, Mapping) else content


def _with_set(part: Any) -> Any:
    return _each(part, set=present_overrides)


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


def _room(config: Any, above: Iterable[str], make: bool = False) -> dict[str, Any] | None:
    """The mapping at a path, made where it is missing if so wished; None where there is none."""
    room: Any = config
    for part in above:
        if not isinstance(room, dict):
            return None
        room = room.setdefault(part, {}) if make else room.get(part)
    return room if isinstance(room, dict) else None


def _copied(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(below) if isinstance(below, Mapping) else below for key, below in value.items()}
