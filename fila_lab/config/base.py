"""The strict model all configuration derives from, the one error users see, and "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict


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


class Strict(BaseModel):
    """Frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing when no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""
