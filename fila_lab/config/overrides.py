"""Dotted overrides (`train.steps=300`) laid over a nested mapping, checked key by key against the models."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from fila_lab.config.base import ConfigError, did_you_mean
from fila_lab.config.renamed import renamed_key
from fila_lab.config.yaml_files import parse_yaml

Tree = dict[str, Any]


def parse_set(assignments: Iterable[str]) -> dict[str, Any]:
    """`["a.b=1", "c=[2, 3]"]` -> `{"a.b": 1, "c": [2, 3]}`; values are YAML.

    Raises:
        ConfigError: no `=`, a value that is not YAML, or a path that is given twice.
    """
    parsed: dict[str, Any] = {}
    for text in assignments:
        path, equals, value = text.partition("=")
        path = path.strip()
        if not equals or not path:
            raise ConfigError(f"--set {text!r}: expected path.to.key=value, e.g. --set train.steps=300")
        if path in parsed:
            raise ConfigError(f"--set {path} is given twice, and one would be lost; give it once")
        try:
            parsed[path] = parse_yaml(value, f"--set {path}={value}") if value.strip() else None
        except ConfigError as error:
            quoted = f"; a text is quoted like this: --set '{path}=\"text\"'" if "not valid YAML" in str(error) else ""
            raise ConfigError(f"{error}{quoted}") from error
    return parsed


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model inside an annotation (also `Model | None`), if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            if (model := model_of(part)) is not None:
                return model
    return None


def apply_overrides(tree: Tree, overrides: Mapping[str, Any], model: type[BaseModel], source: str = "") -> Tree:
    """A copy of `tree` with the overrides laid over it. Keys may be dotted, values may be mappings: fields that are models merge,
    other fields are replaced whole; of a list whose entries have names, one entry may be told by its own (`train.stages.align.steps`).
    `source` says where the overrides stood.

    Raises:
        ConfigError: an unknown key, by its full path; or one field set twice by the same overrides (`a.b: 1` beside `a: {b: 2}`).
    """
    flat_overrides(overrides, model, source)
    result = tree
    for path, value in overrides.items():
        result = _lay(result, str(path).split("."), value, model, (), source)
    return result


def flat_overrides(overrides: Mapping[str, Any], model: type[BaseModel], source: str = "") -> Tree:
    """Dotted path -> value of every field that overrides set, dotted or nested: through models, not into values. A field that is set as a
    whole comes before the keys in it.

    Raises:
        ConfigError: an unknown key, by its full path; or one field set twice, for the later would win in silence.
    """
    seen: Tree = {}
    for path, value in sorted(_fields_set(overrides, model, (), source), key=lambda field: field[0].count(".")):
        parts = path.split(".")
        above = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
        if clash := next((name for name in above if name in seen), None):
            where = f"{source}: " if source else ""
            beside = "" if clash == path else f" beside {clash} as a whole"
            raise ConfigError(f"{where}{path} is set twice{beside}, dotted or nested, and one would be lost; set it once")
        seen[path] = value
    return seen


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any], model: type[BaseModel]) -> Tree:
    """One layer of overrides that does what two do, the second last: dotted path -> value."""
    upper = flat_overrides(above, model)
    kept = {path: value for path, value in flat_overrides(below, model).items() if not any(_within(path, other) for other in upper)}
    return {**kept, **upper}


def _within(path: str, other: str) -> bool:
    return path == other or path.startswith(f"{other}.")


def _fields_set(overrides: Mapping[str, Any], model: type[BaseModel], above: tuple[str, ...], source: str) -> list[tuple[str, Any]]:
    """(dotted path, value) of the fields that overrides set."""
    found = []
    for path, value in overrides.items():
        parts, owner = str(path).split("."), model
        for depth, part in enumerate(parts):
            field = owner.model_fields.get(part)
            if field is None:
                raise ConfigError(unknown_key((*above, *parts[: depth + 1]), owner, source))
            inner = model_of(field.annotation)
            if inner is None or depth == len(parts) - 1:
                break
            owner = inner
        if inner is not None and depth == len(parts) - 1 and isinstance(value, Mapping):
            found += _fields_set(value, inner, (*above, *parts), source)
        else:
            found.append((".".join((*above, *parts)), value))
    return found


def _lay(tree: Tree, keys: list[str], value: Any, model: type[BaseModel], above: tuple[str, ...], source: str) -> Tree:
    key, rest = keys[0], keys[1:]
    path = (*above, key)
    field = model.model_fields.get(key)
    if field is None:
        raise ConfigError(unknown_key(path, model, source))
    inner = model_of(field.annotation)
    result = dict(tree)
    if inner is not None and (rest or isinstance(value, Mapping)):
        below = result.get(key)
        base: Tree = dict(below) if isinstance(below, Mapping) else {}
        for sub_path, sub_value in {".".join(rest): value}.items() if rest else value.items():
            base = _lay(base, str(sub_path).split("."), sub_value, inner, path, source)
        result[key] = base
    elif rest:
        below = result.get(key, field.get_default(call_default_factory=True))
        entry = _entry_model(field.annotation)
        result[key] = _lay_plain(below, rest, value, path, source) if entry is None else _lay_entry(below, rest, value, entry, path, source)
    else:
        result[key] = value
    return result


def _entry_model(annotation: Any) -> type[BaseModel] | None:
    """The model of a list's entries, where they have names."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next((model for part in get_args(annotation) if (model := _entry_model(part)) is not None), None)
    model = model_of(get_args(annotation)[0]) if get_origin(annotation) is tuple else None
    return model if model is not None and "name" in model.model_fields else None


