"""The parts of a model that can train, and whom of their parameters a training stage names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from fila_lab.config.base import ConfigError
from fila_lab.config.stage_patterns import named_twice, unmatched
from fila_lab.config.stages import PARTS, PREFIXES, is_pattern

Named = list[tuple[str, nn.Parameter]]
"""Parameters by their names in the model, in its order."""


def parts_of(model: nn.Module, fixed: Iterable[nn.Parameter] = ()) -> dict[str, Named]:
    """Part -> its parameters that can train, whether they do now or not; a part that the model does not have is empty.

    fixed: parameters that never train, such as those that no forward pass reads.
    """
    never = {id(parameter) for parameter in fixed}
    found: dict[str, Named] = {part: [] for part in PARTS}
    for name, parameter in model.named_parameters():
        if id(parameter) not in never and (part := part_of(name)) is not None:
            found[part].append((name, parameter))
    return found


def part_of(name: str) -> str | None:
    """The part that a parameter belongs to by its name; None where it is none's."""
    return next((part for part, prefixes in PREFIXES.items() if name.startswith(prefixes)), None)


def entries(parts: Mapping[str, Named], trains: Sequence[str], field: str) -> dict[str, Named]:
    """Entry of `trains`, a part or a pattern -> the parameters it names, none where the model does not have that part.

    Raises:
        ConfigError: a pattern that names none, a parameter that two entries name, or nothing that trains; `field` names the stage.
    """
    found: dict[str, Named] = {}
    owner: dict[str, str] = {}
    for entry in trains:
        own = _matching(parts, entry)
        if not own and is_pattern(entry):
            known = next((name for named in parts.values() for name, _ in named), "")
            raise unmatched(field, entry, known)
        for name, _ in own:
            if name in owner:
                raise named_twice(field, name, owner[name], entry)
            owner[name] = entry
        found[entry] = own
    if not owner:
        raise ConfigError(f"{field}.trains = [{', '.join(trains)}]: this run has none of them, so nothing would train; name other parts")
    return found


def _matching(parts: Mapping[str, Named], entry: str) -> Named:
    if not is_pattern(entry):
        return parts[entry]
    return [(name, parameter) for named in parts.values() for name, parameter in named if fnmatchcase(name, entry)]
