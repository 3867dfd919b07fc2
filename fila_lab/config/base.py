"""The strict model all configuration derives from, the one error users see, and "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SerializationInfo, SerializerFunctionWrapHandler


class FilaError(Exception):
    """A mistake the user can mend: the message names the field, the value and the remedy. The CLI prints it and exits with 2."""


class ConfigError(FilaError):
    """A configuration that cannot be read or cannot work."""


class MachineError(FilaError):
    """The machine failed, not the work: disk full, cache vanished or damaged, device absent. What was under way is not a result;
    the same command goes on after the mend. `kind` is the cause in a few words: faults of one kind are said once."""

    def __init__(self, message: str, kind: str = "machine") -> None:
        super().__init__(message)
        self.kind = kind


class ToldInterrupt(KeyboardInterrupt):
    """Ctrl-C, after what is left was said."""


class Strict(BaseModel):
    """Frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def without_usual(model: type[BaseModel], content: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Dumped content without those of these fields that have their usual value: what hashes or compares it then does so as records from
    before there were these fields."""
    usual = {name: model.model_fields[name].default for name in names}
    return {name: value for name, value in content.items() if name not in usual or _plain(value) != usual[name]}


def _plain(value: Any) -> Any:
    """A list of JSON as the tuple it was."""
    return tuple(value) if isinstance(value, list) else value


def dumped(model: BaseModel, dump: SerializerFunctionWrapHandler, info: SerializationInfo, names: Collection[str]) -> dict[str, Any]:
    """What a model's serializer gives: these fields only where they say something, or all is asked for (context `whole`). Whatever hashes
    or compares a run without them (ids, checkpoints, costs) then does so as records from before there were these fields."""
    content: dict[str, Any] = dump(model)
    return content if (info.context or {}).get("whole") else without_usual(type(model), content, names)


MOST = 2**31 - 1
"""The greatest whole number that every library takes."""
Whole = Annotated[int, Field(strict=True, ge=-MOST, le=MOST)]
"""A whole number, written as one: no text, no `true`, no 3.0."""
Positive = Annotated[int, Field(strict=True, gt=0, le=MOST)]
Layers = Annotated[int, Field(strict=True, gt=0, le=1000)]
"""How many of something that is built one by one: ten times the deepest models there are."""
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
"""What every generator of random numbers takes."""
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number: no text, no `true`."""
Flag = Annotated[bool, Field(strict=True)]
"""true or false, not 0, 1 or a word."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing when no known word is near; other letter case is nearest."""
    words = list(known)
    near = [one for one in words if one.lower() == word.lower()] or difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""
