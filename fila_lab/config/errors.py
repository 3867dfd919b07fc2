"""pydantic's validation errors as one message a user can act on: field, value, remedy."""

from __future__ import annotations

import re
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from fila_lab.config.base import ConfigError, did_you_mean
from fila_lab.config.overrides import model_of, unknown_key

_REMEDIES = {
    "int_parsing": "give a whole number",
    "int_type": "give a whole number",
    "int_from_float": "give a whole number",
    "float_parsing": "give a number (1e-3 or 0.001)",
    "float_type": "give a number (1e-3 or 0.001)",
    "finite_number": "give a finite number",
    "bool_parsing": "give true or false",
    "bool_type": "give true or false",
    "string_type": "give a text; quote it if it looks like a number",
    "dict_type": "give a mapping of keys to values",
    "model_type": "give a mapping of keys to values",
    "tuple_type": "give a list, e.g. [1, 2]",
    "missing": "add it",
}


def config_error(error: ValidationError, model: type[BaseModel], source: str = "") -> ConfigError:
    """All mistakes of a validation, one a line, in the order of the fields."""
    return ConfigError("\n".join(mistakes(error, model, source)))


def mistakes(error: ValidationError, model: type[BaseModel], source: str = "", below: str = "") -> list[str]:
    """A line for each mistake of a validation, in the order of the fields; `below`: of this field, and what is in it, alone."""
    lines: dict[str, str] = {}
    found = error.errors(include_url=False)
    for item in found:
        if item["type"] == "too_short" and any(other["loc"][: len(item["loc"])] == item["loc"] for other in found if other is not item):
            continue  # what is missing there was refused by itself
        path, owner, union = _walk(item["loc"], model)
        if below and not f"{path}.".startswith(f"{below}."):
            continue
        lines.setdefault(path, _line(path, item, owner, union, source))
    return list(lines.values())


def _walk(loc: tuple[int | str, ...], model: type[BaseModel]) -> tuple[str, type[BaseModel], bool]:
    """The dotted path, the model its last key belongs to, and whether pydantic went on into a member of a union there."""
    parts: list[str] = []
    annotation: Any = model
    owner = model
    for part in loc:
        annotation = _alone(annotation)
        here = model_of(annotation)
        if isinstance(part, str) and (chosen := _tagged(annotation, part)) is not None:
            annotation = chosen  # pydantic names the member of a union that was meant, which is no key
            continue
        if here is not None and isinstance(part, str):
            owner = here
            field = here.model_fields.get(part)
            annotation = field.annotation if field is not None else None
        elif get_origin(annotation) is dict and isinstance(part, str):
            annotation = get_args(annotation)[1]
        elif get_origin(annotation) is tuple and isinstance(part, int):
            annotation = get_args(annotation)[0]
        elif part == "[key]":
            continue
        elif isinstance(part, str):
            return ".".join(parts), owner, True
        parts.append(str(part))
    return ".".join(parts), owner, False


def _alone(annotation: Any) -> Any:
    """What an annotation says beside null and pydantic's notes, where that is one thing."""
    members = [member for member in get_args(annotation) if member is not type(None)]
    if get_origin(annotation) is Annotated or (get_origin(annotation) in (Union, UnionType) and len(members) == 1):
        return _alone(members[0])
    return annotation


def _tagged(annotation: Any, tag: str) -> type[BaseModel] | None:
    """Of a union of models, the one that a field of fixed value marks with this tag."""
    members = [model for member in get_args(annotation) if (model := model_of(member)) is not None]
    if len(members) < 2:
        return None
    return next((one for one in members if any(tag in _fixed(field.annotation) for field in one.model_fields.values())), None)


def _fixed(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _line(path: str, item: Any, owner: type[BaseModel], union: bool, source: str) -> str:
    where = f"{source}: " if source else ""
    kind, value = item["type"], item.get("input")
    if kind == "extra_forbidden":
        return unknown_key(tuple(path.split(".")), owner, source)
    if kind == "missing":
        return f"{where}{path} is missing; add it"
    if kind == "value_error":
        message = str(item["ctx"]["error"]) if "ctx" in item and "error" in item["ctx"] else item["msg"]
        # Most messages begin with a field below this one; the others say something of it as a whole.
        joint = "" if not path or message.startswith((" ", ":")) else "."
        return f"{where}{path}{joint}{message}"
    if union:
        field = next(owner.model_fields[part] for part in reversed(path.split(".")) if part in owner.model_fields)
        return f"{where}{path} = {_short(value)} is none of what it may be: {field.description}"
    if kind == "literal_error":
        expected = item["ctx"]["expected"]
        known = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
        return f"{where}{path} = {value!r} is unknown{did_you_mean(str(value), known)}; choose {expected}"
    remedy = _REMEDIES.get(kind)
    message = re.sub(" or instance of [A-Za-z]+$", "", item["msg"][:1].lower() + item["msg"][1:])
    return f"{where}{path} = {_short(value)}: {message}" + (f"; {remedy}" if remedy else "")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
