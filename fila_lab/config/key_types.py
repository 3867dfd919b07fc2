"""Annotations of configuration fields in words: `whole number > 0, or null`."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fila_lab.config.base import MOST

WORDS: dict[Any, str] = {int: "whole number", float: "number", bool: "true or false", str: "text", type(None): "null", Any: "any value"}
SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
NO_LIMITS = {"le": {MOST, 1000}, "ge": {-MOST}, "lt": {2**32}}
"""Limits that only keep a library from failing: no user meets them."""


def type_words(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """What a field of this annotation takes."""
    base, given = _bare(annotation)
    metadata = list(metadata)
    limits = _limits([*given, *metadata])
    if get_origin(base) is Literal:
        return " | ".join(_word(choice) for choice in get_args(base))
    if _union(base):
        return ", or ".join(dict.fromkeys(type_words(part, metadata) for part in get_args(base)))
    if get_origin(base) is tuple:
        parts = get_args(base)
        if parts[-1] is Ellipsis:
            return f"list of {type_words(parts[0])}"
        words = [type_words(part) for part in parts]
        return f"list of {len(words)} x {words[0]}" if len({*words}) == 1 else f"[{', '.join(words)}]"
    if get_origin(base) is list:
        return f"list of {type_words(get_args(base)[0])}"
    if get_origin(base) is dict:
        key, value = get_args(base)
        return f"mapping of {type_words(key)} to {type_words(value)}"
    if isinstance(base, type) and issubclass(base, BaseModel):
        return "mapping"
    if base in (int, float):
        return f"{WORDS[base]} {limits}".rstrip()
    return WORDS.get(base, "any value")


def choices_of(annotation: Any) -> tuple[str, ...]:
    """The words that a field may say, alone or beside something else."""
    base, _ = _bare(annotation)
    if get_origin(base) is Literal:
        return tuple(_word(choice) for choice in get_args(base))
    return tuple(choice for part in get_args(base) for choice in choices_of(part)) if _union(base) else ()


def inner_model(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model of what a field holds, and whether it holds several, by names of the user's (or in a list)."""
    base, _ = _bare(annotation)
    if isinstance(base, type) and issubclass(base, BaseModel):
        return base, False
    if get_origin(base) is dict:
        return inner_model(get_args(base)[1])[0], True
    if get_origin(base) is tuple and get_args(base)[-1] is Ellipsis:
        entry, _ = inner_model(get_args(base)[0])
        return entry, entry is not None and "name" in entry.model_fields
    if _union(base):
        return next((found for part in get_args(base) if (found := inner_model(part))[0] is not None), (None, False))
    return None, False


def _union(base: Any) -> bool:
    return get_origin(base) in (Union, types.UnionType)


def _bare(annotation: Any) -> tuple[Any, list[Any]]:
    """An annotation without what is annotated, and that."""
    if get_origin(annotation) is Annotated:
        base, *given = get_args(annotation)
        return base, given
    return annotation, []


def _limits(metadata: Iterable[Any]) -> str:
    found: dict[str, float] = {}
    for one in _flat(metadata):
        for name in SIGNS:
            value = getattr(one, name, None)
            if value is not None and value not in NO_LIMITS.get(name, ()):
                found[name] = value
    return " and ".join(f"{SIGNS[name]} {value:g}" for name, value in found.items())


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for one in metadata:
        yield from _flat(one.metadata) if isinstance(one, FieldInfo) else (one,)


def _word(choice: Any) -> str:
    return str(choice).lower() if isinstance(choice, bool) else str(choice)
