"""What a definition's expressions stand for in a row: a field, one below it, a text with fields in it, or the first of several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from string import Formatter
from typing import Any

from fila_lab.config.benchmark import Expression

Raw = Mapping[str, Any]
"""A row as it was read."""
_FORMATTER = Formatter()


def value(row: Raw, expression: Expression | None) -> Any:
    """What stands there, or None: the first alternative that is not null."""
    for one in _alternatives(expression):
        found = filled(row, one) if "{" in one else _below(row, one)
        if found is not None:
            return found
    return None


def is_there(row: Raw, expression: Expression | None) -> bool:
    """Whether a row has what an expression reads, be it null."""
    return expression is None or any(all(_root(row, name) is not None for name in names(one)) for one in _alternatives(expression))


def names(expression: Expression | None) -> list[str]:
    """The fields that an expression reads, with their paths."""
    found = []
    for one in _alternatives(expression):
        found += [field for _, field, _ in parts(one) if field] if "{" in one else [one]
    return found


def filled(row: Raw, template: str) -> str | None:
    """A text with its fields filled in (`{image_id:012d}` as Python formats it); None where one is missing or does not fit."""
    text = []
    for before, field, form in parts(template):
        text.append(before)
        if not field:
            continue
        found = _below(row, field)
        if found is None:
            return None
        try:
            text.append(format(int(found) if form.endswith("d") else plain(found), form))
        except (ValueError, TypeError):
            return None
    return "".join(text)


@lru_cache(maxsize=1024)
def parts(template: str) -> tuple[tuple[str, str, str], ...]:
    """(text, the field behind it, how it is formatted) of a template."""
    return tuple((before, field or "", form or "") for before, field, form, _ in _FORMATTER.parse(template))


def plain(found: Any) -> Any:
    """A value as a frame carries it: a list as one text, a whole float as a whole number."""
    if isinstance(found, list | tuple):
        return "; ".join(str(plain(one)) for one in found if one is not None)
    if isinstance(found, float) and found.is_integer():
        return int(found)
    return found if isinstance(found, str | int | float | bool) or found is None else str(found)


def roots(expressions: Iterable[Expression | None]) -> set[str]:
    """The fields of a row, and their first parts, that expressions read."""
    found: set[str] = set()
    for expression in expressions:
        for name in names(expression):
            found |= {name, name.partition(".")[0]}
    return found


def _alternatives(expression: Expression | None) -> tuple[str, ...]:
    return () if expression is None else (expression,) if isinstance(expression, str) else expression


def _root(row: Raw, name: str) -> str | None:
    return next((root for root in (name, name.partition(".")[0]) if root in row), None)


def _below(row: Raw, name: str) -> Any:
    """A field's value, or that of `a.b.c`; below a list, of each of its members that has one."""
    if name in row:
        return row[name]
    found: Any = row
    for part in name.split("."):
        if isinstance(found, list):
            found = [one[part] for one in found if isinstance(one, Mapping) and one.get(part) is not None]
        elif isinstance(found, Mapping):
            found = found.get(part)
        else:
            return None
    return found