def _lay_entry(below: Any, keys: list[str], value: Any, model: type[BaseModel], path: tuple[str, ...], source: str) -> list[Any]:
    """A list of named entries, one of them with a field laid over."""
    entries = list(below) if isinstance(below, Sequence) and not isinstance(below, str) else []
    names = [str(entry.get("name")) if isinstance(entry, Mapping) else "" for entry in entries]
    where, listed = f"{source}: " if source else "", ".".join(path)
    words = next((count for count in range(len(keys), 0, -1) if ".".join(keys[:count]) in names), 1)  # a name may have dots of its own
    name, rest = ".".join(keys[:words]), keys[words:]
    if name not in names:
        there = f"its entries are {', '.join(names)}" if names else f"{listed} is empty here; set it as a whole"
        raise ConfigError(f"{where}{'.'.join((*path, *keys))}: {listed} has no entry {name!r}{did_you_mean(name, names)}; {there}")
    if not rest and not isinstance(value, Mapping):
        raise ConfigError(f"{where}{listed}.{name} = {value!r} is no mapping; set a field of it, e.g. {listed}.{name}.steps")
    number = names.index(name)
    for field, each in {".".join(rest): value}.items() if rest else value.items():
        entries[number] = _lay(dict(entries[number]), str(field).split("."), each, model, (*path, name), source)
    return entries


def _lay_plain(below: Any, keys: list[str], value: Any, path: tuple[str, ...], source: str) -> Tree:
    """A key of a plain dictionary field, or one below it, e.g. `data.seam.tasks.reading`, `data.train.options.limit`."""
    key, rest = keys[0], keys[1:]
    if not isinstance(below, Mapping):
        where = f"{source}: " if source else ""
        raise ConfigError(f"{where}{'.'.join((*path, *keys))}: {'.'.join(path)} has no keys below it; set {'.'.join(path)} as a whole")
    return {**below, key: _lay_plain(below.get(key, {}), rest, value, (*path, key), source) if rest else value}


def unknown_key(path: tuple[str, ...], model: type[BaseModel], source: str = "") -> str:
    """The message for a key its model does not have."""
    where = f"{source}: " if source else ""
    if (now := renamed_key(".".join(path))) is not None:
        return f"{where}{now}"
    prefix = ".".join(path[:-1])
    level = f"{prefix} has" if prefix else "the keys are"
    return f"{where}unknown key {'.'.join(path)!r}{did_you_mean(path[-1], model.model_fields)}; {level} {', '.join(model.model_fields)}"
