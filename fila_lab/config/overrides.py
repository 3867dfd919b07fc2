"""Dotted overrides (`train.steps=300`) laid over a nested mapping, checked key by key against the models."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from fila_lab.config.base import ConfigError, did_you_mean

Tree = dict[str, Any]


def parse_set(assignments: Iterable[str]) -> dict[str, Any]:
    """`["a.b=1", "c=[2, 3]"]` -> `{"a.b": 1, "c": [2, 3]}`; values are YAML. Refuses what has no `=` or is not YAML."""
    import yaml

    parsed: dict[str, Any] = {}
    for text in assignments:
        path, equals, value = text.partition("=")
        path = path.strip()
        if not equals or not path:
            raise ConfigError(f"--set {text!r}: expected path.to.key=value, e.g. --set train.steps=300")
        try:
            parsed[path] = yaml.safe_load(value) if value.strip() else None
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {path}: {value!r} is not a YAML value; quote it, e.g. --set '{path}=\"text\"'") from error
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
    other fields are replaced whole. Unknown keys raise ConfigError naming the full path; `source` says where the override stood."""
    result = tree
    for path, value in overrides.items():
        result = _lay(result, str(path).split("."), value, model, (), source)
    return result


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
        result[key] = _lay_plain(below, rest, value, path, source)
    else:
        result[key] = value
    return result


def _lay_plain(below: Any, keys: list[str], value: Any, path: tuple[str, ...], source: str) -> Tree:
    """One key of a plain dictionary field, e.g. `data.families.reading`."""
    if not isinstance(below, Mapping) or len(keys) != 1:
        where = f"{source}: " if source else ""
        raise ConfigError(f"{where}{'.'.join((*path, *keys))}: {'.'.join(path)} has no keys below it; set {'.'.join(path)} as a whole")
    return {**below, keys[0]: value}


def unknown_key(path: tuple[str, ...], model: type[BaseModel], source: str = "") -> str:
    """The message for a key its model does not have."""
    where = f"{source}: " if source else ""
    prefix = ".".join(path[:-1])
    level = f"{prefix} has" if prefix else "the keys are"
    return f"{where}unknown key {'.'.join(path)!r}{did_you_mean(path[-1], model.model_fields)}; {level} {', '.join(model.model_fields)}"
